"""Cepstra against python_speech_features, which SyncNet's protocol names."""

import numpy as np
import pytest

from s3dnerf.sync.mfcc import mfcc


@pytest.mark.parametrize("n", [100, 400, 401, 3200, 16000, 20123])
@pytest.mark.parametrize("kind", ["noise", "tone", "silence"])
def test_equals_python_speech_features(n, kind):
    from python_speech_features import mfcc as theirs

    rng = np.random.default_rng(n)
    samples = {
        "noise": rng.integers(-20000, 20000, n),
        "tone": 9000 * np.sin(np.arange(n) * 0.2),
        "silence": np.zeros(n),
    }[kind]
    samples = samples.astype(np.int16)
    ours, reference = mfcc(samples), theirs(samples, 16000)
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() < 1e-5


def test_float_sound_is_taken_to_int16():
    samples = np.random.default_rng(0).integers(-30000, 30000, 4000).astype(np.int16)
    assert np.array_equal(mfcc(samples.astype(np.float32) / 32768), mfcc(samples))


def test_one_hundred_columns_a_second():
    assert len(mfcc(np.ones(16000, np.int16))) == 99  # the hundredth frame of 25 ms would begin within the last 15 ms
    with pytest.raises(ValueError, match=r"\(n,\)"):
        mfcc(np.zeros(0, np.int16))
