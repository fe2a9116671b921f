"""Clips to bytes and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3dnerf.video.encoding import NoFrames, VideoError, decode_clip, decode_frames, encode_clip, feed_ffmpeg, plain_log
from tests.video.numbered import number_of, stamp


def test_round_trip_keeps_every_frame() -> None:
    frames = np.stack([stamp(i) for i in range(40)])
    data = encode_clip(iter(frames), crf=14)
    back = decode_clip(data)
    assert back.shape == frames.shape and back.dtype == np.uint8
    assert [number_of(f) for f in back] == list(range(40))
    assert np.abs(back.astype(int) - frames).mean() < 3


def test_some_frames_are_those_of_the_whole_clip_to_the_bit() -> None:
    data = encode_clip((stamp(i) for i in range(40)), crf=14)
    whole, at = decode_clip(data), [39, 3, 17, 17, 0, 18]
    assert np.array_equal(decode_frames(data, at), whole[at])
    for wrong in ([40], [-1]):
        with pytest.raises(VideoError, match="40 frames, asked for"):
            decode_frames(data, wrong)
    with pytest.raises(VideoError, match="no readable video"):
        decode_frames(b"not a video", [0])


def test_equal_frames_are_equal_bytes() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), np.uint8)
    assert encode_clip(frames, crf=20) == encode_clip(list(frames), crf=20)
    assert encode_clip(frames, crf=20) != encode_clip(frames, crf=30)


def test_refuses_what_is_no_clip() -> None:
    with pytest.raises(ValueError, match="no frames"):
        encode_clip([], crf=14)
    with pytest.raises(ValueError, match="even"):
        encode_clip(np.zeros((1, 63, 64, 3), np.uint8), crf=14)
    with pytest.raises(ValueError, match="expected one size"):
        encode_clip([np.zeros((64, 64, 3), np.uint8), np.zeros((32, 64, 3), np.uint8)], crf=14)
    with pytest.raises(VideoError, match="no readable video"):
        decode_clip(b"not a video")
    with pytest.raises(VideoError):
        decode_clip(encode_clip(np.zeros((9, 64, 64, 3), np.uint8), crf=14)[:-700])


def test_a_fault_of_the_generator_comes_through() -> None:
    def frames():
        yield np.zeros((64, 64, 3), np.uint8)
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        encode_clip(frames(), crf=14)


def test_a_log_is_told_without_addresses() -> None:
    log = "[in#0 @ 0x561ba6621080] Error opening input: Invalid data\n[h264 @ 0x1] [error] no frame!\n\n"
    assert plain_log(log) == "Error opening input: Invalid data; [error] no frame!" and plain_log(log, 6) == "frame!"


def test_frames_are_counted_and_what_ffmpeg_says_is_told(tmp_path: Path) -> None:
    frames = [np.zeros((64, 64, 3), np.uint8)] * 7
    assert feed_ffmpeg(iter(frames), ["-c:v", "ffv1", str(tmp_path / "out.mkv")], 25) == 7
    assert (tmp_path / "out.mkv").stat().st_size > 0
    with pytest.raises(VideoError, match="nosuchcodec"):
        feed_ffmpeg(frames, ["-c:v", "nosuchcodec", str(tmp_path / "other.mkv")], 25)
    with pytest.raises(NoFrames):
        feed_ffmpeg(iter(()), [str(tmp_path / "none.mkv")], 25)
    assert not (tmp_path / "none.mkv").exists()
