"""The scale benchmark at a size of seconds: the same code, with every video opened and every number of it held to what
it must be.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scale, scale_dvc
from benchmarks.scale_raw import make_raw
from benchmarks.scale_steps import KINDS, STEPS
from s3dnerf.video.packs import file_sha256

CLIPS = 50


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``run(step)`` in this process, in a folder with raw files; the stages get their own ``process`` back afterwards."""
    for stage in KINDS:
        module = importlib.import_module(f"stages.{stage}")
        monkeypatch.setattr(module, "process", module.process)
    monkeypatch.chdir(tmp_path)
    args = argparse.Namespace(probe=1000, clips=CLIPS)
    made = make_raw(tmp_path / "raw", CLIPS)
    assert sum(made["records"].values()) == CLIPS

    def step(name: str) -> dict[str, Any]:
        return STEPS[name](tmp_path, args)

    return step


def test_every_step_counts_what_there_is(run, tmp_path: Path) -> None:
    found = run("inventory")
    videos = sorted((tmp_path / "raw").rglob("*.mp4"))
    assert found["files"] == found["hashed"] == sum(path.is_file() for path in (tmp_path / "raw").rglob("*"))
    assert len({file_sha256(path) for path in videos}) == len(videos)  # every video has bytes of its own
    probed = run("probe")
    assert probed["opened"] == probed["videos"] == len(videos) and probed["ms_a_file"] > 0
    ingested = run("ingest")
    assert ingested == {"files": found["files"], "clips": CLIPS, "excluded": 0, "packs": ingested["packs"]}
    first = run("packs")
    assert first["made"] == first["packs"] == len(KINDS) * ingested["packs"] and not first["quarantined"]
    assert run("packs")["made"] == 0
    assert run("planning")["packs"] == first["packs"]
    assert run("training")["clips"] == CLIPS
    before = run("index")
    run("add")
    assert run("inventory")["files"] == found["files"] + 2
    assert run("ingest")["clips"] == CLIPS + 1
    added = run("packs")
    assert set(added["made_a_stage"].values()) <= {1, 2}  # the pack of the new clip; two where it was full
    after = run("index")
    assert {stage: after["rows"][stage] - before["rows"][stage] for stage in after["rows"]} == {
        "resample": 2,
        "align": 4,
    }
    assert (
        scale.projected({"first: probe": probed, "first: ingest": ingested, "again: index": after})[
            "minutes_to_open_all_videos_on_two_cores"
        ]
        > 0
    )


def test_dvc_hashes_brings_back_and_finds_nothing_to_do(tmp_path: Path) -> None:
    found = scale_dvc.layout(tmp_path / "layout", iter([("a.tar", 3000), ("b.tar", 20)]), ("hardlink",))
    assert (found["files"], found["bytes"]) == (2, 3020)
    wanted = ["commit", "status", "repro, nothing to do", "checkout, hardlink", "status after checkout, hardlink"]
    assert list(found["commands"]) == wanted and not (tmp_path / "layout").exists()
    assert all(cost["seconds"] > 0 and cost["peak_mb"] > 0 for cost in found["commands"].values())


def test_a_step_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(module: str, *words: str) -> dict[str, Any]:
        calls.append(words[0])
        if len(calls) == 4:
            raise RuntimeError("killed here")
        return {"seconds": 1.0, "cpu_s": 1.0, "peak_mb": 10.0}

    monkeypatch.setattr(scale, "child", counted)
    monkeypatch.setattr(scale, "raw_files", lambda root, clips: {"files": 0})
    with pytest.raises(RuntimeError, match="killed here"):
        scale.measure(tmp_path, 10, 10, dvc=())
    done = scale.measure(tmp_path, 10, 10, dvc=())
    assert calls == [*scale.FIRST, scale.FIRST[3], *scale.AGAIN, *scale.ADDED]
    assert "one added: ingest" in scale.table(done)
