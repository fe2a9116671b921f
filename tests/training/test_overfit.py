"""What training can reach: one clip by heart, sharp, and a head that turns where it is told to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import Settings
from s3dnerf.synthesis.synthesizer import Synthesizer, load_card, load_generator
from s3dnerf.training.clips import Clip, ClipFolder
from s3dnerf.training.distributed import World
from s3dnerf.training.train_s3dnerf import train
from tests.margins import Between, Margin
from tests.small_corpus import INTRINSICS, make_corpus, make_expert, solid_picture, turn
from tests.training.generator_job import generator_job, with_changes

LEARNT, ASKED = np.radians([-25.0, -12.0, 0.0, 12.0, 25.0]), np.radians([-19.0, -6.0, 6.0, 19.0])


def _settings(seed: int, **train: float) -> Settings:
    plain = preset_settings("tiny")
    model = dataclasses.replace(plain.model, carry_source=True, mouth_width=8, raw_px=32, image_px=64)
    training = with_changes(plain.train, adv=0.0, sync=0.0, lr_generator=4e-3, lr_final=0.1, adam_beta1=0.9, **train)
    return dataclasses.replace(plain, seed=seed, model=model, train=training)


def _trained(settings: Settings, folder: Path, yaws: np.ndarray | None = None) -> tuple[Synthesizer, Clip]:
    """A generator that was trained on one clip, and the clip."""
    frames = 12 if yaws is None else len(yaws)
    make_corpus(folder / "data", {"hdtf_A_000": ("A", "train")}, frames, yaws=yaws)
    make_expert(folder / "data" / "train_sync" / "expert", settings.sync)
    job = generator_job(settings, folder / "data", folder)
    train(job, World(device=torch.device("cpu")))
    clips = ClipFolder(folder / "data", "hdtf")
    return Synthesizer(load_generator(job.out), load_card(job.out)), clips.load(clips.records[0])


def _made(synthesizer: Synthesizer, clip: Clip, source: int, poses: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    identity = synthesizer.portrait(
        clip.frames[source],
        clip.masks[source],
        clip.world_to_camera[source],
        clip.intrinsics[source],
        clip.box,
        clip.landmarks[source],
    )
    intrinsics = np.repeat(INTRINSICS[None], len(poses), 0)
    return np.stack(list(synthesizer.frames(identity, tokens, poses, intrinsics))).astype(np.float64)


def one_clip_by_heart(seed: int, folder: Path) -> dict[str, float]:
    settings = _settings(seed, steps=150, lips_pix_weight=50.0, mouth=0.1)
    synthesizer, clip = _trained(settings, folder)
    source = int(np.argmin(np.ptp(clip.landmarks[:, 60:68, 1], axis=1)))  # the most closed mouth
    made = _made(synthesizer, clip, source, clip.world_to_camera, clip.tokens)
    x0, y0, x1, y1 = clip.lip_boxes[0].astype(int)
    truth, still = clip.frames.astype(np.float64), clip.frames[source].astype(np.float64)
    mouth = (slice(None), slice(y0, y1), slice(x0, x1))

    def edges(frames: np.ndarray) -> float:
        return float(np.abs(np.diff(frames[mouth], axis=1)).mean())

    def opened(frames: np.ndarray) -> np.ndarray:
        return (frames[mouth][..., 0] < 130).sum((1, 2))

    return {
        "slope of the opening": float(np.polyfit(opened(truth), opened(made), 1)[0]),
        "error of the mouth, of that of the source": float(
            np.abs(made - truth)[mouth].mean() / np.abs(still - truth)[mouth].mean()
        ),
        "edges of the mouth, of the truth's": edges(made) / edges(truth),
    }


BY_HEART = Margin(
    "test_one_clip_is_learnt_by_heart_and_sharp",
    one_clip_by_heart,
    {
        "slope of the opening": Between(0.75, 1.25),
        "error of the mouth, of that of the source": Between(high=0.7),  # each frame has a light of its own
        "edges of the mouth, of the truth's": Between(0.7, 2.0),
    },
)


@pytest.mark.slow
def test_one_clip_is_learnt_by_heart_and_sharp(tmp_path: Path) -> None:
    BY_HEART.check(BY_HEART.measure(BY_HEART.seed, tmp_path))


def red(frame: np.ndarray) -> np.ndarray:
    """Where the nose is, pixels: the middle of what is red."""
    weight = np.clip(frame[..., 0] - 1.6 * np.maximum(frame[..., 1], frame[..., 2]), 0, None)
    y, x = np.mgrid[: len(frame), : len(frame)] + 0.5
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def a_head_that_turns(seed: int, folder: Path) -> dict[str, float]:
    settings = _settings(seed, steps=120, flow=0.02)
    synthesizer, clip = _trained(settings, folder, np.tile(LEARNT, 3))
    poses = np.stack([turn(yaw) for yaw in ASKED])
    made = _made(synthesizer, clip, 2, poses, np.repeat(clip.tokens[4:6], len(poses), 0))
    apart = np.array([red(frame) - red(solid_picture(pose, 0.85)[0].astype(float)) for frame, pose in zip(made, poses)])
    ours = np.array([red(frame)[0] for frame in made])
    theirs = np.array([red(solid_picture(pose, 0.85)[0].astype(float))[0] for pose in poses])
    return {
        "slope of the nose's motion": float(np.polyfit(theirs, ours, 1)[0]),
        "farthest of the nose, px": float(np.linalg.norm(apart, axis=1).max()),
    }


FOLLOWS = Margin(
    "test_a_head_follows_poses_that_it_never_saw",
    a_head_that_turns,
    {"slope of the nose's motion": Between(0.8, 1.2), "farthest of the nose, px": Between(high=6.0)},
)


@pytest.mark.slow
def test_a_head_follows_poses_that_it_never_saw(tmp_path: Path) -> None:
    FOLLOWS.check(FOLLOWS.measure(FOLLOWS.seed, tmp_path))
