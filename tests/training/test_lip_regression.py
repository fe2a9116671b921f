"""The ridge regression from speech to lip shapes: a rule that made the clips is found, and holds for unseen people."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from s3dnerf.model.crossmodal import speech_windows
from s3dnerf.model.lip_shapes import LipShapes
from s3dnerf.training import lip_regression
from s3dnerf.training.clips import ClipFolder
from s3dnerf.training.lip_regression import fit_lip_shapes, offsets_from, read_clip
from tests.small_corpus import make_corpus

TOKENS, FRAMES, SPEECH = 8, 60, 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ClipFolder:
    """Six people to learn from and two to be asked about, whose first channel of speech says how far the mouth opens."""
    data = tmp_path_factory.mktemp("data")
    clips = {f"RD_P{i}_000": (f"P{i}", "train" if i < 6 else "test") for i in range(8)}
    make_corpus(data, clips, frames=FRAMES, speech_dim=SPEECH)
    return ClipFolder(data, "hdtf")


def fitted(folder: ClipFolder, seed: int = 0) -> LipShapes:
    shapes = LipShapes(SPEECH, TOKENS)
    fit_lip_shapes(shapes, folder, folder.of_split("train"), TOKENS, seed)
    return shapes


def opening(offsets: torch.Tensor) -> np.ndarray:
    """Lower less upper middle of the inner lips."""
    return (offsets[:, 18, 1] - offsets[:, 14, 1]).double().numpy()


def test_it_foretells_lips_of_people_it_never_saw(folder: ClipFolder) -> None:
    shapes = fitted(folder)
    for record in folder.of_split("test"):
        landmarks, camera, box, speech = read_clip(folder, record)
        told = shapes(speech_windows(speech, TOKENS), landmarks[:1].expand(len(landmarks), -1, -1))
        true = offsets_from(0, landmarks, camera, box)
        assert np.corrcoef(opening(told), opening(true))[0, 1] > 0.9
        assert float((told - true).norm(dim=-1).mean()) < 0.5 * float(true.norm(dim=-1).mean())


def test_wrong_speech_does_not(folder: ClipFolder) -> None:
    shapes = fitted(folder)
    landmarks, camera, box, speech = read_clip(folder, folder.of_split("test")[0])
    told = shapes(speech_windows(speech.flip(0), TOKENS), landmarks[:1].expand(len(landmarks), -1, -1))
    assert np.corrcoef(opening(told), opening(offsets_from(0, landmarks, camera, box)))[0, 1] < 0.7


def test_the_same_clips_give_the_same_map(folder: ClipFolder) -> None:
    first, second, other = fitted(folder), fitted(folder), fitted(folder, seed=1)
    assert torch.equal(first.weight, second.weight) and torch.equal(first.directions, second.directions)
    assert not torch.equal(first.weight, other.weight)  # other source frames


def test_it_reads_no_more_clips_than_it_says(folder: ClipFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(lip_regression, "MOST_CLIPS", 3)
    monkeypatch.setattr(lip_regression, "read_clip", lambda f, r: read.append(r["clip"]) or read_clip(f, r))
    fitted(folder)
    assert read == ["RD_P0_000", "RD_P2_000", "RD_P5_000"]


def test_the_heads_motion_is_no_lip_motion(folder: ClipFolder) -> None:
    """Offsets of a frame to itself are zero, and a nose that moves takes the lips with it."""
    landmarks, camera, box, _ = read_clip(folder, folder.of_split("test")[0])
    assert torch.allclose(offsets_from(7, landmarks, camera, box)[7], torch.zeros(20, 2), atol=1e-4)
    still = offsets_from(7, landmarks, camera, box)
    assert torch.allclose(offsets_from(7, landmarks + torch.tensor([5.0, -3.0]), camera, box), still, atol=2e-2)
