"""Whisper's encoder as speech tokens (Radford et al. 2023), through transformers, from local files alone.

The front end is Whisper's: 80 log-mel bins, windows of 400 samples every 160, log10 clamped to 8 below the speech's
maximum, (x + 4) / 4. The encoder's convolutions halve that to 50 tokens a second, token t centred on sample 320 t, so
the first 160 samples are dropped: token t then stands for [t/50, (t + 1)/50) s, centred in it, as log-mel's and
wav2vec2's do. Tokens are the state after layer ``speech.whisper_layer`` (of tiny's four the third tells most of
unseen people's lips: :mod:`benchmarks.speech_features`).

Whisper adds to each token a code of its place in the window, and its states still show it: the same sound 0.4 s later
in a window gives tokens 0.25 of their standard deviation away (root mean square), 3.4 s later 0.4 away. So the windows
of long speech are placed by its length alone: 10 s, as long as the clips that networks are trained on, each beginning
8 s after the one before, the last one at the end; where two overlap, tokens pass from one to the other in a straight
line. Had the windows begun elsewhere, tokens would differ by ``TOLERANCE`` at most, as a mean over a window.

Ways without that dependence were tried once, by the benchmark's regression with six or ten groups of people left out,
and tell less of unseen people's mouths (R² of opening; as here: 0.36): one code for all places with attention over 1 s
to either side has 0.18; every frame in a 2 s window of its own 0.30 on a part of the clips where this has 0.32, for ten
times the work and more. Silence after the speech up to Whisper's 30 s changes nothing (0.36) but the work; it is left
out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s3dnerf.core.errors import MissingWeights
from s3dnerf.core.rates import RATE_HZ, SAMPLES_PER_FRAME
from s3dnerf.core.weight_files import WeightFileError, read_safetensors, read_tensors
from s3dnerf.speech.whisper_weights import FACTS, WhisperWeightsError

if TYPE_CHECKING:
    import torch

SETTING = "speech.whisper_model"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
HUB_NAME = "openai/whisper-tiny"
WHERE = f"s3dnerf fetch whisper; or hf download {HUB_NAME}; or a folder with config.json and {' or '.join(WEIGHTS)}"
LICENCE = "MIT"
WINDOW, HOP = 400, 160  # samples
TOKEN = 2 * HOP  # samples from one token to the next
DROPPED = TOKEN // 2  # samples, so that a token is centred in the 20 ms it stands for
FLOOR, DEPTH = 1e-10, 8.0  # least power; log10 units below the maximum
PART = 500  # tokens of a window, 10 s
OVERLAP = 100  # tokens that neighbouring windows share at least
# root mean square difference of a speech's tokens when its windows begin elsewhere, in the tokens' standard deviations
TOLERANCE = 0.5  # measured: 0.42 at most, over a window, for a real voice (tests/speech/test_whisper.py)
MEL_PART = 60_000  # columns of log-mel made at once: 10 minutes
LOOK_PART = 3_000  # and where they are only looked through: half a minute, 20 MB


def model_files(model: str | None) -> list[Path]:
    """The files whose bytes decide the tokens: one safetensors file as :mod:`s3dnerf.speech.whisper_weights` writes it,
    or the two of a folder or of a hub name in the local cache. Nothing is downloaded.

    Raises MissingWeights, saying where to get them, where they are not here.
    """
    if model and Path(model).is_file():
        return [Path(model)]
    folder = Path(model) if model else None
    if folder is not None and not folder.is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(str(model), local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError):
            folder = None
    if folder is None:
        raise MissingWeights(SETTING, model, WHERE, LICENCE, "speech.backend: logmel, log-mel windows")
    weights = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    if not weights or not (folder / "config.json").is_file():
        lacking = "config.json" if weights else " or ".join(WEIGHTS)
        raise MissingWeights(SETTING, folder / lacking, WHERE, LICENCE, "speech.backend: logmel, log-mel windows")
    return [folder / "config.json", weights[0]]


def _facts(path: Path, text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise WhisperWeightsError(f"{SETTING}: {path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise WhisperWeightsError(f"{SETTING}: {path}: expected a JSON object, got {type(found).__name__}")
    return found


def read_encoder(model: str | None) -> tuple[dict[str, torch.Tensor], int, int]:
    """The encoder's tensors under transformers' names in ``WhisperEncoder``, its heads, and its layers in the whole
    model.

    Raises MissingWeights; WhisperWeightsError for files that hold something else.
    """
    files = model_files(model)
    if len(files) == 1:
        try:
            tensors, metadata = read_safetensors(files[0])
        except WeightFileError as error:
            raise WhisperWeightsError(f"{SETTING}: {error}") from error
        if FACTS not in metadata:
            raise WhisperWeightsError(
                f"{SETTING}: {files[0]} was not written by s3dnerf.speech.whisper_weights: name a folder instead"
            )
        facts = _facts(files[0], metadata[FACTS])
        heads, layers = facts.get("heads"), facts.get("layers_of_model")
    else:
        facts = _facts(files[0], files[0].read_text(encoding="utf-8"))
        kind = (facts.get("model_type"), facts.get("activation_function", "gelu"), facts.get("scale_embedding", False))
        if kind != ("whisper", "gelu", False):
            raise WhisperWeightsError(
                f"{SETTING}: {files[0]}: model_type, activation_function, scale_embedding are {kind}, expected "
                "('whisper', 'gelu', False)"
            )
        heads, layers = facts.get("encoder_attention_heads"), facts.get("encoder_layers")
        try:
            given = read_safetensors(files[1])[0] if files[1].suffix == ".safetensors" else read_tensors(files[1])
        except WeightFileError as error:
            raise WhisperWeightsError(f"{SETTING}: {error}") from error
        if not isinstance(given, dict):
            raise WhisperWeightsError(f"{SETTING}: {files[1]}: expected named tensors, got {type(given).__name__}")
        tensors = {}
        for name, value in given.items():
            before, found, after = str(name).partition("encoder.")
            if found and before in ("", "model."):
                tensors[after] = value
    if not (isinstance(heads, int) and isinstance(layers, int) and heads > 0 and layers > 0):
        raise WhisperWeightsError(f"{SETTING}: {files[0]}: {heads} heads, {layers} layers: expected numbers above 0")
    return tensors, heads, layers


def load_encoder(model: str | None, layer: int) -> Any:
    """Transformers' ``WhisperEncoder`` up to a layer, in float32, for inference.

    Parameters
    ----------
    layer : 1 … the model's layers; with all of them the closing layer norm is part of it, else there is none

    Raises
    ------
    MissingWeights, WhisperWeightsError: no such layer in the file, names or shapes that do not fit.
    """
    import torch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    tensors, heads, layers = read_encoder(model)
    there = len({name.split(".")[1] for name in tensors if name.startswith("layers.")})
    if not 1 <= layer <= there:
        raise WhisperWeightsError(
            f"speech.whisper_layer: {layer}: {model} holds {there} of the encoder's {layers} layers"
            + ("" if layer > layers else " (s3dnerf.speech.whisper_weights --layers)")
        )
    wanted = {name: value for name, value in tensors.items() if not name.startswith(("layers.", "layer_norm."))}
    wanted |= {name: v for name, v in tensors.items() if name.startswith("layers.") and int(name.split(".")[1]) < layer}
    if layer == layers:
        wanted |= {name: value for name, value in tensors.items() if name.startswith("layer_norm.")}
    try:
        width, bins, _ = wanted["conv1.weight"].shape
        if (places := wanted["embed_positions.weight"].shape[0]) < PART:
            raise ValueError(f"{places} places, expected at least {PART}")
        sizes: dict[str, Any] = {
            "d_model": width,
            "num_mel_bins": bins,
            "max_source_positions": places,
            "encoder_ffn_dim": wanted["layers.0.fc1.weight"].shape[0],
            "encoder_layers": layer,
            "encoder_attention_heads": heads,
            "attn_implementation": "sdpa",
        }
        encoder: Any = WhisperEncoder(WhisperConfig(**sizes))
        if layer < layers:
            encoder.layer_norm = torch.nn.Identity()
        encoder.load_state_dict({name: value.float() for name, value in wanted.items()})
    except (KeyError, AttributeError, ValueError, RuntimeError) as error:
        raise WhisperWeightsError(f"{SETTING}: {model} is not a whole Whisper encoder: {str(error)[:300]}") from error
    return encoder.eval()


def levels_of(samples: np.ndarray, first: int, many: int, bins: int = 80) -> np.ndarray:
    """Columns ``first`` … ``first`` + ``many`` − 1 of a speech's log-mel, not yet clamped: float64 (many, bins), log10.

    Parameters
    ----------
    samples : float (n,), 16 kHz; mirrored before its start, silence after its end
    """
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    half = WINDOW // 2
    filters = mel_filter_bank(1 + half, bins, 0.0, RATE_HZ / 2, RATE_HZ, norm="slaney", mel_scale="slaney")
    low = first * HOP - half
    heard = np.zeros((many - 1) * HOP + WINDOW)
    inside = samples[max(low, 0) : max(low + len(heard), 0)]
    heard[max(-low, 0) : max(-low, 0) + len(inside)] = inside
    if low < 0:
        mirrored = np.zeros(half + 1)
        mirrored[: len(samples[: half + 1])] = samples[: half + 1]
        heard[:-low] = mirrored[-low:0:-1]
    return spectrogram(
        heard,
        window_function(WINDOW, "hann"),
        frame_length=WINDOW,
        hop_length=HOP,
        power=2.0,
        center=False,
        mel_filters=filters,
        mel_floor=FLOOR,
        log_mel="log10",
    ).T


def _clamped(levels: np.ndarray, loudest: float) -> np.ndarray:
    """Log-mel as the encoder takes it, float32."""
    return ((np.maximum(levels, loudest - DEPTH) + 4) / 4).astype(np.float32)


def log_mel(samples: np.ndarray, bins: int = 80) -> np.ndarray:
    """Whisper's log-mel of a speech, as transformers' ``WhisperFeatureExtractor`` makes it of speech up to 30 s.

    Longer speech is clamped by its own loudest moment, as in Whisper's own reading of long files.

    Parameters
    ----------
    samples : float (160 n,), 16 kHz, −1 … 1; column c is centred on sample 160 c

    Returns
    -------
    float32 (n, bins); the maximum is at most 1.5 or so, the minimum 2 below the maximum
    """
    columns, rest = divmod(len(samples), HOP)
    if rest or not columns:
        raise ValueError(f"samples: expected a multiple of {HOP}, got {len(samples)}")
    parts = [levels_of(samples, first, min(MEL_PART, columns - first), bins) for first in range(0, columns, MEL_PART)]
    levels = np.concatenate(parts)  # [n, bins]
    assert levels.shape == (columns, bins), f"log-mel: expected {(columns, bins)}, got {levels.shape}"
    return _clamped(levels, levels.max())


def windows(count: int) -> list[int]:
    """Where the windows begin that hear ``count`` tokens; each is ``PART`` long, but for speech that is shorter.

    >>> windows(500), windows(501), windows(1000)
    ([0], [0, 1], [0, 400, 500])
    """
    if count <= PART:
        return [0]
    return [*range(0, count - PART, PART - OVERLAP), count - PART]


def _ramp(side: int) -> np.ndarray:
    """A window's weight at each of its tokens, (side, 1)."""
    return np.minimum(np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)), OVERLAP)[:, None]


class Whisper:
    """Speech backend ``whisper``: the state of Whisper's encoder after one of its layers.

    Parameters
    ----------
    model : a file of :mod:`s3dnerf.speech.whisper_weights`, a folder, or a hub name that the local cache holds
    layer : 1 … the encoder's layers
    device : str
    """

    name = "whisper"
    real = False  # a real speech model, but not the paper's: it stands in for wav2vec2

    def __init__(self, model: str | None, layer: int, device: str = "cpu") -> None:
        self.encoder = load_encoder(model, layer).to(device)
        self.device, self.dim = device, int(self.encoder.config.d_model)

    def states(self, mel: torch.Tensor) -> torch.Tensor:
        """States after the last layer kept: log-mel (B, bins, 2 T) → (B, T, dim), T at most the model's places.

        As ``WhisperEncoder`` itself, which takes windows of 30 s alone.
        """
        from torch.nn.functional import gelu

        hidden = gelu(self.encoder.conv2(gelu(self.encoder.conv1(mel)))).transpose(1, 2)  # [B, T, dim]
        hidden = hidden + self.encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in self.encoder.layers:
            hidden = layer(hidden, None)
        return self.encoder.layer_norm(hidden)

    def tokens(self, samples: np.ndarray) -> np.ndarray:
        """Tokens of one speech of any length: (640 N,) samples → float32 (2 N, dim)."""
        return self.tokens_of_many([samples])[0]

    def tokens_of_many(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Tokens of clips of equal length, each (640 N,), window by window, the clips of a window at once."""
        import torch

        lengths = {len(samples) for samples in clips}
        if len(lengths) != 1 or (length := lengths.pop()) % SAMPLES_PER_FRAME or not length:
            raise ValueError(
                f"samples: expected equal lengths, a multiple of {SAMPLES_PER_FRAME}; got "
                f"{sorted({len(c) for c in clips})}"
            )
        count = length // TOKEN
        bins = self.encoder.num_mel_bins
        moved = (np.concatenate([samples[DROPPED:], np.zeros(DROPPED)]) for samples in clips)
        mels = torch.from_numpy(np.stack([log_mel(samples, bins).T for samples in moved]))  # [B, bins, 2 count]
        assert count == 2 * (length // SAMPLES_PER_FRAME), f"{count} tokens: expected two a frame"
        side = min(count, PART)
        ramp = _ramp(side)
        tokens, weights = np.zeros((len(clips), count, self.dim)), np.zeros((count, 1))
        with torch.inference_mode():
            for first in windows(count):
                heard = self.states(mels[..., 2 * first : 2 * (first + side)].to(self.device))
                expected = (len(clips), side, self.dim)
                assert tuple(heard.shape) == expected, f"tokens: expected {expected}, got {tuple(heard.shape)}"
                tokens[:, first : first + side] += ramp * heard.float().cpu().numpy()
                weights[first : first + side] += ramp
        return list((tokens / weights).astype(np.float32))

    def token_parts(self, samples: np.ndarray) -> Iterator[np.ndarray]:
        """The tokens of :meth:`tokens`, in parts (k, dim) as they are made: memory does not grow with the speech.

        Before the first, the whole speech is looked through once for its loudest moment, which all of them depend on.
        """
        import torch

        if len(samples) % SAMPLES_PER_FRAME or not len(samples):
            raise ValueError(f"samples: expected a multiple of {SAMPLES_PER_FRAME}, got {len(samples)}")
        count, bins, moved = len(samples) // TOKEN, self.encoder.num_mel_bins, samples[DROPPED:]
        loudest = max(
            float(levels_of(moved, first, min(LOOK_PART, 2 * count - first), bins).max())
            for first in range(0, 2 * count, LOOK_PART)
        )
        begins, side = windows(count), min(count, PART)
        ramp = _ramp(side)
        tokens, weights = np.zeros((side, self.dim)), np.zeros((side, 1))  # of the window's place
        for first, after in zip(begins, [*begins[1:], count]):
            mel = torch.from_numpy(_clamped(levels_of(moved, 2 * first, 2 * side, bins), loudest).T[None])
            with torch.inference_mode():
                heard = self.states(mel.to(self.device))[0].float().cpu().numpy()
            tokens += ramp * heard
            weights += ramp
            done = after - first  # no later window reaches these
            yield (tokens[:done] / weights[:done]).astype(np.float32)
            tokens = np.concatenate([tokens[done:], np.zeros((done, self.dim))])
            weights = np.concatenate([weights[done:], np.zeros((done, 1))])
