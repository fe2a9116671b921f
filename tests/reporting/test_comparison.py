"""Comparing two reports: equal ones, worse ones, ones that must not be compared, and how often chance alone is taken
for a change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from s3dnerf.reporting.comparison import EQUAL, TOO_FEW, WORSE, NotComparable, compare
from s3dnerf.reporting.comparison_page import markdown, page
from s3dnerf.reporting.report_files import Report
from tests.reporting.small_report import SETTINGS, SPREAD, make_report, membership_of, rows_of


def test_a_report_and_itself_do_not_differ() -> None:
    a, b = make_report("a", rows_of()), make_report("b", rows_of())
    found = compare(a, b)
    assert {r.verdict for r in found.rows} == {EQUAL} and found.verdict().startswith("No difference")
    assert not found.settings and not found.forced and not found.controls and found.clips == {"hdtf": (10, 0, 0)}


def test_what_got_worse_is_named_with_its_size() -> None:
    def shift(method: str, metric: str, random: np.random.Generator) -> float:
        return 0.2 if (method, metric) == ("s3dnerf", "m_lmd") else 0.0

    found = compare(make_report("a", rows_of()), make_report("b", rows_of(change=shift)))
    assert [(r.metric, r.verdict) for r in found.rows if r.verdict != EQUAL] == [("m_lmd", WORSE)]
    row = found.worse[0]
    assert row.difference == pytest.approx(0.2) and row.low is not None and row.low > 0.19 and row.p == 2 / 2**10
    assert "m_lmd of s3dnerf on hdtf (+0.2 px" in found.verdict()
    for text in (markdown(found), page(found)):
        assert "worse" in text and "m_lmd" in text and "0.00195" in text


def test_a_control_that_moves_says_that_the_measuring_changed() -> None:
    def shift(method: str, metric: str, random: np.random.Generator) -> float:
        return 0.1 if (method, metric) == ("still", "ssim") else 0.0

    found = compare(make_report("a", rows_of()), make_report("b", rows_of(change=shift)))
    assert len(found.controls) == 1 and "ssim of still" in found.controls[0] and "Control:" in markdown(found)


def test_few_speakers_show_nothing() -> None:
    noise = lambda method, metric, random: SPREAD[metric] * random.standard_normal() if method == "s3dnerf" else 0.0  # noqa: E731
    found = compare(make_report("a", rows_of(5)), make_report("b", rows_of(5, seed=1, change=noise)))
    assert {r.verdict for r in found.rows} == {TOO_FEW} and all(r.p is None for r in found.rows)
    assert "hdtf: 5 speakers can show nothing in 5 tests; 8 are needed." in found.verdict()


def test_a_corpus_with_too_few_speakers_costs_the_others_nothing() -> None:
    """Eight speakers show a difference in five tests (5 · 2/2⁸ < 0.05), not in ten: the five tests of a corpus with four
    speakers do not count, and it is said how many speakers ten tests need.
    """

    def shift(method: str, metric: str, random: np.random.Generator) -> float:
        return 0.3 * SPREAD[metric] if method == "s3dnerf" else 0.0

    def both(**given: Callable[[str, str, np.random.Generator], float]) -> list[dict[str, Any]]:
        few = [
            r | {"corpus": "mead", "clip": f"mead{r['clip']}", "speaker": f"M{r['speaker']}"}
            for r in rows_of(4, **given)
        ]
        return rows_of(8, **given) + few

    found = compare(make_report("a", both()), make_report("b", both(change=shift)))
    of = {c: [r for r in found.rows if r.corpus == c] for c in ("hdtf", "mead")}
    assert {r.verdict for r in of["mead"]} == {TOO_FEW} and {r.p_holm for r in of["mead"]} == {None}
    assert {r.verdict for r in of["hdtf"]} == {"better", WORSE}
    assert {r.p_holm for r in of["hdtf"]} == {5 * 2 / 2**8}
    assert found.verdict().endswith("mead: 4 speakers can show nothing in 10 tests; 9 are needed.")


def test_other_versions_or_splits_are_refused_and_forced_ones_say_so_everywhere() -> None:
    rows = rows_of()
    a = make_report("a", rows)
    older = [
        {"name": m["name"], "version": "ssim-0" if m["name"] == "ssim" else m["version"], "direction": m["direction"]}
        for m in a.document["metrics"]
    ]
    moved = membership_of(rows)
    moved[-1]["speaker"], moved[0]["split"] = moved[0]["speaker"], "train"
    for b, said in (
        (make_report("b", rows, metrics=older), "metric ssim was measured as"),
        (make_report("b", rows, moved), "trained on in one and tested on"),
    ):
        with pytest.raises(NotComparable, match=said):
            compare(a, b)
        found = compare(a, b, force=True)
        assert found.forced and all("Forced:" in text and said in text for text in (markdown(found), page(found)))


def test_without_tables_the_cards_say_who_changed_sides_and_the_rest_is_said_not_to_be_checked() -> None:
    def bare(report: Report) -> Report:
        return Report(report.name, {n: data for n, data in report.files.items() if n != "membership.parquet"})

    rows = rows_of()
    found = compare(a := bare(make_report("a", rows)), bare(make_report("b", rows)))
    assert [line.split(":")[0] for line in found.unchecked] == ["a", "b"] and not found.forced
    for text in (markdown(found), page(found)):
        assert "Not checked in full: a:" in text and "dvc pull data/tiny/report/membership.parquet" in text
    fewer = [row for row in rows if row["speaker"] != "P03"]
    with pytest.raises(NotComparable, match="1 people are trained on in one and tested on in the other: hdtf/P03"):
        compare(a, bare(make_report("b", fewer, trained_on=("P03",))))


def settings_with(section: str, **values: Any) -> dict[str, Any]:
    """Those of the small reports, with a section changed."""
    return SETTINGS | {section: SETTINGS[section] | values}


def test_reports_of_different_protocols_are_refused_whatever_their_names() -> None:
    rows = rows_of()
    a, b = make_report("a", rows), make_report("b", rows, settings=settings_with("evaluate", clip_s=5.0))
    with pytest.raises(
        NotComparable, match=r"the protocol is custom in A and custom in B \(evaluate.clip_s: 1.2 and 5"
    ):
        compare(a, b)
    found = compare(a, b, force=True)
    assert all("Forced: the protocol is custom in A" in text for text in (markdown(found), page(found)))
    named = make_report("b", rows, protocol=a.document["protocol"] | {"name": "of another name"})
    assert not compare(a, named).forced, "equal values measure the same"


def test_what_decides_nothing_that_is_measured_is_no_other_protocol() -> None:
    rows = rows_of()
    reversed_people = settings_with("ingest", hdtf_test_speakers=["Boone", "Ames"], mead_test_fraction=0.3)
    assert not compare(make_report("a", rows), make_report("b", rows, settings=reversed_people)).forced


def test_a_report_without_a_protocol_is_compared_and_that_is_said() -> None:
    rows = rows_of()
    older = make_report("older", rows, protocol=None, settings=settings_with("evaluate", clip_s=5.0))
    found = compare(older, make_report("b", rows))
    assert not found.forced and [line.split(":")[0] for line in found.unchecked] == ["older"]
    assert "states none" in found.unchecked[0] and "evaluate.clip_s" in found.settings


def test_clips_alone_and_settings_changed_are_told() -> None:
    changed = make_report("a", rows_of()).document["settings"] | {"seed": 7}
    found = compare(make_report("a", rows_of(10)), make_report("b", rows_of(8), settings=changed))
    assert found.clips == {"hdtf": (8, 2, 0)} and found.settings == {"seed": (0, 7)}
    assert {r.clips for r in found.rows} == {8}


def test_names_from_outside_are_text_on_the_page() -> None:
    rows = [r | {"corpus": "<script>alert(1)</script>"} for r in rows_of()]
    text = page(compare(make_report("<b>a", rows), make_report("b", rows)))
    assert "<script>" not in text and "<b>a" not in text and "&lt;script&gt;" in text


@pytest.mark.slow
def test_chance_alone_is_taken_for_a_change_no_more_often_than_claimed() -> None:
    """200 pairs of equal systems that differ by noise of the size of the speakers' own: a verdict in at most 5 % of
    them.
    """

    def noise(method: str, metric: str, random: np.random.Generator) -> float:
        return 0.3 * SPREAD[metric] * random.standard_normal() if method == "s3dnerf" else 0.0

    a, b = make_report("a", rows_of()), make_report("b", rows_of())
    alarms = 0
    for seed in range(200):
        b.__dict__["rows"] = rows_of(seed=seed, change=noise)
        found = compare(a, b, resamples=50)
        alarms += bool(found.better or found.worse)
    # 5 % of 200 is 10; more than 18 would happen to an honest test once in 100 times
    assert alarms <= 18
