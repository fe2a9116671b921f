"""Phonemes to mouth shapes: a viseme table, and a smooth articulation curve with coarticulation.

Each phoneme pulls the mouth towards its viseme with a bell-shaped dominance over time (Cohen and Massaro's model of
coarticulation); the curve is the dominance-weighted mean. Closures are not left to the mean: on p, b and m the lips
meet, on f and v the lower lip meets the upper teeth, whatever stands beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CHANNELS = ("jaw", "spread", "upper", "lower", "protrude", "tongue", "closure", "labiodental")
"""Articulators: jaw 0–1 · spread −1 (round) – 1 (wide) · upper and lower lip opening 0–1 · protrude 0–1 · tongue 0
(low)
– 1 (behind the upper teeth) · closure 0–1 (1: lips meet) · labiodental 0–1 (1: lower lip at the upper teeth)."""


@dataclass(frozen=True)
class Viseme:
    """Target of the articulators, and how strongly the phoneme insists on it."""

    jaw: float
    spread: float
    upper: float = 0.2
    lower: float = 0.2
    protrude: float = 0.0
    tongue: float = 0.1
    closure: float = 0.0
    labiodental: float = 0.0
    strength: float = 1.0


VISEMES = {
    "rest": Viseme(0.02, 0.0, 0.0, 0.0, closure=0.0, strength=0.6),
    "aa": Viseme(0.95, 0.05, 0.35, 0.45),
    "ae": Viseme(0.80, 0.45, 0.45, 0.45),
    "ah": Viseme(0.60, 0.05, 0.3, 0.35, strength=0.9),
    "schwa": Viseme(0.34, 0.05, 0.2, 0.25, strength=0.5),
    "ao": Viseme(0.75, -0.55, 0.3, 0.35, 0.5),
    "eh": Viseme(0.55, 0.45, 0.35, 0.4),
    "ih": Viseme(0.30, 0.5, 0.3, 0.35, tongue=0.3, strength=0.8),
    "iy": Viseme(0.20, 0.9, 0.3, 0.4, tongue=0.4),
    "uh": Viseme(0.30, -0.6, 0.2, 0.25, 0.5),
    "uw": Viseme(0.18, -1.0, 0.15, 0.2, 0.9, strength=1.3),
    "er": Viseme(0.30, -0.4, 0.3, 0.3, 0.4, 0.4),
    "w": Viseme(0.12, -1.0, 0.05, 0.1, 1.0, strength=1.4),
    "r": Viseme(0.20, -0.5, 0.25, 0.25, 0.5, 0.5),
    "y": Viseme(0.16, 0.6, 0.25, 0.3, tongue=0.5, strength=0.7),
    "l": Viseme(0.32, 0.15, 0.25, 0.3, tongue=0.95, strength=0.8),
    "t": Viseme(0.15, 0.2, 0.2, 0.3, tongue=1.0, strength=0.8),
    "s": Viseme(0.06, 0.45, 0.3, 0.45, tongue=0.8, strength=1.1),
    "sh": Viseme(0.08, -0.6, 0.35, 0.45, 0.9, 0.7, strength=1.2),
    "th": Viseme(0.22, 0.15, 0.2, 0.3, tongue=1.0, strength=0.9),
    "k": Viseme(0.30, 0.1, 0.2, 0.25, tongue=0.3, strength=0.4),
    "h": Viseme(0.40, 0.05, 0.2, 0.25, strength=0.25),
    "f": Viseme(0.10, 0.1, 0.25, 0.0, tongue=0.1, labiodental=1.0, strength=1.3),
    "p": Viseme(0.06, 0.0, 0.0, 0.0, closure=1.0, strength=1.3),
}

# fmt: off
_PHONEMES: dict[str, str | tuple[str, str]] = {
    # longest prefix wins; a pair of visemes is a diphthong
    "a": "ae", "aa": "ae", "a#": "schwa", "A": "aa", "A:": "aa", "A@": "aa", "0": "aa", "02": "aa", "0#": "aa",
    "aI": ("aa", "ih"), "aU": ("aa", "uh"), "aI@": ("aa", "er"), "aU@": ("aa", "er"), "V": "ah", "@": "schwa", "3":
    "er", "3:": "er",
    "E": "eh", "e": "eh", "eI": ("eh", "ih"), "e@": "eh", "e:": "eh", "I": "ih", "I2": "ih", "I#": "ih", "i": "iy",
    "i:": "iy",
    "i@": ("iy", "er"), "O": "ao", "O2": "ao", "O:": "ao", "O@": "ao", "o@": "ao", "o:": "ao", "o": "ao", "oU": ("ao",
    "uw"),
    "@U": ("schwa", "uw"), "OI": ("ao", "ih"), "U": "uh", "U@": "uh", "u": "uw", "u:": "uw", "W": "uw", "Y": "uw",
    "p": "p", "b": "p", "m": "p", "f": "f", "v": "f", "w": "w", "r": "r", "*": "t", "j": "y", "l": "l", "t": "t",
    "d": "t",
    "n": "t",
    "s": "s", "z": "s", "S": "sh", "Z": "sh", "tS": "sh", "dZ": "sh", "T": "th", "D": "th", "k": "k", "g": "k", "N":
    "k", "x": "k",
    "h": "h", "?": "k", "_": "rest", ";": "y", "|": "rest",
}
# fmt: on


def visemes_of(phoneme: str) -> tuple[str, ...]:
    """Viseme names (two for a diphthong) of an espeak-ng phoneme mnemonic; stress marks are ignored.

    Raises ValueError for a phoneme that the table does not know.

    >>> visemes_of("'eI"), visemes_of("b"), visemes_of("u:")
    (('eh', 'ih'), ('p',), ('uw',))
    """
    bare = phoneme.lstrip("',%=")
    for length in range(len(bare), 0, -1):
        found = _PHONEMES.get(bare[:length])
        if found is not None:
            return (found,) if isinstance(found, str) else found
    if not bare:
        return ("rest",)
    raise ValueError(f"phoneme {phoneme!r}: not in the viseme table; add it to _PHONEMES")


@dataclass(frozen=True)
class Segment:
    """One viseme on the time line: ``start_s`` to ``end_s``."""

    viseme: str
    phoneme: str
    start_s: float
    end_s: float


STOP_CLOSURE_S = 0.045
"""espeak-ng reports p, t and k at the burst; the lips have been closed for about this long before."""


def segments_of(phonemes: list[tuple[str, float, float]]) -> list[Segment]:
    """Visemes in time from (phoneme, start_s, end_s); diphthongs split at 55 %, voiceless stops start at their
    closure.
    """
    segments: list[Segment] = []
    for phoneme, start, end in phonemes:
        names = visemes_of(phoneme)
        bare = phoneme.lstrip("',%=")
        if bare[:1] in ("p", "t", "k") and not bare.startswith("tS") and segments:
            start = max(start - STOP_CLOSURE_S, segments[-1].start_s + 0.02)
            last = segments[-1]
            segments[-1] = Segment(last.viseme, last.phoneme, last.start_s, max(start, last.start_s + 0.01))
        if len(names) == 1:
            segments.append(Segment(names[0], phoneme, start, end))
        else:
            middle = start + 0.55 * (end - start)
            segments += [Segment(names[0], phoneme, start, middle), Segment(names[1], phoneme, middle, end)]
    return segments


def _plateau(times: np.ndarray, start: float, end: float, ramp: float) -> np.ndarray:
    """1 between start and end, a cosine ramp of ``ramp`` seconds on either side."""
    away = np.maximum(np.maximum(start - times, times - end), 0.0) / ramp
    return 0.5 + 0.5 * np.cos(np.pi * np.clip(away, 0.0, 1.0))


def articulation(segments: list[Segment], times_s: np.ndarray) -> np.ndarray:
    """Articulator curves, (len(times_s), len(CHANNELS)), at any times in seconds."""
    times = np.asarray(times_s, np.float64)
    begin = segments[0].start_s if segments else float(times[-1]) + 1.0
    segments = [Segment("rest", "_", min(0.0, begin) - 0.3, begin), *segments]  # nobody speaks before the first sound
    targets = np.array([[getattr(VISEMES[s.viseme], c) for c in CHANNELS] for s in segments])  # [S, C]
    strength = np.array([VISEMES[s.viseme].strength for s in segments])
    start = np.array([s.start_s for s in segments])
    end = np.array([s.end_s for s in segments])
    centre, width = 0.5 * (start + end), 0.42 * (end - start) + 0.022
    long_rest = np.array([s.viseme == "rest" for s in segments]) & (end - start > 0.12)
    strength = np.where(long_rest, 1.2, strength)
    dominance = strength * np.exp(-0.5 * ((times[:, None] - centre) / width) ** 2) + 1e-9  # [T, S]
    curves = dominance @ targets / dominance.sum(1, keepdims=True)
    for channel, name in ((CHANNELS.index("closure"), "p"), (CHANNELS.index("labiodental"), "f")):
        hold = np.zeros(len(times))
        for s in segments:
            if s.viseme == name:
                pad = max(0.0, 0.050 - (s.end_s - s.start_s)) / 2
                hold = np.maximum(hold, _plateau(times, s.start_s - pad, s.end_s + pad - 0.008, 0.055))
        curves[:, channel] = hold
    return curves
