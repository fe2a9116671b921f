"""Every metric file has a recipe with a version, says formula, source, unit, range and direction, has an example, and
keeps its range.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re

import numpy as np
import pytest

import s3dnerf.metrics
from s3dnerf.evaluation.protocol import Tools
from s3dnerf.metrics import (
    cpbd,
    face_dynamics,
    flicker,
    head_pose,
    keypoints,
    lmd,
    mouth_blur,
    mouth_motion,
    mouth_sound,
    parallax,
    psnr,
    silent_lips,
    ssim,
)
from s3dnerf.metrics.result import Recipe

# no test says which of two is better: nearer to the truth's own number is
UNDIRECTED = {
    "sync_offset", "sound_lag", "flicker_face", "flicker_background", "head_dynamics", "head_angle_deviation",
    "lip_dynamics", "brow_dynamics", "jitter", "silent_lips",
}  # fmt: skip
NO_METRICS = {"result", "landmarks", "lpips_files"}  # what a measurement is, where landmarks come from, LPIPS's files
FILES = sorted({m.name for m in pkgutil.iter_modules(s3dnerf.metrics.__path__)} - NO_METRICS)


class Faces:
    """A landmark finder's name."""

    def __init__(self, name: str) -> None:
        self.name = name


def recipes(name: str) -> list[Recipe]:
    module = importlib.import_module(f"s3dnerf.metrics.{name}")
    return [value for value in vars(module).values() if isinstance(value, Recipe)]


def test_the_metrics_are_those_that_were_asked_for() -> None:
    assert FILES == sorted(
        [
            "ssim", "lpips", "lmd", "cpbd", "sync", "fps", "psnr", "identity", "mouth_motion", "parallax", "flicker",
            "keypoints", "head_pose", "expression", "face_dynamics", "silent_lips", "mouth_sound", "mouth_blur", "distribution",
        ]
    )  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_what_it_measures(name: str) -> None:
    module = importlib.import_module(f"s3dnerf.metrics.{name}")
    found, said = recipes(name), module.__doc__
    assert found
    for recipe in found:
        assert re.fullmatch(r"[a-z-]+-\d+", recipe.version) and recipe.source and recipe.low < recipe.high
        assert recipe.direction == "none" if recipe.name in UNDIRECTED else recipe.direction in ("up", "down")
    for word in ("Source:", "Unit:", "Range:"):
        assert word in said, f"{name}: {word}"
    assert re.search(r"\b(more|less)\b[^.]*\bbetter\b|\b(more|less)\b[^.]*sharper", said, re.IGNORECASE)
    assert "=" in said or "mean" in said or "averaged" in said  # the formula, or its words


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_an_example(name: str) -> None:
    module = importlib.import_module(f"s3dnerf.metrics.{name}")
    assert sum(len(test.examples) for test in doctest.DocTestFinder().find(module)) > 0


def test_versions_tell_recipes_apart() -> None:
    versions = [
        recipe.version
        for name in FILES
        for recipe in recipes(name)
        if recipe.name not in ("lse_c", "lse_d", "sync_offset")
    ]
    assert len(set(versions)) == len(versions)
    finders = [{r.version for r in Tools(faces=Faces(name)).recipes()} for name in ("dlib", "insightface")]
    kept = set.intersection(*finders)
    assert {"f-lmd-1-dlib", "m-lmd-1-dlib", "apd-1-dlib", "jitter-1-dlib"} <= finders[0] - kept and "ssim-1" in kept
    judged = [
        {r.version for r in Tools(faces=None, judge_key=key).recipes() if r.name == "lse_c"}
        for key in ("syncnet", "trained-a", "trained-b")
    ]
    assert len(set.union(*judged)) == 3


@pytest.mark.parametrize("seed", range(5))
def test_values_stay_in_their_range(seed: int) -> None:
    random = np.random.default_rng(seed)
    size = int(random.integers(64, 130)), int(random.integers(64, 130))
    truth = random.integers(0, 256, (2, *size, 3), dtype=np.uint8)
    made = [
        truth,
        255 - truth,
        np.zeros_like(truth),
        np.full_like(truth, 255),
        random.integers(0, 256, truth.shape, dtype=np.uint8),
    ][seed]
    points, others = random.normal(0, 1e3, (2, 3, 68, 2))
    found = [ssim.measure(made, truth), psnr.measure(made, truth), cpbd.measure(made), *lmd.measure(points, others)]
    heads, other_heads = random.normal(0, 1e3, (2, 12, 68, 2))
    found += [*mouth_motion.measure(heads, other_heads), parallax.measure(heads, other_heads)]
    moving = random.integers(0, 256, (4, *size, 3), dtype=np.uint8)
    found += flicker.measure(moving, random.uniform(20, 40, (4, 68, 2)))
    found += [keypoints.measure(heads, other_heads), head_pose.measure(heads, other_heads)]
    found += [*head_pose.measure_motion(heads), *face_dynamics.measure(heads)]
    many = random.normal(100, 30, (50, 68, 2))
    sound = random.normal(0, 0.1, 50 * 640)
    sound[12 * 640 : 30 * 640] = 0
    found += [*mouth_sound.measure(many, sound), silent_lips.measure(many, sound)]
    found.append(mouth_blur.measure(moving, many[:4] / 3))
    for measured in found:
        if measured.value is None:
            assert measured.reason and measured.recipe.name == "psnr" and seed == 0
        else:
            assert measured.recipe.low <= measured.value <= measured.recipe.high
