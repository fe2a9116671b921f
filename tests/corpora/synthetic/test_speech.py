"""Synthesised speech: repeatable whatever was said before, timed, and every phoneme known to the viseme table."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.corpora.synthetic.sentences import SENTENCES
from s3dnerf.corpora.synthetic.speech import ACCENTS, Voice, cut, join, loudness, room, synthesise
from s3dnerf.corpora.synthetic.visemes import segments_of, visemes_of

TEXT = "Bob may put the blue map on the table."


def test_same_request_gives_same_samples_and_another_voice_does_not() -> None:
    first = synthesise([TEXT], Voice("en-us+f3"))[0]
    again = synthesise([TEXT], Voice("en-us+f3"))[0]
    other = synthesise([TEXT], Voice("en-us+m2"))[0]
    assert np.array_equal(first.samples, again.samples)
    assert len(other.samples) != len(first.samples) or not np.array_equal(other.samples, first.samples)


def test_words_and_phonemes_are_in_order_and_inside_the_sound() -> None:
    speech = synthesise([TEXT], Voice("en-us+m3"))[0]
    assert [word for word, _, _ in speech.words] == TEXT.strip(".").split()
    for track in (speech.phonemes, speech.words):
        times = np.array([(a, b) for _, a, b in track])
        assert (times[:, 1] >= times[:, 0]).all() and (np.diff(times[:, 0]) >= 0).all()
        assert 0 <= times[0, 0] and times[-1, 1] <= speech.duration_s + 1e-9
    # the sound of "blue" is where its word is, and the silence before the first word is silent
    start = speech.words[4][1]
    voiced = speech.samples[int(start * speech.rate_hz) : int((start + 0.2) * speech.rate_hz)]
    assert voiced.std() > 0.02 and 1.5 < speech.duration_s < 4


@pytest.mark.parametrize("accent", sorted(set(ACCENTS)))
def test_every_phoneme_of_every_sentence_is_in_the_viseme_table(accent: str) -> None:
    for speech in synthesise(list(SENTENCES), Voice(f"{accent}+m1")):
        assert len(segments_of(speech.phonemes)) >= 10
        assert any(visemes_of(p) == ("p",) for p, _, _ in speech.phonemes)


def test_unknown_phoneme_and_unknown_voice_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="Q9"):
        visemes_of("Q9")
    with pytest.raises(RuntimeError, match="no voice 'xx-none'"):
        synthesise([TEXT], Voice("xx-none"))
    with pytest.raises(ValueError, match="no speech"):
        join([], 0.1)


def test_join_and_cut_keep_one_clock() -> None:
    parts = synthesise(["Apple pie.", "My blue map."], Voice("en-us+f2"))
    whole = join(parts, gap_s=0.2, lead_s=0.5)
    assert whole.words[0][1] == pytest.approx(0.5 + parts[0].words[0][1], abs=1e-4)
    assert whole.words[2][1] == pytest.approx(0.5 + parts[0].duration_s + 0.2 + parts[1].words[0][1], abs=1e-4)
    short = cut(whole, 1.0)
    assert len(short.samples) == short.rate_hz and all(start < 1.0 and end <= 1.0 for _, start, end in short.words)
    long = cut(whole, whole.duration_s + 1)
    assert not long.samples[-short.rate_hz :].any()


def test_room_adds_noise_below_the_voice_and_loudness_follows_the_voice() -> None:
    speech = cut(join(synthesise([TEXT], Voice("en-us+f2")), 0.0), 4.0)
    heard = room(speech, 0.5, -55, 3)
    pause = heard.samples[-8000:-2000]
    assert 0 < pause.std() < 0.01 < heard.samples[:44100].std()
    level = loudness(heard, np.array([speech.words[1][1] + 0.1, 3.9]))
    assert level[0] > 0.3 > 0.1 > level[1] and np.abs(heard.samples).max() <= 1
