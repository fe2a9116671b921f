"""The benchmark of whole corpora at a size of seconds: every step runs, and its counts are those of what was made."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scale_raw, scale_whole
from benchmarks.scale_steps import KINDS
from benchmarks.scale_whole_steps import METHODS, STEPS
from s3dnerf.evaluation.protocol import Tools
from stages import evaluate

LEVELS, SENTENCES = (("neutral", 1), ("angry", 2)), 3


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``run(step)`` in this process; the stages get their own ``process`` back afterwards."""
    for stage in KINDS:
        module = importlib.import_module(f"stages.{stage}")
        monkeypatch.setattr(module, "process", module.process)
    for name, value in (("WHOLE_HDTF_S", 20), ("WHOLE_SENTENCES", SENTENCES), ("LEVELS", LEVELS)):
        monkeypatch.setattr(scale_raw, name, value)
    monkeypatch.setattr(scale_raw, "WHOLE", {"lrs2": 420, "hdtf": 24, "mead": 12})
    monkeypatch.chdir(tmp_path)
    args = argparse.Namespace(probe=6, share=0.5)

    def step(name: str) -> dict[str, Any]:
        return STEPS[name](tmp_path, args)

    yield step
    evaluate.forget()


@pytest.mark.slow
def test_every_step_of_whole_corpora_counts_what_there_is(run) -> None:
    spoken = 6 * len(LEVELS) * SENTENCES
    files = {"lrs2": 2 * 210 + 4, "hdtf": 12, "mead": spoken * (len(scale_raw.VIEWS) + 1)}
    assert run("raw files")["files_of"] == files
    assert run("inventory")["files"] == sum(files.values())
    run("probe")
    ingested = run("ingest")
    clips, excluded = 210 + 12 * 2 + spoken, spoken * (len(scale_raw.VIEWS) - 1)
    assert (ingested["clips"], ingested["excluded"]) == (clips, excluded)
    first = run("packs")
    assert first["made"] == first["packs"] == len(KINDS) * ingested["packs"]
    assert run("packs again")["made"] == 0 and run("planning")["packs"] == first["packs"]
    assert run("fingerprints")["jobs"] == 3
    planned, rows = run("evaluate plan"), run("evaluate rows")
    assert planned["clips"] == rows["clips"] > 0 and planned["videos"] == len(METHODS) * planned["clips"]
    assert rows["table_rows"] == rows["clips"] * (4 + len(METHODS)) * len(Tools(faces=None).recipes())  # type: ignore[arg-type]
    assert run("sheets")["ranked"] == len(KINDS) * clips
    made = run("report")
    assert made["rows"] == sum(files.values()) + clips + excluded
    for step in ("audit", "audit without the table"):  # the table is small: it is in the report
        assert run(step) == {"failed": [], "not_checked_in_full": []}
    found = run("store survey")
    assert set(found["states"]) == {"planned"} and found["entries"] > first["packs"]


def test_growth_is_of_cost_a_record_and_leaves_out_what_is_too_short() -> None:
    small: dict[str, Any] = {name: {"cpu_s": 1.0} for name in scale_whole.STEPS}
    small["report"] |= {"rows": 100}
    small["evaluate rows"] |= {"clips": 10, "table_rows": 1000}
    small["ingest"]["cpu_s"] = 0.1
    large: dict[str, Any] = {name: {"cpu_s": 8.0} for name in scale_whole.STEPS}
    large["report"] |= {"rows": 800}
    large["evaluate rows"] |= {"clips": 40, "table_rows": 16_000}
    found = scale_whole.growth(small, large)
    assert "ingest" not in found and found["packs"] == 1.0
    assert found["evaluate plan"] == 2.0 and found["report"] == found["audit"] == 0.5
