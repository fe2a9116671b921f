"""A clip's video: panels beside each other, the clip's sound, equal bytes, no more than 6 s."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from s3dnerf.reporting.clip_video import HEAD_PX, MOST_S, PANEL_PX, side_by_side
from s3dnerf.video.encoding import NoFrames

RED, GREEN, BLUE = (200, 30, 30), (30, 180, 30), (30, 30, 200)


def plain(colour: tuple[int, int, int], count: int, px: int = PANEL_PX) -> np.ndarray:
    return np.full((count, px, px, 3), colour, np.uint8)


def tone(frames: int) -> np.ndarray:
    return (0.3 * np.sin(np.arange(640 * frames) * 2 * np.pi * 440 / 16000)).astype(np.float32)


def decoded(data: bytes, folder: Path) -> tuple[np.ndarray, np.ndarray, int]:
    (folder / "v.mp4").write_bytes(data)
    with av.open(str(folder / "v.mp4")) as film:
        pictures = np.stack([f.to_ndarray(format="rgb24") for f in film.decode(video=0)])
    with av.open(str(folder / "v.mp4")) as film:
        rate = film.streams.audio[0].rate
        sound = np.concatenate([f.to_ndarray().mean(axis=0) for f in film.decode(audio=0)])
    return pictures, sound, rate


def test_panels_in_order_with_the_clips_sound(tmp_path: Path) -> None:
    shown = {"truth": plain(RED, 20), "s3dnerf": plain(GREEN, 20, 128), "wrong_speech": plain(BLUE, 10)}
    data = side_by_side(shown, tone(20))
    pictures, sound, rate = decoded(data, tmp_path)
    assert pictures.shape == (20, PANEL_PX + HEAD_PX, 3 * PANEL_PX, 3) and len(data) < 40_000
    middles = pictures[:, HEAD_PX + 128, 128::PANEL_PX].astype(int)
    assert np.abs(middles[:10] - (RED, GREEN, BLUE)).max() < 12
    assert np.abs(middles[15:] - (RED, GREEN, (0, 0, 0))).max() < 12  # the third method made ten frames
    heads = pictures[0, :HEAD_PX].max(axis=(0, 2)).reshape(3, PANEL_PX)
    assert (heads.max(axis=1) > 200).all()  # each panel has its name
    spectrum = np.abs(np.fft.rfft(sound[rate // 10 : rate // 10 + rate // 2]))
    assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=4) and len(sound) / rate == pytest.approx(0.8, abs=0.13)


def test_equal_frames_give_equal_bytes_and_long_clips_are_cut(tmp_path: Path) -> None:
    many = MOST_S * 25 + 30
    shown = {"truth": np.broadcast_to(plain(RED, 1)[0], (many, PANEL_PX, PANEL_PX, 3))}
    first = side_by_side(shown, tone(many))
    assert first == side_by_side(shown, tone(many))
    pictures, sound, rate = decoded(first, tmp_path)
    assert len(pictures) == MOST_S * 25 and len(sound) / rate == pytest.approx(MOST_S, abs=0.13)


def test_no_frames_is_an_error() -> None:
    with pytest.raises(NoFrames):
        side_by_side({"truth": plain(RED, 0)}, tone(1))
