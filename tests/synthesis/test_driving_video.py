"""Head poses borrowed from a video of somebody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3dnerf.faces.camera import pose_degrees
from s3dnerf.faces.types import FaceError
from s3dnerf.settings.loading import preset_settings
from s3dnerf.synthesis.driving_video import poses_of_video
from s3dnerf.video.clock import clock_of
from s3dnerf.video.encoding import VideoError, encode_clip
from s3dnerf.video.probing import probe


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
