"""Whisper's encoder as a speech backend: its own front end, two tokens a frame, a token that knows its surroundings
alone, and the same numbers as transformers and as a plain numpy reading of the formulas.
"""

import hashlib
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import erf, softmax

from s3dnerf.core.errors import MissingWeights
from s3dnerf.settings.schema import SpeechSettings
from s3dnerf.speech import whisper
from s3dnerf.speech.audio import read_audio
from s3dnerf.speech.features import speech_backend, tokens_of_long
from s3dnerf.speech.whisper import OVERLAP, PART, TOLERANCE, Whisper, load_encoder, log_mel, model_files, windows
from s3dnerf.speech.whisper_weights import WhisperWeightsError, convert
from tests.margins import SHARED
from tests.speech.whisper_files import (
    HEADS,
    LAYERS,
    POSITIONS,
    WIDTH,
    ctranslate2_bytes,
    ctranslate2_variables,
    small_model,
    whisper_folder,
)

REAL = Path(__file__).resolve().parents[2] / "weights" / "whisper_tiny_en.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return whisper_folder(tmp_path_factory.mktemp("whisper"))


def speech(frames: int, seed: int = 0) -> np.ndarray:
    """Noise whose loudness moves, 16 kHz."""
    rng = np.random.default_rng(seed)
    loudness = np.interp(np.arange(640 * frames), 640 * np.arange(frames), rng.uniform(0, 1, frames))
    return (rng.uniform(-0.5, 0.5, 640 * frames) * loudness).astype(np.float32)


def numpy_states(state, mel, layers, positions):
    """The encoder from its formulas (Radford et al. 2023, 2.2; Vaswani et al. 2017): mel (bins, 2 T) → (T, WIDTH).

    Pre-norm layers, GELU by the error function, scaled dot products of every token with every other.
    """
    p = {name: value.numpy().astype(np.float64) for name, value in state.items()}

    def gelu(x):
        return x * 0.5 * (1 + erf(x / math.sqrt(2)))

    def conv(x, name, stride):
        padded = np.pad(x, ((0, 0), (1, 1)))
        columns = range(0, x.shape[1], stride)
        made = [np.einsum("oik,ik->o", p[f"{name}.weight"], padded[:, c : c + 3]) for c in columns]
        return np.stack(made, axis=1) + p[f"{name}.bias"][:, None]

    def norm(x, name):
        middle = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((middle**2).mean(axis=-1, keepdims=True) + 1e-5)
        return middle / scale * p[f"{name}.weight"] + p[f"{name}.bias"]

    def linear(x, name):
        return x @ p[f"{name}.weight"].T + p.get(f"{name}.bias", 0.0)

    x = gelu(conv(gelu(conv(mel.astype(np.float64), "conv1", 1)), "conv2", 2)).T + positions
    for number in range(layers):
        name, side = f"layers.{number}", WIDTH // HEADS
        y, heard = norm(x, f"{name}.self_attn_layer_norm"), []
        q, k, v = (linear(y, f"{name}.self_attn.{part}_proj") for part in "qkv")
        for head in range(HEADS):
            own = slice(head * side, (head + 1) * side)
            scores = q[:, own] @ k[:, own].T / math.sqrt(side)
            heard.append(softmax(scores, axis=1) @ v[:, own])
        x = x + linear(np.concatenate(heard, axis=1), f"{name}.self_attn.out_proj")
        x = x + linear(gelu(linear(norm(x, f"{name}.final_layer_norm"), f"{name}.fc1")), f"{name}.fc2")
    return norm(x, "layer_norm") if layers == LAYERS else x


@pytest.mark.parametrize("layer", [1, 2, LAYERS])
def test_states_are_those_of_the_formulas_and_the_formulas_are_transformers(layer, folder):
    model = small_model()
    state, positions = model.encoder.state_dict(), model.encoder.embed_positions.weight.detach().numpy()
    mel = log_mel(speech(POSITIONS // 2)).T[None]  # as long as the small model's window
    with torch.inference_mode():
        theirs = model.encoder(torch.from_numpy(mel), output_hidden_states=True).hidden_states[layer][0].numpy()
    assert np.abs(numpy_states(state, mel[0], layer, positions) - theirs).max() < 1e-4  # the reference is right
    with torch.inference_mode():
        ours = Whisper(str(folder), layer).states(torch.from_numpy(mel))[0].numpy()
    assert np.abs(ours - theirs).max() < 1e-5
    short = Whisper(str(folder), layer).tokens(speech(20))  # less than a window of transformers
    moved = np.concatenate([speech(20)[whisper.DROPPED :], np.zeros(whisper.DROPPED)])
    assert np.abs(numpy_states(state, log_mel(moved).T, layer, positions[:40]) - short).max() < 1e-4


def test_a_converted_file_a_folder_and_a_torch_file_give_the_same_tokens(folder, tmp_path):
    data = ctranslate2_bytes(ctranslate2_variables(small_model()))
    (tmp_path / "model.bin").write_bytes(data)
    convert(tmp_path / "model.bin", tmp_path / "w.safetensors", 2, hashlib.sha256(data).hexdigest())
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "config.json").write_bytes((folder / "config.json").read_bytes())
    whole = {f"model.{name}": value for name, value in small_model().state_dict().items()}  # as with a language head
    torch.save(whole, tmp_path / "torch" / "pytorch_model.bin")
    samples = speech(10)
    wanted = Whisper(str(folder), 2).tokens(samples)
    for model in (tmp_path / "w.safetensors", tmp_path / "torch"):
        assert np.array_equal(Whisper(str(model), 2).tokens(samples), wanted)


@pytest.mark.parametrize("frames", [3, 50])
def test_log_mel_is_whispers(frames):
    from transformers import WhisperFeatureExtractor

    samples = speech(frames)
    wanted = WhisperFeatureExtractor()(samples, sampling_rate=16000, return_tensors="np").input_features[0].T
    assert np.abs(log_mel(samples) - wanted[: 4 * frames]).max() < 1e-4


def test_log_mel_in_parts_is_the_whole(monkeypatch):
    whole = log_mel(speech(20))
    monkeypatch.setattr(whisper, "MEL_PART", 33)
    assert np.array_equal(log_mel(speech(20)), whole)


@pytest.mark.parametrize("frames", [1, 7, 25])
def test_two_tokens_a_frame(frames, folder):
    backend = speech_backend(SpeechSettings(backend="whisper", whisper_model=str(folder), whisper_layer=2))
    tokens = backend.tokens(speech(frames))
    assert tokens.shape == (2 * frames, WIDTH) and tokens.dtype == np.float32
    assert (backend.name, backend.dim, backend.real) == ("whisper", WIDTH, False)
    with pytest.raises(ValueError, match="a multiple of 640"):
        backend.tokens(np.zeros(641))


def test_a_batch_is_its_clips_one_by_one(folder):
    backend = Whisper(str(folder), 2)
    clips = [speech(8, seed) for seed in range(3)]
    for alone, together in zip(map(backend.tokens, clips), backend.tokens_of_many(clips), strict=True):
        assert np.abs(alone - together).max() < 1e-4
    with pytest.raises(ValueError, match="equal lengths"):
        backend.tokens_of_many([clips[0], clips[0][:640]])


def click(frames: int, token: int) -> np.ndarray:
    """Faint noise with a burst in the middle of one token's 20 ms."""
    samples = np.random.default_rng(0).uniform(-1e-3, 1e-3, 640 * frames)
    samples[320 * token + 120 : 320 * token + 200] += np.sin(np.arange(80))
    return samples


@pytest.mark.parametrize("token", [0, 3, 10, 19])
def test_a_token_stands_for_the_20_ms_that_logmels_does(token):
    """Of the moved sound's log-mel the column 2 t holds the burst in token t, on which convolution 2 centres it."""
    power = 10 ** (4 * log_mel(np.concatenate([click(10, token)[whisper.DROPPED :], np.zeros(whisper.DROPPED)])) - 4)
    energy = power.sum(axis=1)  # [40]
    assert int(energy.argmax()) == 2 * token
    logmel = speech_backend(SpeechSettings(backend="logmel", model=None)).tokens(click(10, token))
    assert int(logmel.mean(axis=1).argmax()) == token


@pytest.mark.parametrize("count", [1, PART - 1, PART, PART + 1, 2 * PART, 7777])
def test_windows_hear_everything_and_overlap(count):
    begins = windows(count)
    assert begins[0] == 0 and begins[-1] + min(PART, count) == count
    assert all(0 < after - before <= PART - OVERLAP for before, after in itertools.pairwise(begins))


def test_long_speech_passes_from_window_to_window_in_a_straight_line(folder):
    backend, samples = Whisper(str(folder), 2), speech(450, 3)
    tokens = tokens_of_long(backend, samples, part_s=2.0)  # 900 tokens: windows from 0 and 400
    mel = torch.from_numpy(log_mel(np.concatenate([samples[whisper.DROPPED :], np.zeros(whisper.DROPPED)])).T[None])
    with torch.inference_mode():
        first, second = (backend.states(mel[..., 2 * at : 2 * at + 2 * PART])[0].numpy() for at in (0, 400))
    share = np.arange(100, 0, -1)[:, None] / 101
    wanted = np.concatenate([first[:400], share * first[400:] + (1 - share) * second[:100], second[100:]])
    assert tokens.shape == (900, WIDTH) and np.abs(tokens - wanted).max() < 1e-4


@pytest.mark.parametrize("frames", [1, 100, 250, 251, 450, 451, 1000])
def test_tokens_in_parts_are_those_of_the_whole_to_the_bit(frames, folder):
    backend, samples = Whisper(str(folder), 2), speech(frames)
    parts = list(backend.token_parts(samples))
    assert np.array_equal(np.concatenate(parts), backend.tokens(samples)) and max(map(len, parts)) <= PART
    with pytest.raises(ValueError, match="multiple of 640"):
        next(backend.token_parts(samples[:-1]))


@pytest.mark.parametrize("shift", [10, 85])
def test_where_windows_begin_changes_tokens_by_the_stated_tolerance_at_most(shift):
    """A real voice through the real encoder; the speech begins later, so every window does. The cut's second is left
    out: there sound is missing.
    """
    if not REAL.is_file():
        pytest.skip("weights/whisper_tiny_en.safetensors is not here (s3dnerf.speech.whisper_weights makes it)")
    voice = SHARED / "corpora" / "HDTF" / "clips" / "RD_Radio14_000.mp4"
    if not voice.is_file():
        pytest.skip(f"{voice} is not here")
    samples, backend = read_audio(voice, 0.0, 40.0), Whisper(str(REAL), 3)
    whole, later = backend.tokens(samples), backend.tokens(samples[640 * shift :])
    apart = ((whole[2 * shift :] - later) / whole.std(axis=0))[50:]  # [t, dim], in standard deviations
    assert 0.05 < np.sqrt((apart**2).mean()) < TOLERANCE
    each = np.sqrt((apart[: 500 * (len(apart) // 500)].reshape(-1, 500, backend.dim) ** 2).mean(axis=(1, 2)))
    assert each.max() < TOLERANCE  # in every stretch as long as a window


@pytest.mark.parametrize("model", [None, "nobody/no-such-model", "weights/no-such-file.safetensors", "no/such/folder"])
def test_missing_weights_say_where_to_get_them(model):
    with pytest.raises(MissingWeights, match="speech.whisper_model") as refused:
        speech_backend(SpeechSettings(backend="whisper", whisper_model=model))
    for said in ("s3dnerf fetch whisper", "openai/whisper-tiny", "MIT", "speech.backend: logmel"):
        assert said in str(refused.value)


def test_half_a_folder_is_refused(folder, tmp_path):
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(MissingWeights, match=r"model.safetensors or pytorch_model.bin"):
        model_files(str(tmp_path))
    assert [path.name for path in model_files(str(folder))] == ["config.json", "model.safetensors"]


def test_a_layer_that_is_not_there_is_named(folder, tmp_path):
    with pytest.raises(WhisperWeightsError, match="speech.whisper_layer: 4: .* holds 3 of the encoder's 3 layers"):
        load_encoder(str(folder), 4)
    data = ctranslate2_bytes(ctranslate2_variables(small_model()))
    (tmp_path / "model.bin").write_bytes(data)
    convert(tmp_path / "model.bin", tmp_path / "w.safetensors", 1, hashlib.sha256(data).hexdigest())
    with pytest.raises(WhisperWeightsError, match=r"holds 1 of the encoder's 3 layers .*--layers"):
        load_encoder(str(tmp_path / "w.safetensors"), 2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "wav2vec2"}, "expected \\('whisper', 'gelu', False\\)"),
        ({"encoder_attention_heads": "2"}, "2 heads, 3 layers"),
        ({"encoder_attention_heads": 5}, "not a whole Whisper encoder"),
    ],
)
def test_a_folder_of_something_else_is_refused(changes, said, folder, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    config = json.loads((folder / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WhisperWeightsError, match=said):
        load_encoder(str(tmp_path), 2)


def test_a_file_without_one_of_its_weights_is_refused(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    kept = {k: v for k, v in load_file(folder / "model.safetensors").items() if "encoder.layers.0.fc2.bias" not in k}
    save_file(kept, tmp_path / "model.safetensors")
    with pytest.raises(WhisperWeightsError, match="not a whole Whisper encoder"):
        load_encoder(str(tmp_path), 2)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WhisperWeightsError, match="was not written by s3dnerf.speech.whisper_weights"):
        load_encoder(str(tmp_path / "other.safetensors"), 2)
