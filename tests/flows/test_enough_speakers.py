"""The warning at the end of ingest: a test split with too few speakers for the report's tests."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pandas as pd
import pytest

from flows import run
from flows.enough_speakers import count_tests, too_few_lines
from s3dnerf.reporting.comparison import too_few
from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import Settings

TINY = preset_settings("tiny")


def measuring(**changes: str) -> Settings:
    return dataclasses.replace(TINY, evaluate=dataclasses.replace(TINY.evaluate, **changes))


def write_clips(corpus: str, test: int, train: int = 20, clips: int = 2) -> None:
    """Records as ingest leaves them, as far as they are read here."""
    path = TINY.data_dir / "ingest" / corpus / "clips.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    people = [(f"T{i}", "test") for i in range(test)] + [(f"L{i}", "train") for i in range(train)]
    pd.DataFrame([dict(speaker=who, split=split) for who, split in people for _ in range(clips)]).to_parquet(path)


def test_a_metric_that_is_off_is_no_test() -> None:
    off, on = (
        count_tests(measuring(lpips="off", identity="off")),
        count_tests(measuring(lpips="alexnet", identity="dlib")),
    )
    assert on == off + 2 and off >= 8


def test_speakers_are_counted_in_the_test_split_and_not_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flows.enough_speakers.count_tests", lambda settings: 10)
    write_clips("hdtf", test=8)
    write_clips("lrs2", test=1)
    assert too_few_lines(TINY) == ["test split of hdtf: 8 speakers can show nothing in 10 tests; 9 are needed."]
    write_clips("mead", test=1)
    write_clips("hdtf", test=9)
    assert too_few_lines(TINY) == ["test split of mead: 1 speaker can show nothing in 10 tests; 9 are needed."]
    write_clips("mead", test=0)
    assert too_few_lines(TINY) == []


def test_ingest_warns_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from s3dnerf.core.yaml_text import dump_yaml
    from s3dnerf.settings.loading import as_dict

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S3DNERF_RUNNER", "inline")
    (tmp_path / "params.yaml").write_text(dump_yaml(as_dict(TINY)), encoding="utf-8")
    monkeypatch.setattr("stages.code_lock.require", lambda stages: None)
    monkeypatch.setattr("stages.ingest.main", lambda context: write_clips("hdtf", test=2) or "done")
    monkeypatch.setattr("stages.resample.main", lambda context: "done")
    with caplog.at_level(logging.WARNING):
        assert run.run("ingest") == "done"
        assert run.run("resample") == "done"
    assert [r.getMessage() for r in caplog.records if "speakers" in r.getMessage()] == [
        f"ingest: test split of {too_few('hdtf', 2, count_tests(TINY))}"
    ]
