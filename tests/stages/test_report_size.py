"""What of a large report stays under DVC, and how the auditor reads it then."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from flows.audit import folder_report
from s3dnerf.reporting.audit import verify
from s3dnerf.reporting.report_files import TableNotHere
from s3dnerf.settings.loading import experiment
from stages import report
from tests.fake_preset import settings_of
from tests.stages.test_report import run


def test_large_tables_of_measurements_stay_with_evaluate(here: Path, monkeypatch) -> None:
    monkeypatch.setattr(report, "CLIPS_IN_REPORT_BYTES", 100)
    run()
    folder = here / "reports/tiny"
    assert not (folder / "clips.parquet").exists()
    whole, absent = folder_report(folder, here), folder_report(folder)
    assert len(whole.rows) == len(pd.read_parquet(here / "data/tiny/evaluate/clips.parquet")) > 0
    with pytest.raises(TableNotHere, match="get it: dvc pull data/tiny/evaluate/clips.parquet"):
        absent.rows  # noqa: B018
    params = experiment(settings_of())
    found = {f.rule: f for f in verify(whole, params)}
    assert found["summary"].passed and not found["summary"].unchecked, found["summary"]
    assert {f.rule for f in verify(absent, params) if f.unchecked} >= {"summary", "controls", "people"}


def test_lists_of_many_clips_are_cut_in_git(here: Path, monkeypatch) -> None:
    run()
    few = json.loads((here / "reports/tiny/report.json").read_text())["methods"]
    assert len(few["wrong_speech"]) == 5 and few["listed_in"] == "data/tiny/evaluate/methods.json"
    monkeypatch.setattr("s3dnerf.reporting.document.MOST_LISTED", 4)
    monkeypatch.setattr("s3dnerf.reporting.plots.MOST_CLIPS", 2)
    run()
    many = json.loads((here / "reports/tiny/report.json").read_text())["methods"]
    assert many == few | {"wrong_speech": {}, "notes": {}} and (here / few["listed_in"]).is_file()
    assert len(pd.read_csv(here / "reports/tiny/clips.tsv", sep="\t")) == 2
