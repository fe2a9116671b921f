"""The protocol: what is paired, what is counted, and that nothing is skipped in one video only."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from s3dnerf.evaluation.protocol import (
    WITHOUT_TRUTH,
    Tools,
    as_rows,
    prepare_truth,
    resize,
    score_alone,
    score_pair,
    score_truth,
)
from s3dnerf.metrics.result import Measured
from tests.fake_preset import DrawnFaces, FakeJudge
from tests.small_corpus import LIP_BOX, picture


def drawn(openings: list[float]) -> np.ndarray:
    return np.stack([picture(o, 0.9)[0] for o in openings])


@pytest.fixture
def tools() -> Tools:
    return Tools(
        faces=DrawnFaces(), judge=FakeJudge(), judge_key="fake", why={"lpips": "no weights here", "identity": "off"}
    )


def truth_of(frames: np.ndarray, tools: Tools):
    return prepare_truth(
        frames, LIP_BOX, np.zeros(640 * len(frames), np.float32), np.zeros((99, 80), np.float32), tools
    )


OPENINGS = [0.1, 0.5, 0.9, 0.3, 0.7, 0.2]


def by_name(measured: list) -> dict:
    return {m.recipe.name: m for m in measured}


def test_every_metric_has_a_value_or_a_reason(tools: Tools) -> None:
    truth = truth_of(drawn(OPENINGS), tools)
    measured, landmarks = score_pair(drawn(OPENINGS[::-1]), truth, tools)
    assert [m.recipe.name for m in measured] == [r.name for r in tools.recipes()]
    found = by_name(measured)
    assert found["lpips"].value is None and found["lpips"].reason == "no weights here"
    assert found["identity"].value is None and found["identity"].reason == "off"
    assert found["lse_c"].recipe.version == "sync-1-fake"
    assert (found["f_lmd"].recipe.version, found["jitter"].recipe.version) == ("f-lmd-1-drawn", "jitter-1-drawn")
    assert found["akd"].value > 0 and found["mouth_blur"].value > 0
    expected = np.mean(
        [structural_similarity(a, b, channel_axis=-1) for a, b in zip(drawn(OPENINGS[::-1]), drawn(OPENINGS))]
    )
    assert found["ssim"].value == pytest.approx(expected, abs=1e-9)
    assert landmarks.shape == (6, 68, 2) and found["m_lmd"].value > found["f_lmd"].value > 0


def test_the_truth_against_itself(tools: Tools) -> None:
    truth = truth_of(drawn(OPENINGS), tools)
    by_definition, by_measuring = by_name(score_truth(truth, tools)), by_name(score_pair(truth.frames, truth, tools)[0])
    for name in by_measuring:
        assert by_definition[name].value == pytest.approx(by_measuring[name].value), name
        assert (by_definition[name].counted, by_definition[name].failed) == (
            by_measuring[name].counted,
            by_measuring[name].failed,
        ) or name == "psnr"


def test_a_faceless_frame_counts_in_neither_video(tools: Tools) -> None:
    frames, made = drawn(OPENINGS), drawn(OPENINGS)
    frames[1] = 0  # the truth shows nobody here
    made[4] = 0  # the generated video shows nobody there
    found = by_name(score_pair(made, truth_of(frames, tools), tools)[0])
    assert (found["f_lmd"].counted, found["f_lmd"].failed) == (4, 2)
    assert found["f_lmd"].value == 0  # the four others are equal
    assert (found["ssim"].counted, found["ssim"].failed) == (6, 0)  # SSIM needs no face


def test_a_shorter_video_is_counted(tools: Tools) -> None:
    truth = truth_of(drawn(OPENINGS), tools)
    found = by_name(score_pair(drawn(OPENINGS[:4]), truth, tools)[0])
    assert (found["ssim"].counted, found["ssim"].failed) == (4, 2) and found["ssim"].value == 1
    assert "4 frames, the truth has 6: the first 4 are paired" in found["ssim"].reason
    found = by_name(score_pair(drawn([*OPENINGS, 0.5]), truth, tools)[0])
    assert found["ssim"].failed == 0 and "7 frames, the truth has 6" in found["ssim"].reason
    measured, _ = score_pair(np.zeros((0, 256, 256, 3), np.uint8), truth, tools)
    assert all(m.value is None and m.failed == 6 for m in measured)


def test_every_nth_frame(tools: Tools) -> None:
    tools.landmark_every, tools.picture_every = 2, 3
    truth = truth_of(drawn(OPENINGS), tools)
    found = by_name(score_pair(drawn(OPENINGS), truth, tools)[0])
    assert found["f_lmd"].counted == 3 and found["ssim"].counted == 2 and found["cpbd"].counted == 2
    short = by_name(score_pair(drawn(OPENINGS[:3]), truth, tools)[0])
    assert short["f_lmd"].counted == 2


def test_a_held_picture_is_measured_once(tools: Tools) -> None:
    frames = drawn([0.5] * 6)
    calls = []
    plain = tools.faces.detect
    tools.faces.detect = lambda image, max_px=None: calls.append(1) or plain(image)
    truth = truth_of(frames, tools)
    assert len(calls) == 6  # the truth is never assumed to be still
    score_pair(frames, truth, tools)
    assert len(calls) == 7


def test_a_truth_without_sound(tools: Tools) -> None:
    truth = prepare_truth(drawn(OPENINGS), LIP_BOX, None, None, tools)
    found = by_name(score_pair(drawn(OPENINGS), truth, tools)[0])
    assert found["lse_c"].value is None and "no sound" in found["lse_c"].reason


def test_motion_is_measured_over_a_clip(tools: Tools) -> None:
    """Twelve frames: enough for dynamics; of a mouth that moves less, lip dynamics says so beside the truth's."""
    frames, held = drawn(OPENINGS * 2), drawn([0.5] * 12)
    truth = truth_of(frames, tools)
    moving, still = by_name(score_truth(truth, tools)), by_name(score_pair(held, truth, tools)[0])
    assert moving["lip_dynamics"].value > 0 == pytest.approx(still["lip_dynamics"].value, abs=1e-9)
    assert moving["apd"].value == 0 and moving["akd"].counted == 12
    assert "no silence" in moving["silent_lips"].reason and "expected 40" in moving["sound_correlation"].reason
    tools.landmark_every = 2
    every_other = truth_of(drawn(OPENINGS * 4), tools)
    assert "one frame in 2" in by_name(score_truth(every_other, tools))["jitter"].reason


def test_a_video_without_a_truth(tools: Tools) -> None:
    """What needs no truth has the same value as in a pair; the rest says that there was none."""
    truth = truth_of(drawn(OPENINGS * 2), tools)
    alone, pair = by_name(score_alone(truth, tools)), by_name(score_truth(truth, tools))
    assert list(alone) == list(pair)
    compared = {name for name, m in alone.items() if m.reason == WITHOUT_TRUTH}
    assert {"ssim", "f_lmd", "akd", "apd", "identity", "opening_correlation", "parallax"} < compared

    def said(found: Measured) -> tuple:  # a recipe may hold a nan, which equals nothing
        return repr(found.recipe), found.value, found.counted, found.failed, found.reason

    assert all(said(alone[name]) == said(pair[name]) for name in alone.keys() - compared)
    assert {"cpbd", "lse_c", "jitter", "lip_dynamics", "flicker_face", "mouth_blur"} < {
        name for name, m in alone.items() if m.value is not None
    }


def test_rows_and_resizing(tools: Tools) -> None:
    truth = truth_of(drawn(OPENINGS), tools)
    rows = as_rows(score_pair(truth.frames, truth, tools)[0], "clip", "hdtf", "A", "ours")
    assert np.isnan(next(r["value"] for r in rows if r["metric"] == "lpips")) and {r["method"] for r in rows} == {
        "ours"
    }
    assert resize(np.zeros((2, 512, 512, 3), np.uint8)).shape == (2, 256, 256, 3)
    with pytest.raises(ValueError, match="square"):
        resize(np.zeros((1, 256, 200, 3), np.uint8))
