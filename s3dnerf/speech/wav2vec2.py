"""wav2vec2 tokens through transformers, from local files alone.

The network's convolutions give one token short of two a frame; 80 further samples of silence (40 before, 40 after) give
exactly 2 N and centre token t on the 20 ms it stands for.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.rates import RATE_HZ, SAMPLES_PER_FRAME
from s3dnerf.core.weight_files import refusal

NEEDED = ("config.json", "preprocessor_config.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")


class SpeechModelError(S3DNeRFError, RuntimeError):
    """The speech model is missing or not what its settings say; the message says what to do."""


def model_folder(model: str | None) -> Path:
    """The folder that holds the model ``model``: a folder as it is, or a hub name in the local hub cache.

    Raises SpeechModelError, naming the setting and how to get the files, when they are not all here. Nothing is
    downloaded.
    """
    hub_name = (
        model if model and model.count("/") == 1 and not model.startswith((".", "/")) else "facebook/wav2vec2-base-960h"
    )
    help = (
        f"speech.model: {model!r}: not found on this machine, and nothing is downloaded silently — fetch it once with\n"
        f"  hf download {hub_name}\nor name a folder with {', '.join(NEEDED)} and {' or '.join(WEIGHTS)}, "
        "or set speech.backend: logmel"
    )
    if not model:
        raise SpeechModelError(help)
    folder = Path(model)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(model, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError) as error:
            raise SpeechModelError(help) from error
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in WEIGHTS):
        missing.append(" or ".join(WEIGHTS))
    if missing:
        raise SpeechModelError(f"{folder} lacks {', '.join(missing)}\n{help}")
    return folder


def model_files(model: str | None) -> list[Path]:
    """The files whose bytes decide the tokens."""
    folder = model_folder(model)
    return [folder / name for name in (*NEEDED, *WEIGHTS) if (folder / name).is_file()]


class Wav2Vec2:
    """Speech backend ``wav2vec2``: last hidden state of a wav2vec 2.0 encoder (Baevski et al. 2020).

    Parameters
    ----------
    model : str
        A folder, or a hub name that the local cache holds.
    device : str
    """

    name = "wav2vec2"
    real = True

    def __init__(self, model: str | None, device: str = "cpu") -> None:
        import torch
        from safetensors import SafetensorError
        from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model
        from transformers.utils import logging

        folder = model_folder(model)
        level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()  # a CTC checkpoint's unused head is no reason to alarm anyone
        logging.disable_progress_bar()
        try:
            loaded: Any = Wav2Vec2Model.from_pretrained(
                folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
            )
            self.extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError, pickle.UnpicklingError, SafetensorError) as error:
            reason = refusal(error) if isinstance(error, pickle.UnpicklingError) else str(error)[:300]
            raise SpeechModelError(f"speech.model: {folder} cannot be loaded as wav2vec2: {reason}") from error
        finally:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()
        self.network, report = loaded
        # a training-time token
        absent = sorted(str(key) for key in report["missing_keys"] if "masked_spec_embed" not in str(key))
        if absent:
            raise SpeechModelError(
                f"speech.model: {folder} lacks {len(absent)} of the network's weights, for example {absent[0]}"
            )
        if self.extractor.sampling_rate != RATE_HZ:
            raise SpeechModelError(
                f"speech.model: {folder} is for {self.extractor.sampling_rate} Hz, expected {RATE_HZ}"
            )
        config = self.network.config
        self.hop = math.prod(config.conv_stride)
        self.field = 1 + sum((k - 1) * math.prod(config.conv_stride[:i]) for i, k in enumerate(config.conv_kernel))
        if SAMPLES_PER_FRAME != 2 * self.hop:
            raise SpeechModelError(
                f"speech.model: {folder} has one token in {self.hop} samples, expected {SAMPLES_PER_FRAME // 2}"
            )
        self.dim = int(config.hidden_size)
        self.device = device
        self.network.eval().to(device)

    def tokens(self, samples: np.ndarray) -> np.ndarray:
        """Tokens of one clip: (640 N,) samples → float32 (2 N, dim)."""
        return self.tokens_of_many([samples])[0]

    def tokens_of_many(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Tokens of clips of equal length, in one forward pass (no padding between clips: it would change the group
        norm).
        """
        import torch

        lengths = {len(samples) for samples in clips}
        if len(lengths) != 1 or (length := lengths.pop()) % SAMPLES_PER_FRAME or not length:
            raise ValueError(
                f"samples: expected equal lengths, a multiple of {SAMPLES_PER_FRAME}; got "
                f"{sorted({len(c) for c in clips})}"
            )
        batch = np.stack([np.asarray(samples, dtype=np.float64) for samples in clips])
        if self.extractor.do_normalize:
            batch = (batch - batch.mean(axis=1, keepdims=True)) / np.sqrt(batch.var(axis=1, keepdims=True) + 1e-7)
        missing = self.field - self.hop
        batch = np.pad(batch, ((0, 0), (missing // 2, missing - missing // 2)))
        with torch.inference_mode():
            hidden = self.network(torch.from_numpy(batch.astype(np.float32)).to(self.device)).last_hidden_state
        expected = (len(clips), 2 * length // SAMPLES_PER_FRAME, self.dim)
        assert tuple(hidden.shape) == expected, f"tokens: expected {expected}, got {tuple(hidden.shape)}"
        return list(hidden.float().cpu().numpy())
