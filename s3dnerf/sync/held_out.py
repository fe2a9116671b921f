"""Held-out accuracy: how often a lip-sync network prefers a window's own sound to the same clip's sound from elsewhere.

A trial is right if cos(lips, own sound) > cos(lips, the same clip's sound 3–15 frames away). Speakers were never
trained on; both windows have speech in them; every offset −15 … −3, 3 … 15 has the same number of trials; guessing
gives 0.5. The interval is a bootstrap over speakers, since trials of one person are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

NEAREST, FARTHEST = 3, 15
OFFSETS = tuple(o for o in range(-FARTHEST, FARTHEST + 1) if abs(o) >= NEAREST)


@dataclass(frozen=True)
class EmbeddedClip:
    """Embeddings of every window of one clip: ``lips`` and ``audio`` (n, e), unit length; ``speech`` bool (n,)."""

    clip: str
    speaker: str
    lips: np.ndarray
    audio: np.ndarray
    speech: np.ndarray


@dataclass(frozen=True)
class HeldOutAccuracy:
    """Share of right trials with its 95 % interval by speaker (None with fewer than two speakers), and what it rests
    on.
    """

    accuracy: float
    low: float | None
    high: float | None
    trials: int
    speakers: int
    clips: int
    by_offset: dict[str, float]
    by_speaker: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain Python, for a card."""
        return asdict(self)


def possible_trials(clip: EmbeddedClip, offset: int) -> np.ndarray:
    """Frames f such that window f and window f + offset both lie in the clip and have speech."""
    n = len(clip.speech)
    f = np.arange(max(0, -offset), min(n, n - offset))
    return f[clip.speech[f] & clip.speech[f + offset]]


def held_out_accuracy(clips: Sequence[EmbeddedClip], trials: int, seed: int, resamples: int = 2000) -> HeldOutAccuracy:
    """Accuracy over ``trials`` trials (rounded up to a whole number an offset), drawn evenly over offsets and speakers.

    Raises ValueError when no clip has two speech windows 3 or more frames apart.
    """
    rng = np.random.default_rng([seed, 8191])
    speakers = sorted({c.speaker for c in clips})
    of = {s: [c for c in clips if c.speaker == s] for s in speakers}
    each = -(-trials // len(OFFSETS))
    right: dict[str, list[bool]] = {s: [] for s in speakers}
    by_offset: dict[str, float] = {}
    for offset in OFFSETS:
        pools = {s: [(c, found) for c in of[s] if len(found := possible_trials(c, offset))] for s in speakers}
        able = [s for s in speakers if pools[s]]
        if not able:
            continue
        order = rng.permutation(len(able))
        outcomes = []
        for i in range(each):
            speaker = able[order[i % len(able)]]
            clip, frames = pools[speaker][rng.integers(len(pools[speaker]))]
            f = int(frames[rng.integers(len(frames))])
            own, other = clip.lips[f] @ clip.audio[f], clip.lips[f] @ clip.audio[f + offset]
            outcomes.append(bool(own > other))
            right[speaker].append(outcomes[-1])
        by_offset[str(offset)] = float(np.mean(outcomes))
    if not by_offset:
        raise ValueError(
            f"held-out clips: {len(clips)} of {len(speakers)} speakers, none with two speech windows {NEAREST} "
            "frames apart"
        )
    used = [s for s in speakers if right[s]]
    low, high = speaker_interval([right[s] for s in used], rng, resamples)
    return HeldOutAccuracy(
        accuracy=float(np.mean(list(by_offset.values()))),
        low=low,
        high=high,
        trials=sum(map(len, right.values())),
        speakers=len(used),
        clips=len(clips),
        by_offset=by_offset,
        by_speaker={s: float(np.mean(right[s])) for s in used},
    )


def speaker_interval(
    right: Sequence[Sequence[bool]], rng: np.random.Generator, resamples: int
) -> tuple[float | None, float | None]:
    """95 % percentile interval of the pooled share, speakers resampled with replacement; (None, None) for fewer than
    two.
    """
    if len(right) < 2:
        return None, None
    sums, counts = np.array([sum(r) for r in right], float), np.array([len(r) for r in right], float)
    draws = rng.integers(len(right), size=(resamples, len(right)))
    shares = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return float(np.percentile(shares, 2.5)), float(np.percentile(shares, 97.5))
