"""Windows of a clip's sound: where they begin, and what is too short."""

import numpy as np
import pytest

from s3dnerf.sync.audio_windows import MEL, TOKENS, audio_windows


def test_windows_begin_with_their_frame():
    assert audio_windows("mel") is MEL and audio_windows("tokens") is TOKENS
    assert [MEL.start(f) for f in (0, 1, 5, 25)] == [0, 3, 16, 80]
    assert [TOKENS.start(f) for f in (0, 1, 5, 25)] == [0, 2, 10, 50]
    sound = np.arange(100)[:, None]
    assert MEL.of(sound, 5)[[0, -1], 0].tolist() == [16, 31]
    assert TOKENS.of(sound, 5)[[0, -1], 0].tolist() == [10, 19]  # the two tokens of each of five frames


def test_sound_that_is_too_short_is_named():
    TOKENS.check(np.zeros((20, 4)), 6)
    with pytest.raises(ValueError, match="tokens: expected at least 20 for 6 windows, got 19"):
        TOKENS.check(np.zeros((19, 4)), 6)
    with pytest.raises(ValueError, match="mel: expected at least 32 for 6 windows"):
        MEL.check(np.zeros((31, 80)), 6)
