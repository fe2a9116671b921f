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
        lambda: spend(2.0, "in"),
        lambda x: spend(1.0, "who"),
        frames,
        lambda made: spend(2.0, written.extend(made)),
        clock=lambda: now[0],
    )
    assert speed.network_fps == pytest.approx(10 / 5)
    assert speed.with_portrait_fps == pytest.approx(10 / 6)
    assert speed.with_files_fps == pytest.approx(10 / 10)
    assert speed.fit_time_s == pytest.approx(1.5)
    assert written == list(range(10)) and speed.frames == 10


def test_the_device_is_waited_for_before_every_mark(monkeypatch) -> None:
    """Work that is only queued takes its time when the device is waited for: it must fall between the marks it belongs
    to.
    """
    now, queued = [0.0], [0.0]

    def finish(device: str) -> None:
        assert device == "cuda:0"
        now[0] += queued[0]
        queued[0] = 0.0

    def queue(seconds: float, result: object = None) -> object:
        queued[0] += seconds
        return result

    def frames(identity: object):
        for i in range(4):
            queue(1.0)
            yield i

    monkeypatch.setattr("s3dnerf.metrics.fps.synchronise", finish)
    speed = measure_speed(lambda: 0, lambda x: queue(3.0, x), frames, lambda made: None, "cuda:0", lambda: now[0])
    assert speed.network_fps == pytest.approx(1.0) and speed.with_portrait_fps == pytest.approx(4 / 7)
    assert speed.fit_time_s == pytest.approx(4.0) and speed.device == "cuda:0"


def test_the_first_round_is_not_counted() -> None:
    now, rounds = [0.0], [0]

    def frames(identity: object):
        rounds[0] += 1
        now[0] += 100.0 if rounds[0] == 1 else 1.0  # caches fill in the first one
        yield 0

    speed = measure_speed(lambda: 0, lambda x: x, frames, lambda made: None, clock=lambda: now[0])
    assert rounds == [2] and speed.network_fps == pytest.approx(1.0)
    assert speed.as_dict()["fps_version"] == "fps-1" and speed.as_dict()["fit_version"] == "fit-1"


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
