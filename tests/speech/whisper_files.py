"""Small Whisper models with random weights: as the hub's folders are, and as CTranslate2 files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch

WIDTH, HEADS, LAYERS, POSITIONS = 24, 2, 3, 600


def small_model(seed: int = 0) -> Any:
    """A whole Whisper (transformers) of 3 layers, 24 wide, whose weights are large enough that every layer tells."""
    from transformers import WhisperConfig, WhisperModel

    torch.manual_seed(seed)
    model = WhisperModel(
        WhisperConfig(
            vocab_size=40, d_model=WIDTH, encoder_layers=LAYERS, decoder_layers=1, encoder_attention_heads=HEADS,
            decoder_attention_heads=HEADS, encoder_ffn_dim=4 * WIDTH, decoder_ffn_dim=WIDTH, pad_token_id=0,
            max_source_positions=POSITIONS, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        )
    )  # fmt: skip
    for name, value in model.encoder.named_parameters():
        if "embed_positions" not in name:
            torch.nn.init.normal_(value, 1.0 if "norm.weight" in name else 0.0, 0.25)
    return model.eval()


def whisper_folder(path: Path, seed: int = 0) -> Path:
    """A folder as the hub's: config.json and model.safetensors."""
    small_model(seed).save_pretrained(path)
    return path


def text(value: str) -> bytes:
    """A text of CTranslate2's format."""
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def variable(name: str, value: np.ndarray) -> bytes:
    """A variable of CTranslate2's format."""
    kinds = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    head = text(name) + struct.pack("<B", value.ndim) + struct.pack(f"<{value.ndim}I", *value.shape)
    return head + struct.pack("<BI", kinds[str(value.dtype)], value.nbytes) + value.tobytes()


def ctranslate2_bytes(
    variables: dict[str, np.ndarray], aliases: dict[str, str] | None = None, kind: str = "WhisperSpec", version: int = 6
) -> bytes:
    """A CTranslate2 file."""
    aliases = aliases or {}
    return (
        struct.pack("<I", version) + text(kind) + struct.pack("<II", 3, len(variables))
        + b"".join(variable(name, value) for name, value in variables.items())
        + struct.pack("<I", len(aliases)) + b"".join(text(a) + text(b) for a, b in aliases.items())
    )  # fmt: skip


def ctranslate2_variables(model: Any) -> dict[str, np.ndarray]:
    """What CTranslate2 would hold of a model's encoder, and a little of its decoder."""
    state = {name: value.numpy() for name, value in model.encoder.state_dict().items()}
    found = {
        "decoder/embeddings/weight": np.zeros((40, WIDTH), np.float32),
        "encoder/num_heads": np.array(HEADS, np.int16),
        "encoder/position_encodings/encodings": state["embed_positions.weight"],
        "encoder/layer_norm/gamma": state["layer_norm.weight"],
        "encoder/layer_norm/beta": state["layer_norm.bias"],
    }
    for conv in ("conv1", "conv2"):
        found |= {f"encoder/{conv}/{part}": state[f"{conv}.{part}"] for part in ("weight", "bias")}
    for number in range(LAYERS):
        ours, theirs = f"layers.{number}", f"encoder/layer_{number}"
        attention = f"{ours}.self_attn"
        found[f"{theirs}/self_attention/linear_0/weight"] = np.concatenate(
            [state[f"{attention}.{part}_proj.weight"] for part in "qkv"]
        )
        query, values = state[f"{attention}.q_proj.bias"], state[f"{attention}.v_proj.bias"]
        found[f"{theirs}/self_attention/linear_0/bias"] = np.concatenate([query, 0 * query, values])
        for name, module in (
            ("self_attention/linear_1", "self_attn.out_proj"), ("ffn/linear_0", "fc1"), ("ffn/linear_1", "fc2"),
        ):  # fmt: skip
            found |= {f"{theirs}/{name}/{part}": state[f"{ours}.{module}.{part}"] for part in ("weight", "bias")}
        for name, module in (("self_attention", "self_attn_layer_norm"), ("ffn", "final_layer_norm")):
            found[f"{theirs}/{name}/layer_norm/gamma"] = state[f"{ours}.{module}.weight"]
            found[f"{theirs}/{name}/layer_norm/beta"] = state[f"{ours}.{module}.bias"]
    return found
