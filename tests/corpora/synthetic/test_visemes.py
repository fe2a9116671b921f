"""Articulation: lips meet on p, b and m, whatever stands beside; vowels open; the curve is smooth."""

from __future__ import annotations

import numpy as np

from s3dnerf.corpora.synthetic.visemes import CHANNELS, articulation, segments_of

PHONEMES = [
    ("'A:", 0.10, 0.25),
    ("b", 0.25, 0.31),
    ("'A:", 0.31, 0.50),
    ("f", 0.50, 0.58),
    ("aI", 0.58, 0.80),
    ("p", 0.80, 0.83),
    ("'a", 0.83, 1.0),
]


def at(curves: np.ndarray, name: str) -> np.ndarray:
    return curves[:, CHANNELS.index(name)]


def test_diphthongs_split_and_voiceless_stops_begin_at_their_closure() -> None:
    segments = segments_of(PHONEMES)
    assert [s.viseme for s in segments] == ["aa", "p", "aa", "f", "aa", "ih", "p", "ae"]
    p = segments[6]
    assert p.start_s < 0.80 - 0.03 and p.end_s == 0.83
    assert segments[5].end_s == p.start_s  # no overlap


def test_closures_hold_and_vowels_open() -> None:
    segments = segments_of(PHONEMES)
    times = np.array([0.18, 0.28, 0.40, 0.54, 0.79, 0.92])
    curves = articulation(segments, times)
    closure = at(curves, "closure")
    assert closure[1] == 1 and closure[4] == 1 and closure[0] < 0.3 and closure[2] == 0 and closure[5] == 0
    assert at(curves, "labiodental")[3] == 1
    jaw = at(curves, "jaw")
    assert jaw[0] > 0.6 and jaw[2] > 0.6 and jaw[1] < jaw[0]


def test_a_frame_every_40_ms_always_sees_a_closure() -> None:
    segments = segments_of(PHONEMES)
    for phase in np.linspace(0, 0.04, 9, endpoint=False):
        times = phase + np.arange(0, 1.2, 0.04)
        closed = times[at(articulation(segments, times), "closure") > 0.95]
        assert ((closed > 0.22) & (closed < 0.34)).any() and ((closed > 0.72) & (closed < 0.86)).any()


def test_curves_are_smooth_bounded_and_at_rest_in_silence() -> None:
    times = np.arange(-0.2, 2.5, 0.005)
    curves = articulation([*segments_of(PHONEMES), *segments_of([("_", 1.0, 2.5)])], times)
    assert np.abs(np.diff(curves, axis=0)).max() < 0.16 and curves.min() >= -1 and curves.max() <= 1
    assert at(curves, "jaw")[times > 1.5].max() < 0.05 and at(curves, "jaw")[0] < 0.05
    silent = articulation([], np.array([0.0, 1.0]))
    assert at(silent, "jaw").max() < 0.05
