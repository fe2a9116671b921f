"""Speech backends: two tokens a frame, in step with the sound; wav2vec2 from local files in its own format."""

import numpy as np
import pytest
import torch

from s3dnerf.settings.schema import SpeechSettings
from s3dnerf.speech.features import KEPT, TokenStream, speech_backend, token_parts, tokens_of_long
from s3dnerf.speech.wav2vec2 import SpeechModelError, model_files
from tests.margins import Between, Margin


def write_model(path, seed=0):
    """A small wav2vec2 with random weights, saved as the hub's files are: a CTC checkpoint with its feature extractor."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    torch.manual_seed(seed)
    config = Wav2Vec2Config(
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        vocab_size=32,
    )
    Wav2Vec2ForCTC(config).save_pretrained(path)
    Wav2Vec2FeatureExtractor(sampling_rate=16000, do_normalize=True).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("wav2vec2"))


def click(frames: int, token: int) -> np.ndarray:
    """Silence with a burst in the middle of one token's 20 ms."""
    samples = np.zeros(640 * frames, dtype=np.float32)
    samples[320 * token + 120 : 320 * token + 200] = np.sin(np.arange(80))
    return samples


@pytest.mark.parametrize("frames", [1, 7, 25])
def test_logmel_gives_two_tokens_a_frame(frames):
    backend = speech_backend(SpeechSettings(backend="logmel", model=None))
    tokens = backend.tokens(np.random.default_rng(0).uniform(-1, 1, 640 * frames))
    assert tokens.shape == (2 * frames, backend.dim) and tokens.dtype == np.float32
    assert -1 <= tokens.min() and tokens.max() <= 1 and not backend.real
    assert np.abs(tokens.astype(np.float16) - tokens).max() < 5e-4  # packs hold them as float16


@pytest.mark.parametrize("token", [0, 3, 10, 19])
def test_logmel_token_stands_for_its_own_20_ms(token):
    tokens = speech_backend(SpeechSettings(backend="logmel", model=None)).tokens(click(10, token))
    assert int(tokens.mean(axis=1).argmax()) == token


def test_logmel_reads_level_in_decibels():
    backend = speech_backend(SpeechSettings(backend="logmel", model=None))
    tone = np.sin(2 * np.pi * 1000 * np.arange(6400) / 16000)
    loud, quiet = backend.tokens(tone)[5:15], backend.tokens(tone * 0.1)[5:15]
    peak = loud.mean(axis=0).argmax()
    assert np.allclose(loud[:, peak] - quiet[:, peak], 2 * 20 / 100, atol=1e-3)


@pytest.mark.parametrize("frames", [1, 6, 25])
def test_wav2vec2_gives_exactly_two_tokens_a_frame(folder, frames):
    backend = speech_backend(SpeechSettings(backend="wav2vec2", model=str(folder)))
    tokens = backend.tokens(np.random.default_rng(1).uniform(-1, 1, 640 * frames).astype(np.float32))
    assert tokens.shape == (2 * frames, 24) and backend.real and backend.dim == 24 and backend.name == "wav2vec2"


def against_transformers(folder):
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

    samples = np.random.default_rng(2).uniform(-0.3, 0.4, 640 * 5).astype(np.float32)
    ours = speech_backend(SpeechSettings(backend="wav2vec2", model=str(folder))).tokens(samples)
    values = Wav2Vec2FeatureExtractor.from_pretrained(folder)(
        samples, sampling_rate=16000, return_tensors="np"
    ).input_values[0]
    with torch.inference_mode():
        theirs = (
            Wav2Vec2Model.from_pretrained(folder)
            .eval()(torch.from_numpy(np.pad(values, 40))[None])
            .last_hidden_state[0]
            .numpy()
        )
    assert theirs.shape == ours.shape
    return {"farthest apart": float(np.abs(ours - theirs).max())}


TRANSFORMERS = Margin(
    "test_wav2vec2_equals_transformers_on_normalised_padded_sound",
    lambda seed, folder: against_transformers(write_model(folder, seed)),
    {"farthest apart": Between(high=1e-5)},
)


def test_wav2vec2_equals_transformers_on_normalised_padded_sound(folder):
    TRANSFORMERS.check(against_transformers(folder))


def batch_against_one_by_one(folder):
    backend = speech_backend(SpeechSettings(backend="wav2vec2", model=str(folder)))
    clips = [np.random.default_rng(i).uniform(-1, 1, 640 * 4).astype(np.float32) for i in range(3)]
    pairs = zip(map(backend.tokens, clips), backend.tokens_of_many(clips))
    return {"farthest apart": max(float(np.abs(alone - together).max()) for alone, together in pairs)}


ONE_BY_ONE = Margin(
    "test_wav2vec2_batch_equals_one_by_one",
    lambda seed, folder: batch_against_one_by_one(write_model(folder, seed)),
    {"farthest apart": Between(high=1e-5)},
)


def test_wav2vec2_batch_equals_one_by_one(folder):
    ONE_BY_ONE.check(batch_against_one_by_one(folder))
    backend = speech_backend(SpeechSettings(backend="wav2vec2", model=str(folder)))
    clips = [np.zeros(640 * 4, np.float32)]
    with pytest.raises(ValueError, match="equal lengths"):
        backend.tokens_of_many([clips[0], clips[0][:640]])


@pytest.mark.parametrize("model", ["nobody/no-such-model", "no/such/folder/at/all", None])
def test_missing_model_names_the_setting_and_how_to_get_it(model):
    with pytest.raises(SpeechModelError, match="speech.model") as refused:
        speech_backend(SpeechSettings(backend="wav2vec2", model=model))
    assert "hf download" in str(refused.value) and "speech.backend: logmel" in str(refused.value)


def test_half_a_model_is_refused(folder, tmp_path):
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(
        SpeechModelError, match=r"lacks preprocessor_config.json, model.safetensors or pytorch_model.bin"
    ):
        model_files(str(tmp_path))
    assert [p.name for p in model_files(str(folder))] == [
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
    ]


def test_a_model_without_its_weights_is_refused(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if "layers.0.attention.q_proj" not in k}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SpeechModelError, match="lacks 2 of the network's weights"):
        speech_backend(SpeechSettings(backend="wav2vec2", model=str(tmp_path)))


@pytest.mark.parametrize("frames", [40, 300, 333, 507])
def test_long_speech_in_parts_is_the_whole(frames, folder):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 640 * frames) * np.repeat(
        np.random.default_rng(1).uniform(0, 1, frames), 640
    )
    backend = speech_backend(SpeechSettings(backend="logmel", model=None))
    assert np.array_equal(tokens_of_long(backend, samples, part_s=4.0), backend.tokens(samples))
    network = speech_backend(SpeechSettings(backend="wav2vec2", model=str(folder)))
    heard: list[int] = []
    inner, network.tokens = network.tokens, lambda part: (heard.append(len(part)), inner(part))[1]
    assert tokens_of_long(network, samples, part_s=4.0).shape == (2 * frames, network.dim)
    assert max(heard) <= 6.0 * 16000 and (len(heard) > 1) == (frames > 150)


def test_a_stream_of_tokens_reads_as_their_array_and_makes_no_more_than_is_asked_for():
    samples = np.random.default_rng(0).normal(0, 0.1, 640 * 2600).astype(np.float32)  # 104 s
    backend = speech_backend(SpeechSettings(backend="logmel", model=None))
    whole = tokens_of_long(backend, samples)
    heard: list[int] = []

    class Counted:
        name, real, dim = backend.name, backend.real, backend.dim

        def tokens(self, part):
            heard.append(len(part) // 640)
            return backend.tokens(part)

    stream = TokenStream(Counted(), samples)
    assert stream.shape == whole.shape and len(stream) == len(whole) and not heard
    assert np.array_equal(stream[0:30], whole[0:30]) and len(heard) == 1
    for first in range(0, len(whole), 170):
        assert np.array_equal(stream[max(0, first - 40) : first + 170], whole[max(0, first - 40) : first + 170])
        assert len(stream._kept) <= KEPT + 1000 + 210  # what it holds does not grow
    assert sum(heard) < 2600 + 2 * 25 * len(heard) + 1 and stream[5200:9999].shape == (0, backend.dim)
    assert np.array_equal(stream[3500:3600], whole[3500:3600]) and len(heard) == 11  # a little back: it is kept
    assert np.array_equal(stream[10:20], whole[10:20]) and len(heard) == 12  # far back: made anew
    assert np.array_equal(stream[:], whole)
    with pytest.raises(ValueError, match="expected steps of 1"):
        stream[0:10:2]
    assert [len(part) for part in token_parts(backend, samples[: 640 * 30])] == [60]
