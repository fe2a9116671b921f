"""Head poses borrowed from a video of somebody."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from s3dnerf.faces.camera import pose_degrees
from s3dnerf.faces.tracking import Track, Tracks
from s3dnerf.faces.types import FaceError
from s3dnerf.settings.loading import preset_settings
from s3dnerf.synthesis.driving_video import part_of, poses_of_video, stretches
from s3dnerf.video.clock import clock_of
from s3dnerf.video.encoding import VideoError, encode_clip
from s3dnerf.video.probing import probe
from s3dnerf.video.reading import read_frames


@pytest.mark.slow
def test_poses_of_a_real_video_agree_with_deep3dfacerecons(shared: Path) -> None:
    from scipy.io import loadmat

    # 30 fps: theirs is a pose a frame of the file, ours one a tick
    path = shared / "corpora/HDTF/clips/EX_Obama_001.mp4"
    coefficients = loadmat(str(shared / "weights/deep3d_coeffs/EX_Obama_001.mat"))["coeff"]
    theirs = np.degrees(coefficients[clock_of(probe(path)).frames[:75], 224:227])[:, [1, 0, 2]]
    ours = pose_degrees(poses_of_video(path, preset_settings("mini"), seconds=3.0))
    assert ours.shape == (75, 3)
    for axis in np.flatnonzero(theirs.std(axis=0) > 3.0):
        assert np.corrcoef(ours[:, axis], theirs[:, axis])[0, 1] > 0.8, axis
    assert (theirs.std(axis=0) > 3.0).any()


def test_a_video_without_a_face_and_no_video_at_all_say_so(tmp_path: Path) -> None:
    (tmp_path / "grey.mp4").write_bytes(encode_clip(iter([np.full((128, 128, 3), 128, np.uint8)] * 10), 20))
    with pytest.raises(FaceError, match="no face"):
        poses_of_video(tmp_path / "grey.mp4", preset_settings("sample"))
    with pytest.raises(VideoError, match="no such file"):
        poses_of_video(tmp_path / "none.mp4", preset_settings("sample"))


def tracks(frames: int, *faces: range, cuts: tuple[int, ...] = ()) -> Tracks:
    """A face that stays where it is, in these frames."""
    box = (10.0, 10.0, 60.0, 60.0)
    found = [
        Track({i: np.full((68, 2), 30.0) for i in at}, dict.fromkeys(at, box), dict.fromkeys(at, 1.0)) for at in faces
    ]
    return Tracks(frames, (100, 100), found, list(cuts), np.zeros(frames))


def test_stretches_end_at_cuts_and_where_the_face_is_gone_and_short_gaps_are_bridged() -> None:
    assert stretches(tracks(100, range(100))) == [(0, 100)]
    assert stretches(tracks(200, range(80), range(80, 200), cuts=(80,))) == [(80, 200), (0, 80)]
    assert stretches(tracks(100, range(40), range(48, 100))) == [(0, 100)]
    assert stretches(tracks(100, range(40), range(60, 100))) == [(0, 40), (60, 100)]
    assert stretches(tracks(100, range(5, 98))) == [(5, 98)]  # a face that comes late
    assert stretches(tracks(100, range(20), range(60, 70))) == [] == stretches(tracks(100))
    part = part_of(tracks(200, range(80), range(90, 200), cuts=(80, 150)), 80, 200)
    assert (part.frames, part.cuts, len(part.tracks)) == (120, [70], 1) and min(part.tracks[0].landmarks) == 10


@pytest.mark.slow
def test_a_film_with_a_cut_lends_the_movement_of_its_longest_shot(
    shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings, clips = preset_settings("mini"), shared / "corpora/HDTF/clips"
    longer, shorter = (
        [cv2.resize(f, (256, 256)) for f in read_frames(clips / name, np.arange(count))]
        for name, count in (("RD_Radio13_000.mp4", 50), ("WDA_KatieHill_000.mp4", 35))
    )
    for name, frames in (("cut", shorter + longer), ("alone", longer)):
        (tmp_path / f"{name}.mp4").write_bytes(encode_clip(iter(frames), 12))
    poses = poses_of_video(tmp_path / "cut.mp4", settings)
    assert "head movement is taken from 1.4 to 3.4 s of 3.4 s" in caplog.text
    alone = poses_of_video(tmp_path / "alone.mp4", settings)
    np.testing.assert_allclose(pose_degrees(poses), pose_degrees(alone), atol=1.5)
    (tmp_path / "flicker.mp4").write_bytes(encode_clip(iter((shorter[:15] + longer[:15]) * 2), 12))
    with pytest.raises(FaceError, match="another shot begins at frame 15 and 2 more of 60"):
        poses_of_video(tmp_path / "flicker.mp4", settings)
