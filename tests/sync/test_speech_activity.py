"""Windows with speech in them."""

import numpy as np
import pytest

from s3dnerf.speech.mel import clip_mel
from s3dnerf.sync.speech_activity import column_level_db, speech_columns, windows_with_speech


def test_pauses_are_told_from_speech():
    rng = np.random.default_rng(0)
    samples = 0.0005 * rng.standard_normal(640 * 50)
    samples[640 * 20 : 640 * 40] += 0.3 * np.sin(np.arange(640 * 20) * 0.1)
    windows = windows_with_speech(clip_mel(samples.astype(np.float32)), 46)
    assert windows[20:36].all() and not windows[:17].any() and not windows[39:].any()


@pytest.mark.parametrize("level", [0.0, 1e-6])
def test_silence_has_none(level):
    mel = clip_mel((level * np.random.default_rng(0).standard_normal(640 * 20)).astype(np.float32))
    assert not speech_columns(mel).any() and not windows_with_speech(mel, 16).any()


def test_level_follows_the_sound():
    tone = np.sin(np.arange(640 * 20) * 0.3)
    loud, quiet = (column_level_db(clip_mel((a * tone).astype(np.float32)))[10:50].mean() for a in (0.5, 0.05))
    assert loud - quiet == pytest.approx(20, abs=0.1)


def test_too_few_columns_are_refused():
    with pytest.raises(ValueError, match="expected at least"):
        windows_with_speech(np.zeros((20, 80), np.float32), 10)
