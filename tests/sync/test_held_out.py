"""Held-out accuracy: 1 for a network that hears, 0.5 for one that guesses, balanced, with an interval by speaker."""

import numpy as np
import pytest

from s3dnerf.sync.held_out import OFFSETS, EmbeddedClip, held_out_accuracy, possible_trials, speaker_interval


def clip(name, speaker, n=60, seed=0, noise=0.0, speech=None, shift=0):
    rng = np.random.default_rng([seed, len(name)])
    audio = rng.standard_normal((n, 16))
    lips = np.roll(audio, shift, axis=0) + noise * rng.standard_normal((n, 16))
    unit = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (lips, audio)]
    return EmbeddedClip(name, speaker, *unit, np.ones(n, bool) if speech is None else speech)


def test_a_network_that_hears_is_always_right():
    result = held_out_accuracy([clip("a", "x"), clip("b", "y", seed=1)], 260, 0)
    assert result.accuracy == 1 and (result.low, result.high) == (1, 1)
    assert result.trials == 260 and result.speakers == 2 and set(result.by_offset) == {str(o) for o in OFFSETS}


def test_a_network_that_guesses_is_right_half_the_time():
    clips = [clip(f"c{i}", f"s{i}", n=120, seed=i, noise=1e6) for i in range(6)]
    result = held_out_accuracy(clips, 5200, 0)
    assert abs(result.accuracy - 0.5) < 0.03 and result.low <= result.accuracy <= result.high


def test_a_network_that_hears_three_frames_late_is_wrong_there():
    result = held_out_accuracy([clip("a", "x", n=200, shift=-3), clip("b", "y", n=200, shift=-3, seed=1)], 2600, 0)
    assert result.by_offset["3"] == 0 and 0.3 < result.by_offset["-3"] < 0.7


def test_the_same_trials_every_time_and_others_with_another_seed():
    clips = [clip(f"c{i}", f"s{i}", seed=i, noise=1.5) for i in range(3)]
    assert held_out_accuracy(clips, 300, 4) == held_out_accuracy(clips, 300, 4)
    assert held_out_accuracy(clips, 300, 4).by_offset != held_out_accuracy(clips, 300, 5).by_offset


def test_only_windows_with_speech_take_part():
    speech = np.zeros(60, bool)
    speech[10:30] = True
    one = clip("a", "x", speech=speech)
    for offset in OFFSETS:
        frames = possible_trials(one, offset)
        assert speech[frames].all() and speech[frames + offset].all()
    broken = np.array(one.lips)
    broken[~speech] = 0  # a network that knows nothing of the pauses loses nothing
    assert held_out_accuracy([EmbeddedClip("a", "x", broken, one.audio, speech)], 260, 0).accuracy == 1


def test_speakers_and_offsets_weigh_alike_whatever_their_clips():
    good = [clip(f"g{i}", "good", n=200, seed=i) for i in range(9)]
    bad = clip("bad", "bad", n=60, seed=50, noise=1e6)
    result = held_out_accuracy([*good, bad], 2600, 0)
    assert abs(result.accuracy - 0.75) < 0.04
    assert result.low < 0.6 and result.high == 1  # two people: the interval says how little that is


def test_one_speaker_has_no_interval_and_none_no_trial():
    assert held_out_accuracy([clip("a", "x")], 30, 0).low is None
    with pytest.raises(ValueError, match="none with two speech windows"):
        held_out_accuracy([clip("a", "x", n=3)], 30, 0)
    assert speaker_interval([[True]], np.random.default_rng(0), 10) == (None, None)


def test_interval_covers_like_a_bootstrap_by_hand():
    right = [[True] * 9 + [False], [True] * 5 + [False] * 5, [True] * 7 + [False] * 3]
    low, high = speaker_interval(right, np.random.default_rng(0), 20000)
    # of the 27 draws, one is all the worst speaker and one all the best: 3.7 % each, more than the 2.5 % cut off
    assert (low, high) == (pytest.approx(0.5), pytest.approx(0.9))
    five = speaker_interval(
        [*right, [True] * 6 + [False] * 4, [True] * 8 + [False] * 2], np.random.default_rng(0), 20000
    )
    assert 0.5 < five[0] < 0.7 < five[1] < 0.9
