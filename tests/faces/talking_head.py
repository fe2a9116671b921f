"""A synthetic talking head as a video with its truth, made once for the tests of faces."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.corpora.synthetic.truth import Truth
from s3dnerf.video.reading import read_frames
from tests.faces.drawn_clips import make_talking_video


@pytest.fixture(scope="session")
def talking(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, Truth]:
    """Frames uint8 (25, 240, 260, 3) of a synthetic speaker, and their truth."""
    path, truth = make_talking_video(tmp_path_factory.mktemp("talking"))
    return np.stack(list(read_frames(path, np.arange(len(truth.time_s))))), truth
