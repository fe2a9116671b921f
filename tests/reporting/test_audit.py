"""The auditor's rules over a report's own files: each holds on a sound report and fails on the fault that it is for."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from s3dnerf.core.yaml_text import dump_yaml
from s3dnerf.evaluation.protocol import Tools
from s3dnerf.reporting.audit import CURRENT, verify
from s3dnerf.reporting.distances import distances
from s3dnerf.reporting.document import SCHEMA_3, manifest
from s3dnerf.reporting.membership import table_facts
from s3dnerf.reporting.report_files import MANIFEST, Report
from tests.reporting.small_report import SETTINGS, make_report, membership_of, rows_of

ROWS = rows_of()


def failed(report: Report, params: Any = SETTINGS) -> dict[str, str]:
    return {f.rule: f.detail for f in verify(report, params) if not f.passed}


def test_a_sound_report_passes_every_rule() -> None:
    found = verify(make_report("sound", ROWS), SETTINGS)
    assert [f.rule for f in found] == [
        "manifest", "size", "schema", "summary", "settings", "membership", "people", "metric versions", "controls",
            "whole corpora",
        "accounted for",
    ]  # fmt: skip
    assert all(str(f).startswith("PASS") for f in found), [str(f) for f in found if not f.passed]


def test_a_file_added_removed_or_changed_is_named() -> None:
    report = make_report("r", ROWS)
    for files, said in (
        (report.files | {"index.html": b"<p>better"}, "index.html differs"),
        (report.files | {"notes.txt": b""}, "notes.txt is not in MANIFEST"),
        ({k: v for k, v in report.files.items() if k != "report.md"}, "report.md is missing"),
        ({k: v for k, v in report.files.items() if k != MANIFEST}, "clips.parquet is not in MANIFEST"),
    ):
        assert said in failed(Report("r", files))["manifest"]


def test_a_number_changed_with_its_manifest_is_still_found() -> None:
    report = make_report("r", ROWS)
    rows = copy.deepcopy(ROWS)
    rows[0]["value"] += 0.5
    files = report.files | {"clips.parquet": make_report("r", rows).files["clips.parquet"]}
    files[MANIFEST] = manifest({k: v for k, v in files.items() if k != MANIFEST}).encode()
    assert set(failed(Report("r", files))) == {"summary"}
    for harm in ({"m_lmd": 0.9}, {}):
        files = report.files | {
            "metrics.json": json.dumps(json.loads(report.files["metrics.json"]) | harm if harm else harm).encode()
        }
        files[MANIFEST] = manifest({k: v for k, v in files.items() if k != MANIFEST}).encode()
        assert "metrics.json is not" in failed(Report("r", files))["summary"]


def test_cards_are_asked_for_since_the_schema_that_has_them() -> None:
    report = make_report("r", ROWS)
    for schema, missing in (("s3dnerf-report-4", True), ("s3dnerf-report-3", True), ("s3dnerf-report-2", False)):
        older = with_document(report, schema=schema)
        files = {name: data for name, data in older.files.items() if name not in ("MODEL_CARD.md", MANIFEST)}
        found = failed(Report("r", files | {MANIFEST: manifest(files).encode()}))
        assert ("MODEL_CARD.md is missing" in found.get("schema", "")) is missing and set(found) <= {"schema"}


def test_a_protocol_that_is_not_that_of_the_settings_is_named() -> None:
    """Numbers of one protocol given out as another's: by its name, or by a value."""
    stated = make_report("r", ROWS).document["protocol"]
    named = failed(make_report("r", ROWS, protocol=stated | {"name": "paper"}))["settings"]
    assert "protocol.name: 'paper', by the settings 'custom'" in named
    values = stated["values"] | {"evaluate.clip_s": 10.0}
    assert "protocol.values.evaluate.clip_s: 10.0, by the settings 1.2" in failed(
        make_report("r", ROWS, protocol=stated | {"values": values})
    )["settings"]  # fmt: skip
    assert "settings" not in failed(make_report("r", ROWS, protocol=None)), "made before protocols had names"


def test_settings_that_differ_from_params_are_named() -> None:
    params = copy.deepcopy(SETTINGS)
    params["train"]["phases"][0]["sync"] = 0.25
    assert "train.phases.0.sync" in failed(make_report("r", ROWS), params)["settings"]
    report = make_report("r", ROWS)
    other = Report("r", report.files | {"settings.yaml": dump_yaml(params).encode()})
    assert "0.25 in settings.yaml" in failed(other)["settings"]
    assert "settings" in failed(make_report("r", ROWS), None)
    assert "settings" in failed(make_report("r", ROWS), {"nonsense": 1})


def test_a_person_on_both_sides_is_named() -> None:
    assert (
        "hdtf/P03 was measured and is in train_s3dnerf"
        in failed(make_report("r", ROWS, trained_on=("T", "P03")))["people"]
    )
    both = membership_of(ROWS)
    both[-1]["speaker"] = "P01"
    assert "hdtf/P01 has clips to train on and clips to test on" in failed(make_report("r", ROWS, both))["people"]


def test_versions_controls_and_fates() -> None:
    old = [r | {"version": "ssim-0"} if r["metric"] == "ssim" else r for r in ROWS]
    assert "ssim" in failed(make_report("r", old))["metric versions"]
    without = [r for r in ROWS if r["method"] != "still"]
    assert "still is missing for 10 clips" in failed(make_report("r", without))["controls"]
    for harm, said in (
        ({"status": "unaccounted"}, "unaccounted"),
        ({"status": "excluded", "reason": ""}, "without a reason"),
        ({"used_for": "held out"}, "is no held-out clip"),
    ):
        membership = membership_of(ROWS)
        membership[0] |= harm
        assert said in failed(make_report("r", ROWS, membership))["accounted for"]
    silent = [r | {"value": np.nan} if r is ROWS[0] else r for r in ROWS]
    assert "no value and no reason" in failed(make_report("r", silent))["accounted for"]
    assert "there twice" in failed(make_report("r", [*ROWS, ROWS[0]]))["accounted for"]


@pytest.mark.parametrize(
    "name", ["clips.parquet", "membership.parquet", "report.json", "summary.json", "metrics.json", "settings.yaml"]
)
def test_any_damaged_byte_fails_and_never_breaks_the_auditor(name: str) -> None:
    report, random = make_report("r", ROWS), np.random.default_rng(0)
    for _ in range(25):
        data = bytearray(report.files[name])
        data[random.integers(len(data))] ^= int(random.integers(1, 256))
        assert name in failed(Report("r", report.files | {name: bytes(data)}))["manifest"]
    for data in (b"", b"{}", b"[]", b"\xff"):
        assert name in failed(Report("r", report.files | {name: data}))["manifest"]


def with_document(report: Report, **changes: Any) -> Report:
    """The report with these values in report.json, and a manifest that fits."""
    files = {name: data for name, data in report.files.items() if name != MANIFEST}
    files["report.json"] = json.dumps(json.loads(files["report.json"]) | changes).encode()
    return Report(report.name, files | {MANIFEST: manifest(files).encode()}, report.find)


def under_dvc(report: Report, here: bool = True) -> Report:
    """The report as a large corpus gives it: its table is no file of it; whether the table is ``here`` all the same."""
    files = dict(report.files)
    whole = files.pop("membership.parquet")
    facts = {**report.document["membership_table"], "in_report": False}
    return with_document(Report("r", files, lambda facts: whole if here else None), membership_table=facts)


def test_a_table_under_dvc_is_checked_whole_where_it_is_and_by_its_counts_where_it_is_not() -> None:
    report = make_report("r", ROWS)
    assert all(str(f).startswith("PASS") for f in verify(under_dvc(report), SETTINGS))
    found = {f.rule: f for f in verify(under_dvc(report, here=False), SETTINGS)}
    assert all(f.passed for f in found.values()), failed(under_dvc(report, here=False))
    partly = {rule: str(f) for rule, f in found.items() if f.unchecked}
    assert set(partly) == {"membership", "people", "accounted for"}
    for said in partly.values():
        assert said.startswith("PART") and "dvc pull data/tiny/report/membership.parquet" in said
    both = membership_of(ROWS)
    both[-1]["speaker"] = "P01"
    assert "clips to train on and clips to test on" in failed(under_dvc(make_report("r", ROWS, both)))["people"]


@pytest.mark.parametrize("here", [True, False])
def test_counts_alone_show_what_is_lost_unexplained_or_too_many(here: bool) -> None:
    for harm, rule, said in (
        ({"status": "unaccounted"}, "accounted for", "unaccounted"),
        ({"status": "excluded", "reason": ""}, "accounted for", "without a reason"),
        ({"split": "train", "used_for": "train_s3dnerf"}, "accounted for", "have rows, of 9 held out"),
    ):
        membership = membership_of(ROWS)
        membership[0] |= harm
        report = under_dvc(make_report("r", ROWS, membership), here)
        assert ("is no held-out clip" if here and "held out" in said else said) in failed(report)[rule]


def test_counts_or_hashes_that_are_not_those_of_the_table_are_named() -> None:
    report = make_report("r", ROWS)
    fewer = [row | {"count": row["count"] - 1} for row in report.document["membership"]]
    for sound in (report, under_dvc(report), under_dvc(report, here=False)):
        assert "do not add up to its 11 rows" in failed(with_document(sound, membership=fewer))["membership"]
    moved = [row | {"split": "val"} for row in report.document["membership"]]
    assert "are not those of membership.parquet" in failed(with_document(report, membership=moved))["membership"]
    other = report.document["membership_table"] | {"sha256": "0" * 64}
    assert "is not the table that" in failed(with_document(report, membership_table=other))["membership"]
    assert "no membership_table" in failed(with_document(report, membership_table=None))["membership"]
    elsewhere = report.document["membership_table"] | {"path": "data/other/report/membership.parquet"}
    assert "expected data/tiny" in failed(with_document(report, membership_table=elsewhere))["membership"]
    without = {name: data for name, data in report.files.items() if name != "membership.parquet"}
    assert "missing" in failed(with_document(Report("r", without)))["membership"]


def test_a_report_of_the_first_schema_holds_by_its_own_table() -> None:
    report = make_report("r", ROWS)
    by_split = report.document["membership"]
    old = [{k: v for k, v in row.items() if k != "split"} | {"count": 11} for row in by_split[:1]]
    first = with_document(report, schema="s3dnerf-report-1", membership=old, membership_table=None)
    assert failed(first) == {}
    assert "are not those of" in failed(with_document(first, membership=[old[0] | {"count": 9}]))["membership"]
    without = {name: data for name, data in first.files.items() if name != "membership.parquet"}
    assert {"membership", "people", "accounted for"} <= set(failed(Report("r", without)))


def test_measurements_under_dvc_are_checked_where_they_are_and_nothing_is_said_of_them_where_they_are_not() -> None:
    files = dict(make_report("r", ROWS).files)
    whole = files.pop("clips.parquet")
    facts = table_facts("data/tiny/evaluate/clips.parquet", whole, len(ROWS), 0)
    here, absent, other = (
        with_document(Report("r", files, lambda facts, data=data: data), clips_table=facts)  # type: ignore[misc]
        for data in (whole, None, make_report("r", ROWS[:-1]).files["clips.parquet"])
    )
    assert all(str(f).startswith("PASS") for f in verify(here, SETTINGS))
    for report in (absent, other):
        said = {f.rule: str(f) for f in verify(report, SETTINGS) if f.unchecked}
        assert set(said) == {"summary", "people", "metric versions", "controls", "accounted for"}
        assert all("dvc pull data/tiny/evaluate/clips.parquet" in line for line in said.values())
        assert failed(report) == {}
    missing = with_document(Report("r", files), clips_table=facts | {"in_report": True})
    assert {"summary", "people", "controls"} <= set(failed(missing))


def test_a_report_too_large_for_git_names_its_largest_files() -> None:
    report = make_report("r", ROWS)
    large = report.files | {"index.html": bytes(4_000_000), "report.md": bytes(1_200_000)}
    said = failed(Report("r", large))["size"]
    assert said.startswith("5.2 MB, accepted: 5 MB") and "the largest: index.html 4.0 MB, report.md 1.2 MB" in said


def test_every_metric_that_no_judge_and_no_recogniser_makes_has_its_version_checked() -> None:
    """A metric that is missing in the auditor's list would pass with any version."""
    recipes = Tools(faces=None).recipes()  # type: ignore[arg-type]  # nothing is measured
    judged = {r.name for r in recipes if r.name.startswith(("identity", "lse_", "sync_"))}
    assert judged and set(CURRENT) == {r.name for r in recipes} - judged


def test_whole_corpus_distances_have_controls_or_a_reason() -> None:
    """Measured without a control, by another recipe, or left out without a word: each is found."""
    features = {
        (r["clip"], r["method"], "alexnet"): np.random.default_rng(i).normal(0, 1, (3, 4))
        for i, r in enumerate(ROWS)
        if r["metric"] == "ssim"
    }
    whole = distances(features, ROWS, {"inception": "off", "i3d": "off"}, 100)
    assert not failed(make_report("r", ROWS, distances=whole))
    alone = copy.deepcopy(whole)
    del alone["corpora"]["hdtf"]["kid_alexnet"]["still"]
    assert "kid_alexnet on hdtf lacks still" in failed(make_report("r", ROWS, distances=alone))["whole corpora"]
    old = copy.deepcopy(whole)
    old["versions"]["fid_alexnet"] = "fid-alexnet-0"
    assert "this code computes fid-alexnet-1" in failed(make_report("r", ROWS, distances=old))["whole corpora"]
    silent = copy.deepcopy(whole)
    del silent["not_measured"]["fvd_i3d"]
    said = failed(make_report("r", ROWS, distances=silent))["whole corpora"]
    assert "fvd_i3d is neither measured nor said to be missing" in said
    before = make_report("r", ROWS, schema=SCHEMA_3, distances=None)
    assert "whole corpora" not in failed(before)
