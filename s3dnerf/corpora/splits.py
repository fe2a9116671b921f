"""Who is who, and who may be trained on: the split is by person, in every corpus at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from s3dnerf.corpora.records import CorpusError, hash_unit

MANY_PEOPLE = 200


def canonical_names(same_person: Iterable[Iterable[str]]) -> Callable[[str], str]:
    """``name -> name of the person``: the first name of the list (``ingest.same_person``) that holds it, or itself.

    Raises CorpusError when a name stands in two lists, or a list names fewer than two.
    """
    first: dict[str, str] = {}
    for names in same_person:
        names = list(names)
        if len(set(names)) < 2:
            raise CorpusError(f"ingest.same_person: {names} — accepted: lists of two names or more")
        for name in names:
            if name in first:
                raise CorpusError(
                    f"ingest.same_person: {name} stands in two lists — put all names of a person into one"
                )
            first[name] = names[0]
    return lambda name: first.get(name, name)


def hdtf_speaker(video: str) -> str:
    """The person of an HDTF video: its name without the number of the recording (``AdamKinzinger1`` →
    ``AdamKinzinger``).

    ``Radio<N>`` are as many different people as numbers, and keep theirs.
    """
    return video if re.fullmatch(r"Radio\d+", video) else re.sub(r"\d+$", "", video) or video


def held_out(people: Iterable[str], fraction: float, salt: str) -> set[str]:
    """About ``fraction`` of the people, drawn by a hash of the name: the same on every machine and in every order.

    From :data:`MANY_PEOPLE` on, each person is drawn alone, so that one more never moves another. Fewer people are
    ranked by their hash and the first share of them taken, at least one on either side when the fraction is neither 0
    nor 1: a share of eight people drawn one by one may be none or five. One more person then moves at most one other.
    """
    ranked = sorted(set(people), key=lambda name: (hash_unit(salt, name), name))
    if len(ranked) >= MANY_PEOPLE:
        return {name for name in ranked if hash_unit(salt, name) < fraction}
    count = round(fraction * len(ranked))
    if 0 < fraction < 1 and len(ranked) > 1:
        count = min(max(count, 1), len(ranked) - 1)
    return set(ranked[:count])


def check_people(people: Iterable[tuple[str, str, str]]) -> None:
    """Raise CorpusError when a person is in more than one split.

    A model is never evaluated on a person it was trained on.

    Parameters
    ----------
    people : (speaker, split, corpus) each
    """
    seen: dict[str, dict[str, set[str]]] = {}
    for speaker, split, corpus in people:
        seen.setdefault(speaker, {}).setdefault(split, set()).add(corpus)
    torn = {name: splits for name, splits in seen.items() if len(splits) > 1}
    if torn:
        lines = [
            f"  {name}: "
            + ", ".join(f"{split} in {'+'.join(sorted(corpora))}" for split, corpora in sorted(splits.items()))
            for name, splits in sorted(torn.items())
        ]
        raise CorpusError(
            "people in more than one split (a model is never evaluated on a person it was trained on):\n"
            + "\n".join(lines[:10])
            + "\n  hold the person out everywhere (ingest.hdtf_test_speakers), or rename the file if they are two"
        )


def check_files(videos: Iterable[tuple[str, str, str, str]]) -> None:
    """Raise CorpusError when two corpora hold the same bytes in different splits: they show the same person, whatever
    the names.

    Parameters
    ----------
    videos : (sha256, split, corpus, path) each, empty files left out
        Within a corpus the second of two equal files is excluded as a ``duplicate`` by ``ingest``.
    """
    seen: dict[str, dict[str, tuple[str, str]]] = {}
    for sha256, split, corpus, path in videos:
        seen.setdefault(sha256, {}).setdefault(corpus, (split, path))
    torn = [
        ", ".join(f"{split} as {corpus}/{path}" for corpus, (split, path) in sorted(found.items()))
        for found in seen.values()
        if len({split for split, _ in found.values()}) > 1
    ]
    if torn:
        raise CorpusError(
            "the same video in more than one split (a model is never evaluated on a person it was trained on):\n  "
            + "\n  ".join(sorted(torn)[:10])
            + "\n  take the file out of one corpus, or hold the person out everywhere (ingest.hdtf_test_speakers)"
        )
