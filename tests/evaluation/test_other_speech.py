"""Whose speech drives the control: held against a slow literal choice over many sets of clips."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from s3dnerf.evaluation.other_methods import MethodVideo, by_name, showing, shows, videos_of
from s3dnerf.evaluation.other_speech import OtherSpeech

Records = list[dict[str, Any]]


def literal(record: dict[str, Any], records: Records, others: Records) -> tuple[str, str] | None:
    """Of the first of four lists that has another speaker: all such clips sorted, the one at a hash of the name."""
    same, beyond = ([r for r in rows if r["corpus"] == record["corpus"]] for rows in (records, others))
    for pool in (same, records, beyond, others):
        names = sorted((r["corpus"], r["clip"]) for r in pool if r["speaker"] != record["speaker"])
        if names:
            return names[int.from_bytes(hashlib.sha256(record["clip"].encode()).digest()[:8], "big") % len(names)]
    return None


def clips(random: np.random.Generator, count: int, speakers: int) -> Records:
    corpora = random.choice(["hdtf", "mead", "lrs2"], size=count)
    people = random.integers(speakers, size=count)
    return [{"corpus": str(c), "clip": f"{c}_{i:03d}", "speaker": f"{c[: s % 5]}{s}", "video": f"{i % 7}.mp4"}
            for i, (c, s) in enumerate(zip(corpora, people))]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_the_choice_is_the_literal_one_in_any_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    records = clips(random, int(random.integers(1, 30)), int(random.integers(1, 6)))
    others = records + [r | {"clip": r["clip"] + "x"} for r in clips(random, 20, 4)]
    others = [] if seed % 8 == 0 else others
    wanted = [literal(record, records, others) for record in records]
    assert [OtherSpeech(records, others).of(record) for record in records] == wanted
    assert [OtherSpeech(records[::-1], others[::-1]).of(record) for record in records] == wanted


def test_one_speaker_has_nobody_but_those_beyond_the_test_set() -> None:
    alone = {"corpus": "mead", "clip": "m", "speaker": "M"}
    assert OtherSpeech([alone], [alone]).of(alone) is None
    assert OtherSpeech([alone], [{"corpus": "hdtf", "clip": "h", "speaker": "H"}]).of(alone) == ("hdtf", "h")


def test_videos_looked_up_by_name_are_those_that_show_the_clip() -> None:
    random = np.random.default_rng(0)
    records = clips(random, 20, 3)
    names = [str(n) for n in range(7)] + [r["clip"] for r in records]
    videos = [MethodVideo(m, c, n, f"{m}/{c}/{n}{e}", f"{m}/{c}/{n}{e}") for m in "ab" for c in ("hdtf", "mead")
              for n in names for e in (".mp4", ".avi") if random.random() < 0.5]  # fmt: skip
    for record in records:
        found = showing(by_name(videos), record)
        assert sorted(v.path for v in found) == sorted(v.path for v in videos if shows(v, record))
        assert videos_of(record, found) == videos_of(record, videos)
