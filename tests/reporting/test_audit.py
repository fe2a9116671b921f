"""The auditor's rules over a report's own files: each holds on a sound report and fails on the fault that it is for."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from s3dnerf.core.yaml_text import dump_yaml
from s3dnerf.reporting.audit import MANIFEST, Report, verify
from s3dnerf.reporting.document import manifest
from tests.reporting.small_report import SETTINGS, make_report, membership_of, rows_of

ROWS = rows_of()


def failed(report: Report, params: Any = SETTINGS) -> dict[str, str]:
    return {f.rule: f.detail for f in verify(report, params) if not f.passed}


def test_a_sound_report_passes_every_rule() -> None:
    found = verify(make_report("sound", ROWS), SETTINGS)
    assert [f.rule for f in found] == [
        "manifest", "schema", "summary", "settings", "people", "metric versions", "controls", "accounted for",
    ]  # fmt: skip
    assert all(f.passed for f in found), [str(f) for f in found if not f.passed]


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
