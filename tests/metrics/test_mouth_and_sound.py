"""Silent lips, the mouth against the sound, and mouth blur: literal formulas, drawn speech, and real clips."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.core.rates import SAMPLES_PER_FRAME
from s3dnerf.metrics import mouth_blur, mouth_sound, silent_lips
from s3dnerf.metrics.mouth_motion import opening
from s3dnerf.sync.mouth_offset import mouth_offset

FRAMES = 100


def talker(seed: int = 0, lead: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks and sound of somebody whose mouth opens with the loudness of each syllable, ``lead`` frames before it:
    float (FRAMES, 68, 2), (640 FRAMES,).
    """
    random = np.random.default_rng(seed)
    loud = np.interp(np.arange(-10, FRAMES + 10), np.arange(-10, FRAMES + 11, 3), random.uniform(0, 1, 41))
    points = np.tile(np.random.default_rng(7).uniform(60, 200, (1, 68, 2)), (FRAMES, 1, 1))
    points[:, 36], points[:, 45] = (50, 100), (150, 100)
    points[:, 27], points[:, 33] = (100, 95), (100, 130)
    points[:, 48:68] = (100, 160)
    points[:, 8] = (100, 190)
    down = 12 * loud[10 + lead : 10 + lead + FRAMES]
    for lower in (8, 55, 56, 57, 58, 59, 65, 66, 67):
        points[:, lower, 1] += down
    level = np.interp(np.arange(FRAMES * SAMPLES_PER_FRAME) / SAMPLES_PER_FRAME - 0.5, np.arange(FRAMES), loud[10:-10])
    hum = np.sign(np.sin(2 * np.pi * 140 * np.arange(len(level)) / 16000)) + random.normal(0, 0.1, len(level))
    return points, (0.2 * 10 ** (0.9 * (level - 1)) * hum).astype(np.float32)


@pytest.mark.parametrize("lead", [-3, 0, 2])
def test_the_lag_is_found_and_the_correlation_is_best_there(lead: int) -> None:
    points, sound = talker(lead=lead)
    zero, best, lag = mouth_sound.measure(points, sound)
    assert lag.value == -lead and best.value > 0.6
    if lead == 0:
        assert zero.value > best.value - 0.05
    assert zero.value <= best.value and zero.counted == FRAMES


def test_the_lag_has_the_sign_of_the_offsets_of_preprocessing() -> None:
    from s3dnerf.speech.mel import clip_mel

    points, sound = talker(lead=-3)
    assert mouth_sound.measure(points, sound)[2].value == mouth_offset(points, clip_mel(sound)).offset_frames


def test_anothers_speech_does_not_fit() -> None:
    own, wrong = [], []
    for seed in range(6):
        points, _ = talker(seed)
        own.append(mouth_sound.measure(points, talker(seed)[1])[0].value)
        wrong.append(mouth_sound.measure(points, talker(seed + 10)[1])[0].value)
    assert min(own) > max(wrong) and abs(np.mean(wrong)) < 0.2


def test_lost_frames_are_filled_from_their_neighbours() -> None:
    points, sound = talker()
    whole = mouth_sound.measure(points, sound)[0].value
    points[[0, 40, 41, 99]] = np.nan
    found = mouth_sound.measure(points, sound)[0]
    assert found.value == pytest.approx(whole, abs=0.1) and (found.counted, found.failed) == (96, 4)
    points[10:20] = np.nan
    assert {m.reason for m in mouth_sound.measure(points, sound)} == {
        "no landmarks in 14 of 100 frames: expected at most 10%"
    }


def test_what_the_second_judge_cannot_say() -> None:
    points, sound = talker()
    still = points[:1].repeat(FRAMES, axis=0)
    for given, reason in (
        ((still, sound), "does not move"), ((points, None), "no sound"), ((points[:39], sound), "expected 40"),
        ((points, sound, 2), "one frame in 2"),
    ):  # fmt: skip
        assert all(m.value is None and reason in m.reason for m in mouth_sound.measure(*given))


def test_silent_lips_by_the_literal_formula() -> None:
    points, sound = talker()
    sound[20 * 640 : 35 * 640] *= 1e-4
    sound[50 * 640 : 55 * 640] = 0  # 0.2 s: no silence
    silent = [20 <= f < 35 for f in range(FRAMES)]
    assert silent_lips.silent_frames(sound).tolist() == silent
    opened = sorted(100 * o for o, s in zip(opening(points), silent) if s)
    middle = opened[7]
    expected = sorted(abs(o - middle) for o in opened)[7]
    found = silent_lips.measure(points, sound)
    assert found.value == pytest.approx(expected) and found.counted == 15
    assert silent_lips.measure(points[::2], sound, every=2).counted == 8
    held = points.copy()
    held[20:35] = held[20]
    assert silent_lips.measure(held, sound).value == 0
    held[21:33] = np.nan
    assert silent_lips.measure(held, sound).reason == "3 silent frames with landmarks: expected 5"


def test_a_clip_without_a_silence_or_a_sound() -> None:
    points, sound = talker()
    assert silent_lips.measure(points, None).reason == "no sound"
    assert "no silence of 0.4 s in 4.0 s" in silent_lips.measure(points, np.ones_like(sound)).reason
    assert silent_lips.measure(points, sound[:0]).value is None


def literal_blur(image: np.ndarray) -> float:
    """Crété's formula with loops: reflected borders, 11-pixel averages, Sobel's smoothing across."""
    image = image.astype(float) / 255
    worst = 0.0
    for axis in (0, 1):
        x = image if axis == 0 else image.T
        h, w = x.shape

        def at(picture: np.ndarray, row: int, column: int) -> float:
            rows, columns = picture.shape
            row = -row - 1 if row < 0 else 2 * rows - row - 1 if row >= rows else row
            column = -column - 1 if column < 0 else 2 * columns - column - 1 if column >= columns else column
            return picture[row, column]

        averaged = np.array([[sum(at(x, i + d, j) for d in range(-5, 6)) / 11 for j in range(w)] for i in range(h)])
        total = kept = 0.0
        for i in range(2, h - 1):
            for j in range(2, w - 1):
                sharp, soft = (
                    abs(sum(c * (at(p, i + 1, j + d) - at(p, i - 1, j + d)) for d, c in ((-1, 1), (0, 2), (1, 1)))) / 8
                    for p in (x, averaged)
                )
                total += sharp
                kept += max(0.0, sharp - soft)
        worst = max(worst, (total - kept) / total)
    return worst


def test_mouth_blur_by_the_literal_formula() -> None:
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(0)
    frame = np.repeat(random.integers(0, 256, (96, 96, 1), dtype=np.uint8), 3, axis=2)
    points = random.uniform(44, 52, (68, 2))
    points[[36, 45]] = (28, 30), (68, 30)
    crop = mouth_blur.mouth_crop(frame, points)
    assert crop.shape == (32, 32)
    soft = gaussian_filter(frame, (1.5, 1.5, 0))
    for picture in (frame, soft):
        expected = literal_blur(mouth_blur.mouth_crop(picture, points))
        assert mouth_blur.measure(picture[None], points[None]).value == pytest.approx(expected, abs=1e-9)
    outside = points.copy()
    outside[48:68] += 500
    both = mouth_blur.measure(np.stack([frame, frame]), np.stack([points, outside]))
    assert (both.counted, both.failed) == (1, 1)
    assert mouth_blur.measure(frame[None], outside[None]).reason == "no frame has a mouth in the picture"
