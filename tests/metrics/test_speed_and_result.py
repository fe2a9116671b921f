"""The three FPS figures on a clock of our own, and what a measurement may hold."""

from __future__ import annotations

import math

import pytest

from s3dnerf.metrics import ssim
from s3dnerf.metrics.fps import measure_speed
from s3dnerf.metrics.result import Measured, not_measured, over_frames


def test_speed_counts_what_it_says() -> None:
    now = [0.0]

    def spend(seconds: float, result: object = None) -> object:
        now[0] += seconds
        return result

    def frames(identity: object):
        for i in range(10):
            spend(0.5)
            yield i

    written: list = []
    speed = measure_speed(
        lambda: spend(2.0, "in"), lambda x: spend(1.0, "who"), frames, lambda made: spend(2.0, written.extend(made)), clock=lambda: now[0]
    )
    assert speed.network_fps == pytest.approx(10 / 5)
    assert speed.with_portrait_fps == pytest.approx(10 / 6)
    assert speed.with_files_fps == pytest.approx(10 / 10)
    assert speed.fit_time_s == pytest.approx(1.5)
    assert written == list(range(10)) and speed.frames == 10


def test_no_frame_is_an_error() -> None:
    with pytest.raises(ValueError, match="no frame"):
        measure_speed(lambda: None, lambda x: None, lambda x: iter(()), lambda made: None)


def test_a_value_or_a_reason() -> None:
    with pytest.raises(ValueError, match="no reason"):
        Measured(ssim.RECIPE, None)
    with pytest.raises(ValueError, match="not a number"):
        Measured(ssim.RECIPE, math.nan)
    assert not_measured(ssim.RECIPE, "why", failed=3) == Measured(ssim.RECIPE, None, 0, 3, "why")
    mixed = over_frames(ssim.RECIPE, [0.5, math.nan, 1.0, math.inf], "none")
    assert (mixed.value, mixed.counted, mixed.failed) == (0.75, 2, 2)
    assert over_frames(ssim.RECIPE, [math.nan], "none").reason == "none"


def test_directions() -> None:
    assert ssim.RECIPE.better(0.1) and not ssim.RECIPE.better(-0.1) and ssim.RECIPE.better(0.0) is None
