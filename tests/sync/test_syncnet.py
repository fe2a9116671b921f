"""SyncNet v2: the official file's layer names and shapes, and the whole protocol against a literal implementation."""

import numpy as np
import pytest
import torch

from s3dnerf.speech.audio import wav_bytes, wav_samples
from s3dnerf.sync.judge import SyncNetJudge
from s3dnerf.sync.syncnet import (
    SyncNet,
    SyncNetWeightsError,
    load_syncnet,
    syncnet_cepstra,
    syncnet_embeddings,
    syncnet_frames,
    syncnet_windows,
)
from tests.margins import Between, Margin

# as listed from the authors' network: name of the layer, its weight's shape
OFFICIAL = {
    "netcnnaud.0": (64, 1, 3, 3),
    "netcnnaud.4": (192, 64, 3, 3),
    "netcnnaud.8": (384, 192, 3, 3),
    "netcnnaud.11": (256, 384, 3, 3),
    "netcnnaud.14": (256, 256, 3, 3),
    "netcnnaud.18": (512, 256, 5, 4),
    "netfcaud.0": (512, 512),
    "netfcaud.3": (1024, 512),
    "netfclip.0": (512, 512),
    "netfclip.3": (1024, 512),
    "netcnnlip.0": (96, 3, 5, 7, 7),
    "netcnnlip.4": (256, 96, 1, 5, 5),
    "netcnnlip.8": (256, 256, 1, 3, 3),
    "netcnnlip.11": (256, 256, 1, 3, 3),
    "netcnnlip.14": (256, 256, 1, 3, 3),
    "netcnnlip.18": (512, 256, 1, 6, 6),
}
NORMS = {"netcnnaud": (1, 5, 9, 12, 15, 19), "netcnnlip": (1, 5, 9, 12, 15, 19), "netfcaud": (1,), "netfclip": (1,)}


def official_state(counters: bool = True, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights in the official file's layout."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    widths = {}
    for name, shape in OFFICIAL.items():
        part, number = name.split(".")
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / np.prod(shape[1:])) ** 0.5
        state[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.1
        widths[part, int(number) + 1] = shape[0]
    for part, numbers in NORMS.items():
        for number in numbers:
            width = widths[part, number]
            name = f"{part}.{number}"
            state[f"{name}.weight"], state[f"{name}.bias"] = torch.ones(width), torch.zeros(width)
            state[f"{name}.running_mean"], state[f"{name}.running_var"] = torch.zeros(width), torch.ones(width)
            if counters:
                state[f"{name}.num_batches_tracked"] = torch.tensor(0)
    return state


def made_network(folder, seed=0):
    torch.save(official_state(seed=seed), folder / "syncnet_v2.model")
    return load_syncnet(folder / "syncnet_v2.model")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return made_network(tmp_path_factory.mktemp("syncnet"))


def test_names_and_shapes_are_the_official_ones():
    ours = {name: tuple(value.shape) for name, value in SyncNet().state_dict().items()}
    assert ours == {name: tuple(value.shape) for name, value in official_state().items()}


def test_a_file_from_before_the_batch_counters_loads(tmp_path):
    torch.save(official_state(counters=False), tmp_path / "old.model")
    assert not load_syncnet(tmp_path / "old.model").training


def test_a_file_in_torchs_older_format_loads(tmp_path):
    torch.save(official_state(), tmp_path / "old.model", _use_new_zipfile_serialization=False)
    loaded = load_syncnet(tmp_path / "old.model").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in official_state().items())


def test_a_file_of_another_layout_is_refused(tmp_path):
    state = official_state()
    state["netfcaud.3.weight"] = torch.zeros(256, 512)
    torch.save(state, tmp_path / "wrong.model")
    with pytest.raises(SyncNetWeightsError, match="(?s)not SyncNet v2's layers.*netfcaud.3"):
        load_syncnet(tmp_path / "wrong.model")


class Harmful:
    """A pickle that would run code."""

    def __reduce__(self):
        return (print, ("ran",))


def test_a_file_with_code_in_it_is_refused_unread(tmp_path, capsys):
    torch.save({"netfcaud.0.weight": Harmful()}, tmp_path / "bad.model")
    with pytest.raises(SyncNetWeightsError, match="more than tensors, a call of print: refused"):
        load_syncnet(tmp_path / "bad.model")
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("path", [None, "no/such/file.model"])
def test_a_missing_file_says_where_to_get_it(path):
    with pytest.raises(SyncNetWeightsError, match="evaluate.syncnet_weights.*joonson/syncnet_python"):
        load_syncnet(path)


def test_preprocessing_equals_the_protocol_written_out():
    from python_speech_features import mfcc

    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    ours = syncnet_frames(frames)
    for i in range(3):
        for channel, rgb in enumerate((2, 1, 0)):  # BGR, 0–255, not normalised
            assert np.array_equal(ours[i, channel].numpy(), frames[i, :, :, rgb].astype(np.float32))
    samples = rng.integers(-9000, 9000, 16000).astype(np.int16)
    literal = np.stack([np.array(row) for row in zip(*mfcc(samples, 16000))])
    assert np.abs(syncnet_cepstra(samples).numpy() - literal).max() < 1e-5


def test_cepstra_of_a_clips_wav_are_those_of_the_file(tmp_path):
    """The wav that ``resample`` keeps, heard by SyncNet, against python_speech_features over scipy's reading of the
    same bytes.
    """
    import io

    from python_speech_features import mfcc
    from scipy.io import wavfile

    rng = np.random.default_rng(5)
    loud = (rng.standard_normal(16000) * np.linspace(0.001, 0.6, 16000)).clip(-1, 1)  # quiet and loud, and clipped
    data = wav_bytes(loud.astype(np.float32))
    rate, heard = wavfile.read(io.BytesIO(data))
    assert rate == 16000 and heard.dtype == np.int16
    assert np.abs(syncnet_cepstra(wav_samples(data)).numpy() - mfcc(heard, rate).T).max() < 1e-5


def test_resizing_is_bilinear_like_opencv():
    import cv2

    frame = np.random.default_rng(1).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    theirs = cv2.resize(frame[0].astype(np.float32), (224, 224), interpolation=cv2.INTER_LINEAR)[..., ::-1]
    assert np.abs(syncnet_frames(frame)[0].permute(1, 2, 0).numpy() - theirs).max() < 0.02


@pytest.mark.parametrize("frames, samples, windows", [(100, 64000, 95), (100, 640 * 50 + 639, 45), (5, 64000, 0)])
def test_number_of_windows(frames, samples, windows):
    assert syncnet_windows(frames, samples) == windows


def test_whole_protocol_equals_a_literal_one(network):
    """Window by window through the network's layers one at a time; 8 frames, 3 windows."""
    from python_speech_features import mfcc

    rng = np.random.default_rng(2)
    frames = rng.integers(0, 256, (8, 256, 256, 3), dtype=np.uint8)
    samples = rng.integers(-9000, 9000, 8 * 640).astype(np.int16)
    result = SyncNetJudge(network).measure(frames, None, samples.astype(np.float32) / 32768)

    pictures, cepstra = syncnet_frames(frames).numpy(), np.asarray(mfcc(samples, 16000)).T
    lips, sound = [], []
    with torch.no_grad():
        for i in range(min(8, len(samples) // 640) - 5):
            x = torch.from_numpy(np.stack([pictures[i + t] for t in range(5)], axis=1))[None]  # 1 × 3 × 5 × 224 × 224
            for layer in network.netcnnlip:
                x = layer(x)
            lips.append(network.netfclip(x.reshape(1, -1))[0])
            y = torch.from_numpy(cepstra[:, 4 * i : 4 * i + 20].astype(np.float32))[None, None]
            for layer in network.netcnnaud:
                y = layer(y)
            sound.append(network.netfcaud(y.reshape(1, -1))[0])
    n = len(lips)
    curve = []
    for j in range(31):
        heard = [sound[i + j - 15] if 0 <= i + j - 15 < n else torch.zeros(1024) for i in range(n)]
        distances = [float(torch.nn.functional.pairwise_distance(a[None], b[None])) for a, b in zip(lips, heard)]
        curve.append(sum(distances) / n)
    assert n == 3 and np.allclose(result.curve, curve, rtol=1e-5, atol=1e-5)
    assert result.lse_d == pytest.approx(min(curve), rel=1e-5) and result.lse_c == pytest.approx(
        np.median(curve) - min(curve), abs=1e-4
    )
    assert result.offset_frames == 15 - int(np.argmin(curve)) and result.windows == 3


class Perfect(SyncNet):
    """A judge that knows: pictures are as bright as the sound is loud. Lips: the five brightnesses; sound: the loudness
    of five times four columns, from the first cepstrum (the logarithm of the energy)."""

    def __init__(self, usual):
        torch.nn.Module.__init__(self)  # none of SyncNet's layers
        self.usual = usual  # the log energy of level 0
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def visual(self, frames):
        return (frames.mean(dim=(1, 3, 4)) - 128) / 64  # [b, 5]

    def audio(self, cepstra):
        return (cepstra[:, 0, 0].reshape(-1, 5, 4).mean(dim=2) - self.usual) / 2


def levels_to_clip(levels, rng):
    """Frames as bright as ``levels`` (−1 … 1) and a noise whose log energy follows them."""
    frames = np.broadcast_to(
        (128 + 64 * levels).round().astype(np.uint8)[:, None, None, None], (len(levels), 256, 256, 3)
    )
    noise = rng.choice([-1.0, 1.0], 640 * len(levels))
    # energy is the amplitude's square: its logarithm moves by 2 · level
    return frames, noise * np.repeat(0.02 * np.exp(levels), 640)


@pytest.mark.parametrize("k", range(-10, 11))
def test_a_shift_is_recovered_through_the_whole_protocol(k):
    """Frames, sound, cepstra, windows and columns, with a network that cannot err: what is left to err is the protocol."""
    rng = np.random.default_rng(7)
    levels = rng.uniform(-1, 1, 70)
    frames, _ = levels_to_clip(levels[12:58], rng)
    _, sound = levels_to_clip(levels, rng)
    sound = sound[640 * (12 + k) : 640 * (58 + k)]  # what frame f shows is heard at f − k: early by k
    usual = float(syncnet_cepstra(levels_to_clip(np.zeros(9), rng)[1])[0].mean())
    result = SyncNetJudge(Perfect(usual)).measure(frames, None, sound.astype(np.float32))
    assert result.offset_frames == k and result.windows == 41 and result.lse_c > 0.3


def batch_against_batches(network):
    frames = np.random.default_rng(3).integers(0, 256, (7, 224, 224, 3), dtype=np.uint8)
    samples = np.random.default_rng(4).integers(-9000, 9000, 7 * 640).astype(np.int16)
    pairs = zip(syncnet_embeddings(network, frames, samples, batch=1), syncnet_embeddings(network, frames, samples))
    return {
        "farthest apart, of the largest": max(float((one - many).abs().max() / many.abs().max()) for one, many in pairs)
    }


BATCHES = Margin(
    "test_batches_change_nothing",
    lambda seed, folder: batch_against_batches(made_network(folder, seed)),
    {"farthest apart, of the largest": Between(high=1e-5)},
)


def test_batches_change_nothing(network):
    BATCHES.check(batch_against_batches(network))


def test_too_short_or_silent_input_is_refused(network):
    frames = np.zeros((5, 256, 256, 3), np.uint8)
    with pytest.raises(ValueError, match="at least 6 frames"):
        syncnet_embeddings(network, frames, np.zeros(640 * 5))
    with pytest.raises(ValueError, match="got none"):
        SyncNetJudge(network).measure(frames, None, audio=np.zeros((40, 80), np.float32))
    with pytest.raises(ValueError, match=r"uint8 \(n, 256, 256, 3\)"):
        SyncNetJudge(network).measure(frames[:, :100], None, np.zeros(640 * 9))
