"""Whether a challenger is no worse, and the margins it is judged by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows.retrain.judging import MARGINS, Judgement, Reference, gateable, judge, margins_of, moved_controls
from flows.retrain.once import retrain_once
from s3dnerf.core.errors import SettingsError
from s3dnerf.reporting.comparison import compare
from s3dnerf.reporting.report_files import Report
from tests.reporting.small_report import make_report, rows_of

MARGIN = {"m_lmd": 0.05}


def of_ours(change: Callable[[np.random.Generator], float], metric: str = "m_lmd", method: str = "s3dnerf") -> Report:
    """A report whose values of one metric of a method are changed."""
    return make_report(
        "b", rows_of(change=lambda m, name, random: change(random) if (m, name) == (method, metric) else 0.0)
    )


def judged(new: Report, *old: Report, fixed: Report | None = None, margins: dict[str, float] = MARGIN) -> Judgement:
    """A judgement beside versions 1, 2, … of which the first is the champion, all counting in all metrics."""
    metrics = frozenset(margins)
    references = [Reference(str(number), report, metrics) for number, report in enumerate(old, 1)]
    return judge(new, references, Reference("", fixed, metrics) if fixed else None, margins)


def test_no_worse_means_the_bad_end_of_the_interval() -> None:
    old = make_report("a", rows_of())

    def good(noise: float, by: float) -> bool:
        return judged(of_ours(lambda random: by + noise * random.standard_normal()), old).good

    assert good(0.0, 0.0) and good(0.01, -0.1) and good(0.0, 0.06)  # 5 % of 1.4 px is 0.07
    assert not good(0.0, 0.08) and not good(0.5, 0.0)  # worse; and too noisy to say


def test_what_neither_report_measured_does_not_gate_and_is_said() -> None:
    both = make_report("a", rows_of())
    found = judged(both, both, margins=MARGIN | {"lse_c": 0.1})
    assert found.good and "lse_c: measured neither tonight nor in version 1: does not gate" in found.lines
    rows = [row for row in rows_of() if row["metric"] != "m_lmd"]
    lost = judged(make_report("b", rows), both)
    assert not lost.good and any("m_lmd on hdtf: no value any more on 100% of the clips" in line for line in lost.lines)
    nothing = judged(make_report("b", rows), make_report("a", rows))
    assert not nothing.good and nothing.lines[-1].startswith("no metric that gates was measured")


def test_a_metric_without_a_value_on_the_hard_clips_is_not_shown_to_be_no_worse() -> None:
    old, rows = make_report("a", rows_of()), rows_of()
    for share, good in ((0.1, True), (0.2, False)):
        gone = {f"P{i:02d}" for i in range(round(share * 10))}
        lost = [
            r | {"value": np.nan} if r["speaker"] in gone and (r["method"], r["metric"]) == ("s3dnerf", "m_lmd") else r
            for r in rows
        ]
        assert judged(make_report("b", lost), old).good == good


def test_of_several_references_the_one_that_is_furthest_ahead_counts() -> None:
    best, champion = make_report("a", rows_of()), of_ours(lambda random: 0.06)
    new = of_ours(lambda random: 0.12)  # 0.06 px behind the champion, 0.12 px behind the best; 0.07 px are allowed
    alone, both = judged(new, champion), judged(new, champion, best)
    assert alone.good and not both.good
    assert any("m_lmd on hdtf" in line and "(version 2)" in line and "NOT shown" in line for line in both.lines)
    assert both.best == {"hdtf/m_lmd": "2"} and judged(best, champion).best == {}


def test_a_fixed_reference_gates_as_well() -> None:
    champion, fixed, new = (of_ours(lambda random, by=by: by) for by in (0.06, 0.0, 0.12))
    found = judged(new, champion, fixed=fixed)
    assert not found.good and judged(new, champion, fixed=champion).good
    assert any("(the fixed reference)" in line and "NOT shown" in line for line in found.lines)
    assert found.best == {"hdtf/m_lmd": "1"}  # it is no version


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (lambda random: 0.02, True),
        (lambda random: 1e-6, False),  # rounding
        (lambda random: 0.02 * random.standard_normal(), False),  # 0 lies within the interval
    ],
)
def test_a_control_moves_beyond_its_interval_and_beyond_rounding(change: Callable, moved: bool) -> None:
    old = make_report("a", rows_of())
    for method in ("still", "truth"):
        new = of_ours(change, method=method)
        assert bool(moved_controls(compare(old, new, metrics={"m_lmd"}))) == moved
        assert not moved_controls(compare(old, new, metrics={"ssim"}))


def test_margins_from_the_command_line() -> None:
    assert margins_of(()) is None and margins_of(("m_lmd=0.1", "ssim=0")) == {"m_lmd": 0.1, "ssim": 0.0}
    for wrong in ("m_lmd", "m_lmd=x", "m_lmd=-1"):
        with pytest.raises(SettingsError, match="accepted"):
            margins_of((wrong,))
    for wrong in ("beauty", "flicker_face"):  # no metric; one without a better and a worse
        with pytest.raises(SettingsError, match=f"got {wrong} — accepted: metrics of the report, ssim, "):
            retrain_once(Path("."), {wrong: 0.1})
    assert set(MARGINS) < set(gateable()) and "opening_correlation" in gateable()
