"""The clips' order: worst, best, the rest; every clip once."""

from __future__ import annotations

import math

from s3dnerf.reporting.clip_order import edges_in_words, pictured, places


def rows_of(values: dict[str, float], corpus: str = "hdtf") -> list[dict]:
    return [
        {"clip": clip, "corpus": corpus, "method": method, "metric": metric, "value": value}
        for clip, ours in values.items()
        for method, metric, value in (("s3dnerf", "m_lmd", ours), ("still", "m_lmd", 9.0), ("s3dnerf", "ssim", 0.5))
    ]


def test_worst_then_best_then_the_rest_then_those_without_a_value() -> None:
    values = {f"c{i}": float(i) for i in range(1, 9)} | {"lost": math.nan}
    found = places(rows_of(values), "s3dnerf")
    assert [p.clip for p in found] == ["c8", "c7", "c6", "c1", "c2", "c3", "c4", "c5", "lost"]
    assert [p.edge for p in found] == ["worst"] * 3 + ["best"] * 3 + [""] * 3
    assert [p.rank for p in found] == [8, 7, 6, 1, 2, 3, 4, 5, 0] and {p.of for p in found} == {8}
    assert found[0].in_words() == "M-LMD of ours 8.000 px, the worst of 8."
    assert (
        found[3].in_words() == "M-LMD of ours 1.000 px, the best of 8." and found[-1].in_words() == "No M-LMD of ours."
    )
    assert edges_in_words(found) == [
        "HDTF, M-LMD of ours in px over 8 clips: worst c8 8.000, c7 7.000, c6 6.000; best c1 1.000, c2 2.000, c3 3.000."
    ]


def test_few_clips_are_never_both() -> None:
    for count in range(5):
        found = places(rows_of({f"c{i}": float(i) for i in range(count)}), "s3dnerf")
        assert sorted(p.clip for p in found) == [f"c{i}" for i in range(count)]
        assert [p.edge for p in found].count("worst") == [p.edge for p in found].count("best") == count // 2
    assert edges_in_words(places(rows_of({"c": 1.0}), "s3dnerf")) == []


def test_corpora_stay_apart_and_equal_values_go_by_name() -> None:
    rows = rows_of({"b": 1.0, "a": 1.0}, "mead") + rows_of({"z": 5.0, "y": 4.0})
    assert [p.clip for p in places(rows, "s3dnerf")] == ["b", "a", "z", "y"]
    assert [line.split(",")[0] for line in edges_in_words(places(rows, "s3dnerf"))] == ["MEAD", "HDTF"]


def test_pictured_are_the_worst_and_the_best_of_those_that_have_pictures() -> None:
    rows = rows_of({f"c{i}": float(i) for i in range(1, 9)} | {"lost": math.nan}) + rows_of({"m": 1.0}, "mead")
    every = {row["clip"] for row in rows}

    def shown(having: set[str], most: int) -> list[str]:
        return [place.clip for place in pictured(rows, "s3dnerf", having, most)]

    assert shown(every, 1) == ["c8", "m"] and shown(every, 4) == ["c8", "c7", "c1", "c2", "m"]
    assert shown(every - {"c8", "c1"}, 3) == ["c7", "c6", "c2", "m"] and shown(set(), 4) == []
    assert shown(every, 50) == [place.clip for place in places(rows, "s3dnerf")]
    first = pictured(rows, "s3dnerf", every - {"c8"}, 1)[0]
    assert first.in_words() == "M-LMD of ours 7.000 px, number 7 from the best of 8."  # of all clips, pictured or not
