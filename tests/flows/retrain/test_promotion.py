"""What a night's generator is held against: the best ever promoted, measured in the same way, by its margins."""

from __future__ import annotations

import io
import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.champion import ALIAS, PROMOTED, Registry
from flows.retrain import worktree
from flows.retrain.once import retrain_once
from flows.retrain.outcome import FAILED, KEPT, NOTHING_NEW, Outcome
from flows.retrain.outcome import PROMOTED as IS_PROMOTED
from tests.flows.retrain.played import Played, champion, git, report_of, worse
from tests.reporting.small_report import rows_of

Rows = list[dict[str, Any]]


def night(repository: Path, dvc: Played, weights: str, rows: Rows, **given: Any) -> Outcome:
    """One retraining that makes these weights, which are measured as these rows."""
    dvc.calls, dvc.weights, dvc.rows = [], weights.encode(), rows
    return retrain_once(repository, **given)


def registry(repository: Path) -> Registry:
    return Registry("tiny", f"sqlite:///{repository / 'mlflow.db'}")


def judged_by(rows: Rows, judge: str, of_ours: float, of_controls: float = 0.1) -> Rows:
    """Rows with LSE-C by a judge of this name."""
    more = []
    for row in (row for row in rows if row["metric"] == "cpbd"):
        value = of_ours if row["method"] == "s3dnerf" else of_controls
        more.append(row | {"metric": "lse_c", "version": f"sync-1-trained-{judge}", "value": value})
    return [*rows, *more]


def in_version(rows: Rows, metric: str, version: str) -> Rows:
    """Rows with another version of a metric."""
    return [row | {"version": version} if row["metric"] == metric else row for row in rows]


def line(outcome: Outcome, *words: str) -> str:
    """The outcome's line that holds all these words."""
    found = [said for said in outcome.lines if all(word in said for word in words)]
    assert len(found) == 1, (words, outcome.lines)
    return found[0]


def test_a_slide_of_small_steps_is_stopped_at_the_margin_from_the_best(repository: Path, dvc: Played) -> None:
    """Twelve nights, each 4.5 % worse than the one before: beside yesterday's champion alone, all were promoted."""
    means = [1.4 * 1.045**number for number in range(13)]
    outcomes = [
        night(repository, dvc, f"night {number}", worse("m_lmd", mean - means[0])) for number, mean in enumerate(means)
    ]
    assert [outcome.status for outcome in outcomes] == [IS_PROMOTED, IS_PROMOTED, *[KEPT] * 11]
    assert champion(repository).version == "2"  # 4.5 % from the best ever promoted: within the margin
    said = line(outcomes[2], "m_lmd on hdtf")
    assert "(version 1)" in said and "NOT shown to be no worse" in said
    for outcome in outcomes[2:]:
        line(outcome, "beside version 2")
    assert night(repository, dvc, "good again", rows_of()).status == IS_PROMOTED


def test_a_version_counts_after_it_lost_the_alias_and_until_its_mark_is_taken_away(
    repository: Path, dvc: Played
) -> None:
    night(repository, dvc, "first", rows_of())
    night(repository, dvc, "second", worse("m_lmd", 0.05))
    client = registry(repository).tracking.client
    assert {v.version: v.tags[PROMOTED] for v in client.search_model_versions("name = 's3dnerf-tiny'")} == {
        1: "yes",
        2: "yes",
    }
    assert night(repository, dvc, "third", worse("m_lmd", 0.1)).status == KEPT
    client.delete_registered_model_alias("s3dnerf-tiny", ALIAS)  # nothing carries it: what was promoted counts
    without = night(repository, dvc, "fourth", worse("m_lmd", 0.1))
    assert without.status == KEPT and "there is no champion" in without.lines[-1]
    client.set_registered_model_alias("s3dnerf-tiny", ALIAS, "2")
    client.delete_model_version_tag("s3dnerf-tiny", "1", PROMOTED)
    assert night(repository, dvc, "fifth", worse("m_lmd", 0.1)).status == IS_PROMOTED


def test_after_a_step_back_by_hand_the_newest_promoted_still_counts(repository: Path, dvc: Played) -> None:
    night(repository, dvc, "first", rows_of())
    night(repository, dvc, "second", worse("m_lmd", -0.2))
    registry(repository).tracking.client.set_registered_model_alias("s3dnerf-tiny", ALIAS, "1")
    outcome = night(repository, dvc, "third", rows_of())
    assert outcome.status == KEPT and "(version 2)" in line(outcome, "m_lmd on hdtf")


@pytest.mark.parametrize("method", ["still", "truth"])
def test_a_control_that_moved_forbids_a_promotion(repository: Path, dvc: Played, method: str) -> None:
    def shifted(metric: str) -> Rows:
        return rows_of(change=lambda m, name, random: -0.05 if (m, name) == (method, metric) else 0.0)

    night(repository, dvc, "first", rows_of())
    outcome = night(repository, dvc, "second", shifted("ssim"))
    assert outcome.status == KEPT and champion(repository).version == "1"
    assert "nothing is promoted; where that was meant, --rescore" in line(
        outcome, f"ssim of {method} on hdtf moved from"
    )
    assert night(repository, dvc, "second", shifted("psnr")).status == NOTHING_NEW  # it was kept out
    assert night(repository, dvc, "third", shifted("psnr")).status == IS_PROMOTED  # a metric that does not gate
    dvc.again = {b"first": shifted("ssim"), b"third": shifted("ssim")}
    measured = night(repository, dvc, "fourth", shifted("ssim"), rescore=True)
    assert measured.status == IS_PROMOTED and "evaluate third" in dvc.calls


def test_with_another_judge_the_champion_is_measured_again_and_the_night_goes_on(repository: Path, dvc: Played) -> None:
    night(repository, dvc, "first", judged_by(rows_of(), "a", 0.5))
    dvc.again = {b"first": judged_by(rows_of(), "b", 0.9)}
    worse_sync = night(repository, dvc, "second", judged_by(rows_of(), "b", 0.6))
    assert worse_sync.status == KEPT and dvc.calls == ["pull", "repro", "evaluate first", "push"]
    assert "lse_c was measured as sync-1-trained-a then and as sync-1-trained-b tonight" in line(
        worse_sync, "version 1 was measured again"
    )
    assert "0.9 (version 1) → 0.6" in line(worse_sync, "lse_c on hdtf")
    good = night(repository, dvc, "third", judged_by(rows_of(), "b", 0.88))
    assert good.status == IS_PROMOTED and champion(repository).version == "3"
    kept = git(repository, "ls-tree", "-r", "--name-only", good.branch).split()
    again = next(name for name in kept if name.endswith("version_1_clips.parquet"))
    data = subprocess.run(["git", "show", f"{good.commit}:{again}"], cwd=repository, capture_output=True, check=True)
    measured = pd.read_parquet(io.BytesIO(data.stdout)).query("metric == 'lse_c' and method == 's3dnerf'")
    assert measured["value"].unique() == [0.9]


def test_a_judge_of_each_night_does_not_let_sync_slide(repository: Path, dvc: Played) -> None:
    """Each judge counts on a scale of its own; the best by the judge before is measured again by the new one."""
    night(repository, dvc, "first", judged_by(rows_of(), "0", 1.0))
    statuses = []
    for number in range(1, 4):
        scale, quality = 2.0**number, 0.9**number
        dvc.again = {
            name.encode(): judged_by(rows_of(), str(number), scale * 0.9**n)
            for n, name in enumerate(["first", "night 1", "night 2", "night 3"])
        }
        statuses.append(night(repository, dvc, f"night {number}", judged_by(rows_of(), str(number), scale * quality)))
    assert [outcome.status for outcome in statuses] == [IS_PROMOTED, KEPT, KEPT]
    assert "(version 1)" in line(statuses[1], "lse_c on hdtf")


def test_only_metrics_that_gate_are_measured_again(repository: Path, dvc: Played) -> None:
    night(repository, dvc, "first", rows_of())
    other = in_version(rows_of(), "psnr", "psnr-2")
    assert night(repository, dvc, "second", other).status == IS_PROMOTED and "evaluate first" not in dvc.calls
    dvc.again = {b"second": in_version(other, "ssim", "ssim-2"), b"first": in_version(other, "ssim", "ssim-2")}
    third = night(repository, dvc, "third", in_version(other, "ssim", "ssim-2"))
    assert third.status == IS_PROMOTED and "evaluate second" in dvc.calls
    assert line(third, "ssim on hdtf").endswith("no worse")


def test_a_metric_that_the_champion_lacks_is_measured_of_it(repository: Path, dvc: Played) -> None:
    night(repository, dvc, "first", rows_of())
    dvc.again = {b"first": judged_by(rows_of(), "a", 0.9)}
    outcome = night(repository, dvc, "second", judged_by(rows_of(), "a", 0.5))
    assert outcome.status == KEPT and "lse_c was not measured then" in line(outcome, "version 1 was measured again")


def test_a_metric_that_is_measured_no_more_forbids_a_promotion(repository: Path, dvc: Played) -> None:
    night(repository, dvc, "first", judged_by(rows_of(), "a", 0.9))
    without = [r | {"value": math.nan} if r["metric"] == "lse_c" else r for r in judged_by(rows_of(), "none", 0.9)]
    outcome = night(repository, dvc, "second", without)
    assert outcome.status == KEPT and line(outcome, "lse_c: measured in version 1, not tonight")


def test_a_champion_that_cannot_be_measured_again_fails_the_night(repository: Path, dvc: Played) -> None:
    night(repository, dvc, "first", judged_by(rows_of(), "a", 0.5))
    outcome = night(repository, dvc, "second", judged_by(rows_of(), "b", 0.5))
    assert outcome.status == FAILED and champion(repository).version == "1"
    assert "version 1 could not be measured again by tonight's code: flows.run evaluate failed" in outcome.lines[0]
    folder = next((repository / "mlartifacts").rglob("generator.safetensors"))
    folder.write_bytes(b"others")
    dvc.again = {b"first": judged_by(rows_of(), "b", 0.5)}
    outcome = night(repository, dvc, "second", judged_by(rows_of(), "b", 0.5))
    assert outcome.status == FAILED and "as registered" in outcome.lines[0]


def test_a_report_that_is_gone_is_measured_again(repository: Path, dvc: Played) -> None:
    first = night(repository, dvc, "first", rows_of())
    git(repository, "branch", "-D", first.branch)
    night(repository, dvc, "second", worse("m_lmd", 0.01))
    git(repository, "reflog", "expire", "--expire=now", "--all")
    git(repository, "-C", str(repository / worktree.PLACE), "reflog", "expire", "--expire=now", "--all")
    git(repository, "gc", "--quiet", "--prune=now")
    dvc.again = {b"first": rows_of()}
    third = night(repository, dvc, "third", worse("m_lmd", 0.02))
    assert third.status == IS_PROMOTED and "neither a folder nor a git revision" in line(
        third, "version 1 was measured"
    )


def test_a_fixed_reference_gates_where_it_was_measured_alike(repository: Path, dvc: Played) -> None:
    folder = repository / "reports/reference"
    folder.mkdir(parents=True)
    for name, data in report_of(judged_by(worse("m_lmd", -0.2), "old", 0.9)).files.items():
        (folder / name).write_bytes(data)
    unknown = night(repository, dvc, "first", rows_of(), reference="nowhere")
    assert unknown.status == FAILED and "nowhere: neither a folder nor a git revision" in unknown.lines[0]
    assert dvc.calls == []  # said before any work
    first = night(repository, dvc, "first", judged_by(rows_of(), "a", 0.5), reference="reports/reference")
    assert first.status == KEPT and champion(repository) is None
    assert "(the fixed reference)" in line(first, "m_lmd on hdtf") and "does not gate beside" in line(
        first, "lse_c", "tonight"
    )
    again = night(repository, dvc, "first", judged_by(rows_of(), "a", 0.5), reference="reports/reference")
    assert again.status == NOTHING_NEW
    assert night(repository, dvc, "second", worse("m_lmd", -0.2), reference="reports/reference").status == IS_PROMOTED


def test_a_fixed_reference_whose_generator_is_registered_is_measured_again(repository: Path, dvc: Played) -> None:
    """Its report is of another judge; the registry has the generator, so that it gates by tonight's."""
    first = night(repository, dvc, "first", judged_by(rows_of(), "old", 0.9))
    assert first.status == IS_PROMOTED
    report = report_of(judged_by(rows_of(), "old", 0.9))
    report.document["networks"] = {"full": champion(repository).generator_sha256}
    folder = repository / "reports/reference"
    folder.mkdir(parents=True)
    for name, data in report.files.items():
        (folder / name).write_bytes(data)
    (folder / "report.json").write_text(json.dumps(report.document))
    dvc.again = {b"first": judged_by(rows_of(), "new", 0.8)}
    second = night(repository, dvc, "second", judged_by(rows_of(), "new", 0.4), reference="reports/reference")
    assert second.status == KEPT
    said = line(second, "the fixed reference reports/reference was measured again", "version 1")
    assert "lse_c was measured as" in said
    assert "NOT shown to be no worse" in line(second, "lse_c on hdtf", "0.8 (the fixed reference)")
    (folder / "report.json").write_text(json.dumps(report.document | {"networks": {"full": "0" * 64}}))
    third = night(repository, dvc, "third", judged_by(rows_of(), "new", 0.8), reference="reports/reference")
    assert line(third, "was not measured again: no version of the registry has its generator")
    assert line(third, "lse_c does not gate beside the fixed reference")


def test_a_fixed_reference_that_can_be_compared_in_nothing_is_refused(repository: Path, dvc: Played) -> None:
    rows = rows_of()
    for metric in ("ssim", "m_lmd", "f_lmd", "cpbd"):
        rows = in_version(rows, metric, f"{metric}-0")
    folder = repository / "reports/old"
    folder.mkdir(parents=True)
    for name, data in report_of(rows).files.items():
        (folder / name).write_bytes(data)
    outcome = night(repository, dvc, "first", rows_of(), reference="reports/old")
    assert outcome.status == KEPT and "name another with --reference" in "\n".join(outcome.lines)
