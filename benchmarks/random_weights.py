"""Weight files of every backend of the preset ``paper``: official names and layouts, full size, random values.

``make_all(folder)`` writes, under the names that the preset's settings point at:

- ``insightface/buffalo_l``: ``1k3d68.onnx``, ``w600k_r50.onnx`` (:mod:`benchmarks.random_onnx`) and a detector, which
  is a real SCRFD, because boxes of a random one would hold no faces;
- ``deep3d``: ``epoch_20.pth`` (ResNet-50, seven heads, Adam's state beside it), ``BFM_model_front.mat`` (35,709
  vertices), ``similarity_Lm3D_all.mat``;
- ``wav2vec2-base-960h``: ``model.safetensors`` with its two JSON files;
- ``vgg19.pth``, ``syncnet_v2.model``, ``lpips/alexnet.pth``, ``lpips/lpips_alex.pth``.

Beside each lies ``RANDOM_WEIGHTS`` (:data:`stages.weight_hashes.RANDOM_MARKER`), which ``inventory`` records and
the report names in its first line.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import random_onnx
from s3dnerf.faces.recon.morphable import EXP, ID, TEX, own_model
from s3dnerf.faces.recon.network import ReconNetwork
from stages.weight_hashes import RANDOM_MARKER

BFM_VERTICES = 35_709
BASIS_DEVIATION = 0.002  # of a coefficient's displacement, in units of 10 cm: a face stays a face
COEFFICIENT_DEVIATION = 0.02
DETECTOR = "scrfd_500m_bnkps.onnx"
VGG19 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0)  # 0: a pool
ALEXNET = ((3, 64, 11), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3))
ALEXNET_AT = (0, 3, 6, 8, 10)
MARKER_TEXT = (
    "The weight files here hold random values (benchmarks/random_weights.py): no result made with them counts.\n"
)


def count(state: Mapping[str, torch.Tensor]) -> int:
    """Numbers in a file of named tensors, counters left out."""
    return sum(value.numel() for name, value in state.items() if not name.endswith("num_batches_tracked"))


def _layer(state: dict[str, torch.Tensor], name: str, shape: tuple[int, ...]) -> None:
    fan_in = int(np.prod(shape[1:]))
    state[f"{name}.weight"] = torch.randn(shape) * (2 / fan_in) ** 0.5
    state[f"{name}.bias"] = torch.zeros(shape[0])


def vgg19_state(hidden: int = 4096) -> dict[str, torch.Tensor]:
    """torchvision's VGG-19: 16 convolutions and three linear layers of ``hidden`` features."""
    torch.manual_seed(19)
    state: dict[str, torch.Tensor] = {}
    channels, at = 3, 0
    for size in VGG19:
        if size:
            _layer(state, f"features.{at}", (size, channels, 3, 3))
            channels = size
        at += 2 if size else 1
    for at, shape in ((0, (hidden, 512 * 49)), (3, (hidden, hidden)), (6, (1000, hidden))):
        _layer(state, f"classifier.{at}", shape)
    return state


def alexnet_state(hidden: int = 4096) -> dict[str, torch.Tensor]:
    """torchvision's AlexNet: five convolutions and three linear layers of ``hidden`` features."""
    torch.manual_seed(5)
    state: dict[str, torch.Tensor] = {}
    for at, (channels_in, channels, kernel) in zip(ALEXNET_AT, ALEXNET, strict=True):
        _layer(state, f"features.{at}", (channels, channels_in, kernel, kernel))
    for at, shape in ((1, (hidden, 256 * 36)), (4, (hidden, hidden)), (6, (1000, hidden))):
        _layer(state, f"classifier.{at}", shape)
    return state


def lpips_heads() -> dict[str, torch.Tensor]:
    """lpips' linear heads: no weight below 0."""
    torch.manual_seed(6)
    return {f"lin{i}.model.1.weight": torch.rand(1, shape[1], 1, 1) for i, shape in enumerate(ALEXNET)}


def recon_checkpoint(width: int = 64, blocks: tuple[int, ...] = (3, 4, 6, 3)) -> dict[str, Any]:
    """Deep3DFaceRecon's checkpoint, whose coefficients stay near the mean face in a frontal pose."""
    torch.manual_seed(20)
    network = ReconNetwork(width, blocks)
    for head in network.final_layers:
        assert isinstance(head, torch.nn.Conv2d) and head.bias is not None
        torch.nn.init.normal_(head.weight, std=COEFFICIENT_DEVIATION / head.in_channels**0.5)
        torch.nn.init.zeros_(head.bias)
    moments = {
        i: {"step": torch.tensor(1.0), "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        for i, p in enumerate(network.parameters())
    }
    groups = [{"lr": 1e-4, "params": list(moments)}]
    return {
        "net_recon": network.state_dict(),
        "opt_00": {"state": moments, "param_groups": groups},
        "sched_00": {"last_epoch": 20},
    }


def face_surface(vertices: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Our own mean face with a point more in the middle of its largest triangles until it has so many vertices.

    Returns vertices float64 (n, 3), triangles int (t, 3) from 0, and the 68 landmarks' vertices. Raises ValueError
    where the mesh has more vertices already.
    """
    model = own_model()
    points, triangles = model.mean, model.triangles
    if vertices < len(points):
        raise ValueError(f"{vertices} vertices: expected at least {len(points)}, those of our own mesh")
    while missing := vertices - len(points):
        a, b, c = np.moveaxis(points[triangles], 1, 0)
        order = np.argsort(-np.linalg.norm(np.cross(b - a, c - a), axis=1), kind="stable")
        split, kept = triangles[order[:missing]], triangles[order[missing:]]
        new = len(points) + np.arange(len(split))
        points = np.concatenate([points, points[split].mean(axis=1)])
        i, j, k = split.T
        parts = [np.stack(three, axis=1) for three in ((i, j, new), (j, k, new), (k, i, new))]
        triangles = np.concatenate([kept, *parts])
    return points, triangles, model.keypoints


def face_model(vertices: int = BFM_VERTICES) -> dict[str, np.ndarray]:
    """The arrays of ``BFM_model_front.mat`` that the loader reads: our own mean face, random bases and colours."""
    random = np.random.default_rng(2009)
    points, triangles, keypoints = face_surface(vertices)

    def basis(width: int, deviation: float) -> np.ndarray:
        return random.standard_normal((3 * vertices, width), dtype=np.float32) * np.float32(deviation)

    return {
        "meanshape": points.reshape(1, -1).astype(np.float32),
        "meantex": random.uniform(80, 180, (1, 3 * vertices)).astype(np.float32),
        "idBase": basis(ID, BASIS_DEVIATION),
        "exBase": basis(EXP, BASIS_DEVIATION),
        "texBase": basis(TEX, 1.0),
        "tri": (triangles + 1).astype(np.int32),
        "keypoints": keypoints.reshape(1, -1).astype(np.int32) + 1,
    }


def speech_model(folder: Path, **smaller: Any) -> int:
    """wav2vec2-base-960h's folder; ``smaller`` changes the configuration. Returns its number of parameters."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    torch.manual_seed(960)
    network = Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=32, **smaller))
    network.save_pretrained(folder)
    extractor = Wav2Vec2FeatureExtractor(1, 16000, 0.0, do_normalize=True, return_attention_mask=False)
    extractor.save_pretrained(folder)
    return network.num_parameters()


def _saved(path: Path, value: Any, parameters: int) -> int:
    torch.save(value, path)
    return parameters


def _deep3d(folder: Path) -> Iterator[tuple[Path, Callable[[Path], int]]]:
    from scipy.io import savemat

    def network(path: Path) -> int:
        checkpoint = recon_checkpoint()
        return _saved(path, checkpoint, count(checkpoint["net_recon"]))

    def model(path: Path) -> int:
        held = face_model()
        savemat(str(path), held)
        savemat(
            str(path.with_name("similarity_Lm3D_all.mat")),
            {"lm": held["meanshape"].reshape(-1, 3)[held["keypoints"][0] - 1]},
        )
        return sum(value.size for name, value in held.items() if name not in ("tri", "keypoints"))

    yield folder / "epoch_20.pth", network
    yield folder / "BFM_model_front.mat", model


def makers(folder: Path, detector: Path) -> Iterator[tuple[Path, Callable[[Path], int]]]:
    """Each file (or folder) and what writes it; a maker returns the number of values it wrote."""
    from s3dnerf.sync.syncnet import SyncNet

    def real_detector(path: Path) -> int:
        import onnx

        shutil.copyfile(detector, path)
        return sum(int(np.prod(t.dims)) for t in onnx.load(str(path)).graph.initializer)

    def syncnet(path: Path) -> int:
        torch.manual_seed(2)
        state = SyncNet().state_dict()
        return _saved(path, {n: v for n, v in state.items() if not n.endswith("num_batches_tracked")}, count(state))

    def plain(state: Callable[[], dict[str, torch.Tensor]]) -> Callable[[Path], int]:
        def write(path: Path) -> int:
            held = state()
            return _saved(path, held, count(held))

        return write

    pack = folder / "insightface" / "buffalo_l"
    yield pack / DETECTOR, real_detector
    yield pack / "1k3d68.onnx", random_onnx.landmark_model
    yield pack / "w600k_r50.onnx", random_onnx.recogniser
    yield from _deep3d(folder / "deep3d")
    yield folder / "wav2vec2-base-960h", speech_model
    yield folder / "vgg19.pth", plain(vgg19_state)
    yield folder / "syncnet_v2.model", syncnet
    yield folder / "lpips" / "alexnet.pth", plain(alexnet_state)
    yield folder / "lpips" / "lpips_alex.pth", plain(lpips_heads)


def make_all(folder: Path, detector: Path) -> dict[str, dict[str, int]]:
    """Write every file below ``folder``, with the marker beside it. Returns path → ``parameters`` and ``bytes``.

    Raises FileNotFoundError where there is no detector file.
    """
    if not detector.is_file():
        raise FileNotFoundError(f"{detector}: no such file — expected a real SCRFD detector in ONNX")
    made = {}
    for path, write in makers(folder, detector):
        path.parent.mkdir(parents=True, exist_ok=True)
        parameters = write(path)
        place = path if path.is_dir() else path.parent
        (place / RANDOM_MARKER).write_text(MARKER_TEXT, encoding="utf-8")
        files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
        made[path.relative_to(folder).as_posix()] = {
            "parameters": parameters,
            "bytes": sum(p.stat().st_size for p in files if p.name != RANDOM_MARKER),
        }
    return made
