"""Whose speech drives the control ``wrong_speech`` of each test clip: another speaker's, chosen by a hash.

Pure functions over ingest's records; nothing is read or written.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any


class _Pool:
    """Clips sorted by corpus and name, from which one that is not of a given speaker is picked."""

    def __init__(self, records: Iterable[dict[str, Any]]) -> None:
        listed = sorted((r["corpus"], r["clip"], r["speaker"]) for r in records)
        self.names = [(corpus, clip) for corpus, clip, _ in listed]
        # speaker → for each of its clips, how many clips of others come before it
        self.before: dict[str, list[int]] = {}
        for place, (_, _, speaker) in enumerate(listed):
            mine = self.before.setdefault(speaker, [])
            mine.append(place - len(mine))

    def pick(self, speaker: str, number: int) -> tuple[str, str] | None:
        """The clip at ``number`` (modulo their count) among those of other speakers; None where there are none."""
        mine = self.before.get(speaker, [])
        others = len(self.names) - len(mine)
        if not others:
            return None
        place = number % others
        return self.names[place + bisect_right(mine, place)]


class OtherSpeech:
    """The choice of another speaker's clip, the same whatever the order of the lists.

    Parameters
    ----------
    records : the test clips
    others : clips beyond the test set, used where it has no second speaker
    """

    def __init__(self, records: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
        self.pools: list[dict[str, _Pool]] = []  # corpus → clips, tried in this order; "" for every corpus
        for listed in (records, others):
            by_corpus: dict[str, list[dict[str, Any]]] = {}
            for record in listed:
                by_corpus.setdefault(record["corpus"], []).append(record)
            self.pools += [{corpus: _Pool(mine) for corpus, mine in by_corpus.items()}, {"": _Pool(listed)}]

    def of(self, record: dict[str, Any]) -> tuple[str, str] | None:
        """(corpus, clip) of another speaker's speech, of the same corpus where there is one; None when nobody else
        speaks.

        The choice is by a hash of the clip's name.
        """
        number = int.from_bytes(hashlib.sha256(record["clip"].encode()).digest()[:8], "big")
        for pools in self.pools:
            pool = pools.get(record["corpus"]) or pools.get("")
            found = pool.pick(record["speaker"], number) if pool else None
            if found is not None:
                return found
        return None
