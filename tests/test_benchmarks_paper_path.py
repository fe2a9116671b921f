"""benchmarks.paper_path's weight files load as the real ones do, at small sizes; the marker and what it leads to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import random_onnx, random_weights
from benchmarks.paper_path import changes, first_line, take_clips
from flows.preset import changed
from s3dnerf.faces.recon.morphable import load_bfm, own_model
from s3dnerf.faces.recon.network import load_network
from s3dnerf.metrics.lpips import load_lpips
from s3dnerf.reporting.backends import backends
from s3dnerf.reporting.narrative import warnings
from s3dnerf.reporting.sources import Sources
from s3dnerf.settings.loading import preset_settings
from s3dnerf.speech.wav2vec2 import Wav2Vec2
from s3dnerf.training.perceptual import VGG
from stages.weight_hashes import RANDOM_MARKER, describe, write_weights


def test_landmarks_of_the_random_network_are_those_of_a_face(tmp_path: Path) -> None:
    from insightface.app.common import Face
    from insightface.model_zoo.landmark import Landmark
    from onnxruntime import InferenceSession

    path = tmp_path / "1k3d68.onnx"
    random_onnx.landmark_model(path, width=4, blocks=(1, 1, 1, 1))
    model = Landmark(str(path), InferenceSession(str(path), providers=["CPUExecutionProvider"]))
    box = np.array([50, 50, 175, 190], np.float32)
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    points = model.get(image, Face(bbox=box))[:, :2]
    assert points.shape == (68, 2)
    assert (points > box[:2] - 5).all() and (points < box[2:] + 5).all()
    eyes, mouth = points[36:48].mean(axis=0), points[48:68].mean(axis=0)
    assert mouth[1] - eyes[1] > 30 and abs(mouth[0] - eyes[0]) < 5
    assert not np.array_equal(points, model.get(255 - image, Face(bbox=box))[:, :2])  # the picture has a say


def test_recogniser_has_512_numbers_that_depend_on_the_face(tmp_path: Path) -> None:
    from s3dnerf.metrics.identity import ArcFaceRecogniser

    random_onnx.recogniser(tmp_path / "w600k_r50.onnx", width=2, blocks=(1, 1, 1, 1))
    network = ArcFaceRecogniser(tmp_path)
    frames = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    points = random_onnx.face_in_crop() * 96 + 128
    one, other = (network.describe(frame, points) for frame in frames)
    assert one.shape == (512,) and network.similarity(one, one) == pytest.approx(1) and not np.allclose(one, other)


def test_reconstruction_network_stays_near_the_mean_face(tmp_path: Path) -> None:
    torch.save(random_weights.recon_checkpoint(4, (1, 1, 1, 1)), tmp_path / "epoch_20.pth")
    found = load_network(tmp_path / "epoch_20.pth")(torch.rand(2, 3, 224, 224))
    assert found.shape == (2, 257) and 0 < found.abs().max() < 0.5


def test_face_model_has_the_vertices_asked_for(tmp_path: Path) -> None:
    from scipy.io import savemat

    count = len(own_model().mean) + 7
    savemat(str(tmp_path / "BFM_model_front.mat"), random_weights.face_model(count))
    model = load_bfm(tmp_path / "BFM_model_front.mat")
    assert model.mean.shape == (count, 3) and len(model.triangles) == len(own_model().triangles) + 14
    assert sorted(set(model.triangles.ravel())) == list(range(count))
    with pytest.raises(ValueError, match="10 vertices: expected at least"):
        random_weights.face_surface(10)


def test_speech_model_is_read_from_its_folder(tmp_path: Path) -> None:
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    random_weights.speech_model(
        tmp_path, **small, conv_dim=(8,) * 7, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2
    )
    assert Wav2Vec2(str(tmp_path)).tokens(np.zeros(6400)).shape == (20, 16)


def test_vgg_and_lpips_load_under_torchvisions_names(tmp_path: Path) -> None:
    torch.save(random_weights.vgg19_state(hidden=2), tmp_path / "vgg19.pth")
    VGG("vgg19").load(tmp_path / "vgg19.pth")
    torch.save(random_weights.alexnet_state(hidden=2), tmp_path / "alexnet.pth")
    torch.save(random_weights.lpips_heads(), tmp_path / "lpips_alex.pth")
    network = load_lpips(tmp_path)
    frames = torch.rand(2, 3, 64, 64)
    assert network(frames, frames).tolist() == [0, 0] and (network(frames, frames.flip(0)) > 0).all()


def test_full_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        assert random_weights.count(random_weights.vgg19_state()) == 143_667_240  # torchvision's documentation
        assert random_weights.count(random_weights.alexnet_state()) == 61_100_840


def test_a_detector_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file — expected a real SCRFD"):
        random_weights.make_all(tmp_path, tmp_path / "none.onnx")
    with pytest.raises(FileNotFoundError, match="expected the sample clips"):
        take_clips(tmp_path, tmp_path / "raw")


def test_the_marker_travels_from_the_files_to_the_reports_first_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = changed(preset_settings("paper"), tuple(changes()))
    file = tmp_path / "weights" / "vgg19.pth"
    file.parent.mkdir()
    file.write_bytes(b"values")
    plain = describe(file)
    assert set(plain) == {"path", "sha256", "size"}
    (file.parent / RANDOM_MARKER).write_text("random")
    assert describe(file) == plain | {"random": True}
    write_weights(settings, tmp_path / "rows")
    sources = Sources(settings, [])
    sources.methods = {"backends": {name: {"real": True} for name in ("judge", "lpips", "identity")}}
    before = warnings(sources, backends(sources))
    sources.weights = json.loads((tmp_path / "rows" / "train.json").read_text())
    first, *others = warnings(sources, backends(sources))
    assert first.startswith("These are random weights (train.vgg_weights): every number here is meaningless")
    assert "0 of 7 backends are replacements" in first and others == before
    assert first_line(f"# title\n\n> **{first}**  \n") == first
