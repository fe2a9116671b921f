"""The order of a report's clips: of each corpus the worst and the best by M-LMD of ours, then the rest."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from s3dnerf.reporting.tables import CORPUS_TITLES, number

METRIC, EDGE = "m_lmd", 3


@dataclass(frozen=True)
class Place:
    """A clip's place in its corpus.

    Attributes
    ----------
    value : M-LMD of ours, px; None where it has none
    rank, of : 1 is the best of so many clips with a value; rank 0 where it has none
    edge : ``worst``, ``best`` or empty
    """

    clip: str
    corpus: str
    value: float | None
    rank: int
    of: int
    edge: str

    def in_words(self) -> str:
        """One sentence for a caption."""
        if self.value is None:
            return "No M-LMD of ours."
        first = {1: "the best", self.of: "the worst"}.get(self.rank, f"number {self.rank} from the best")
        return f"M-LMD of ours {number(self.value, METRIC)} px" + (f", {first} of {self.of}." if self.of > 1 else ".")


def places(rows: Iterable[dict[str, Any]], ours: str) -> list[Place]:
    """Every clip once: corpora in the rows' order; of each up to three worst (the worst first), up to three best (the
    best first), the rest from best to worst, those without a value last.

    With fewer than six clips the worst and the best are as many as do not overlap.

    Parameters
    ----------
    rows : of ``clips.parquet``; a missing value is nan
    """
    corpora: dict[str, dict[str, float]] = {}
    for row in rows:
        mine = corpora.setdefault(row["corpus"], {})
        mine.setdefault(row["clip"], math.nan)
        if (row["method"], row["metric"]) == (ours, METRIC):
            mine[row["clip"]] = row["value"]
    found = []
    for corpus, values in corpora.items():
        ranked = sorted((c for c, v in values.items() if math.isfinite(v)), key=lambda c: (values[c], c))
        edge, of = min(EDGE, len(ranked) // 2), len(ranked)
        worst, best = ranked[of - edge :][::-1], ranked[:edge]
        lost = sorted(c for c, v in values.items() if not math.isfinite(v))
        for clip in [*worst, *best, *ranked[edge : of - edge], *lost]:
            place = ranked.index(clip) + 1 if clip not in lost else 0
            word = "worst" if clip in worst else "best" if clip in best else ""
            found.append(Place(clip, corpus, values[clip] if place else None, place, of, word))
    return found


def pictured(rows: Iterable[dict[str, Any]], ours: str, having: Collection[str], most: int) -> list[Place]:
    """The clips that are shown in pictures, in the order of :func:`places`: of each corpus the worst, the best, the
    second worst and so on, ``most`` in all; those without a value last.

    Parameters
    ----------
    having : the clips of which there are pictures
    most : how many of a corpus are shown
    """
    found = [place for place in places(rows, ours) if place.clip in having]
    chosen = set()
    for corpus in dict.fromkeys(place.corpus for place in found):
        mine = [place for place in found if place.corpus == corpus]
        best = sorted((place for place in mine if place.rank), key=lambda place: place.rank)
        turns = [pair[i] for pair in zip(best[::-1], best) for i in (0, 1)]
        inward = [*dict.fromkeys(place.clip for place in turns), *(place.clip for place in mine if not place.rank)]
        chosen |= set(inward[:most])
    return [place for place in found if place.clip in chosen]


def edges_in_words(found: Sequence[Place]) -> list[str]:
    """For each corpus one line that names its worst and its best clips with their values."""
    lines = []
    for corpus in dict.fromkeys(p.corpus for p in found):
        parts = []
        for edge in ("worst", "best"):
            named = [
                f"{p.clip} {number(p.value, METRIC)}"
                for p in found
                if (p.corpus, p.edge) == (corpus, edge) and p.value is not None
            ]
            if named:
                parts.append(f"{edge} {', '.join(named)}")
        of = max(p.of for p in found if p.corpus == corpus)
        if parts:
            lines.append(f"{CORPUS_TITLES[corpus]}, M-LMD of ours in px over {of} clips: {'; '.join(parts)}.")
    return lines
