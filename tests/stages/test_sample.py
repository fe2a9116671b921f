"""The stage ``sample``: off it says so, on it fills the three layouts through the runner."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import Settings
from stages import sample
from stages.context import Context


def settings_of(**changes: Any) -> Settings:
    tiny = preset_settings("tiny")
    return dataclasses.replace(tiny, sample=dataclasses.replace(tiny.sample, **changes))


def test_switched_off_it_writes_a_note_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sample.main(Context(settings_of(enabled=False), "sample")) == {"enabled": False}
    assert [p.name for p in (tmp_path / "data" / "tiny" / "sample").iterdir()] == ["README.txt"]
    assert "raw.*" in (tmp_path / "data" / "tiny" / "sample" / "README.txt").read_text()
    assert caplog.messages == ["sample: off; raw data is read from raw.*"]


@pytest.mark.slow
def test_it_makes_every_layout_through_the_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: list[str] = []

    def run(work: Callable[[Any], Any], jobs: list[Any], labels: list[str]) -> list[Any]:
        names.extend(labels)
        work, jobs = pickle.loads(pickle.dumps((work, jobs)))
        done = {plan.video: work(plan) for plan in reversed(jobs)}  # in any order
        return [done[plan.video] for plan in jobs]

    settings = settings_of(
        hdtf_train_speakers=1, hdtf_test_speakers=1, lrs2_speakers=2, hdtf_px=160, mead_px=160, hdtf_train_s=1.5
    )
    summary = sample.main(Context(settings, "sample", run=run))
    raw = tmp_path / "data" / "tiny" / "sample" / "raw"
    videos = sorted(p.relative_to(raw).as_posix() for p in raw.rglob("*.mp4"))
    assert len(videos) == len(names) == 5 and summary["hdtf"]["videos"] == 2 and summary["lrs2"]["videos"] == 2
    assert "HDTF/videos/Ames.mp4" in videos and len(list((raw / "HDTF" / "HDTF_dataset").glob("*.txt"))) == 15
    assert [p.name for p in sorted((raw / "LRS2" / "mvlrs_v1").glob("*.txt"))] == ["test.txt", "train.txt", "val.txt"]
    assert len(list(raw.rglob("*.m4a"))) == 1 and not list(raw.rglob("*.part*"))
    truths = {
        p.relative_to(raw.parent / "truth").with_suffix("").as_posix() for p in (raw.parent / "truth").rglob("*.npz")
    }
    assert truths == {f"{v.split('/', 1)[0].lower()}/{v.split('/', 1)[1].removesuffix('.mp4')}" for v in videos}
