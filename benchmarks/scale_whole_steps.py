"""The steps of ``benchmarks/scale_whole.py``, each in a process of its own so that its peak memory is its own.

    python -m benchmarks.scale_whole_steps STEP --folder DIR --share SHARE [--probe N]

Works in DIR as ``benchmarks/scale_steps.py`` does, whose steps from the inventory to the packs these are. Prints one
line of JSON: wall and CPU seconds of the step, this process's peak memory, and what the step counted.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import scale_steps
from benchmarks.peak_memory import peak_memory_mb
from benchmarks.scale_raw import CORPORA, make_whole
from flows.audit import folder_report
from s3dnerf.evaluation.other_methods import find_methods
from s3dnerf.evaluation.protocol import COLUMNS, Tools
from s3dnerf.reporting.audit import verify
from s3dnerf.reporting.sheet_choice import MOST_RANKED, Preprocessed, by_hash
from s3dnerf.reporting.sheets import STAGES as SHEETS
from s3dnerf.settings.loading import experiment
from s3dnerf.settings.schema import Settings
from s3dnerf.video.packs import write_atomic, write_table
from stages import evaluate, report, store, train_s3dnerf, train_sync
from stages.context import Context

Args = argparse.Namespace
METHODS = ("method_a", "method_b", "method_c")
SETTLE_S = 2.5  # longer than the inventory distrusts the times of files that were just written


def settings(folder: Path) -> Settings:
    """Those of ``scale_steps``, with other methods' videos and what this machine has of judges: none."""
    chosen = scale_steps.settings(folder)
    evaluated = replace(chosen.evaluate, methods=str(folder / "methods"), judge="trained", lpips="off", identity="off")
    return replace(chosen, evaluate=evaluated, report=replace(chosen.report, people=False))


def raw_files(folder: Path, args: Args) -> dict[str, Any]:
    """The corpora."""
    made = make_whole(folder / "raw", args.share)
    time.sleep(SETTLE_S)
    return made


def fingerprints(folder: Path, args: Args) -> dict[str, Any]:
    """The plans of both trainings: who trains, who is held out, and the fingerprint of all their data."""
    chosen = settings(folder)
    jobs: list[Any] = [train_sync.plan(Context(chosen, "train_sync"), role) for role in train_sync.CORPORA]
    return {"jobs": len(jobs + train_s3dnerf.plan(Context(chosen, "train_s3dnerf")))}


def evaluate_plan(folder: Path, args: Args) -> dict[str, Any]:
    """The evaluation's plan with a video of each method of every test clip."""
    chosen = settings(folder)
    records = evaluate.measured_records(chosen, [])
    for method in METHODS:
        for record in records:
            path = folder / "methods" / method / record["corpus"].upper() / f"{record['clip']}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{method} {record['clip']}".encode())
    begun, before = time.perf_counter(), scale_steps.cpu_seconds()
    videos = find_methods(chosen.evaluate.methods)
    jobs = evaluate.plan(chosen, videos)
    cost = {"plan_s": time.perf_counter() - begun, "plan_cpu_s": scale_steps.cpu_seconds() - before}
    if any(len(job.methods) != len(METHODS) or job.wrong is None for job in jobs):
        raise RuntimeError("a test clip without a method's video, or without another speaker's speech")
    return {"clips": len(jobs), "videos": len(videos), **cost}


def evaluate_rows(folder: Path, args: Args) -> dict[str, Any]:
    """Stands in for measuring: ``evaluate``'s out with drawn numbers for every test clip, method and metric."""
    chosen, random = settings(folder), np.random.default_rng(0)
    out, recipes = chosen.data_dir / "evaluate", Tools(faces=None).recipes()  # type: ignore[arg-type]
    names = sorted([evaluate.OURS, evaluate.WRONG, evaluate.STILL, evaluate.TRUTH, *METHODS])
    records = evaluate.measured_records(chosen, [])
    rows = [
        {
            **{"clip": record["clip"], "corpus": record["corpus"], "speaker": record["speaker"], "method": method},
            **{"metric": recipe.name, "value": random.random(), "unit": recipe.unit, "direction": recipe.direction},
            **{"version": recipe.version, "counted": 50, "failed": 0, "reason": ""},
        }
        for record in records
        for method in names
        for recipe in recipes
    ]
    write_table(out / "clips.parquet", rows, COLUMNS)
    ends = {"low": None, "high": None, "perfect": None}
    about: dict[str, Any] = {
        "variants": {evaluate.OURS: "full"},
        "wrong_speech": {r["clip"]: r["clip"] for r in records},
    }
    about |= {"other_methods": list(METHODS), "recipes": [vars(recipe) | ends for recipe in recipes]}
    about["notes"] = {r["clip"]: dict.fromkeys(METHODS, "framed like our clip") for r in records}
    write_atomic(out / "methods.json", json.dumps(about).encode())
    return {"clips": len(records), "table_rows": len(rows)}


def sheets(folder: Path, args: Args) -> dict[str, Any]:
    """What the contact sheets choose from: every corpus opened, its stopped clips and those to be ranked."""
    chosen, ranked = settings(folder), 0
    for name in CORPORA:
        corpus = Preprocessed(chosen, name)
        came = set(corpus.clips("resample"))
        by_hash((row["clip"] for row in corpus.stopped if row["clip"] in came), MOST_RANKED)
        ranked += sum(len(by_hash(corpus.clips(stage), MOST_RANKED)) for stage in SHEETS)
    return {"ranked": ranked}


def run_report(folder: Path, args: Args) -> dict[str, Any]:
    """The report."""
    chosen = settings(folder)
    report.main(Context(chosen, "report"))
    files = {path.name: path.stat().st_size for path in (folder / "reports/mini").iterdir()}
    facts = json.loads((folder / "reports/mini/report.json").read_text())["membership_table"]
    largest = sorted(files, key=lambda name: -files[name])[:4]
    return {
        "rows": facts["rows"],
        "table_bytes": facts["bytes"],
        "report_bytes": sum(files.values()),
        "largest": {name: files[name] for name in largest},
    }


def audit(folder: Path, args: Args, whole: bool = True) -> dict[str, Any]:
    """The auditor's rules over the report's files, with or without the membership table."""
    found = verify(folder_report(folder / "reports/mini", folder if whole else None), experiment(settings(folder)))
    wrong = [str(finding) for finding in found if not finding.passed]
    return {"failed": wrong, "not_checked_in_full": [finding.rule for finding in found if finding.unchecked]}


def survey(folder: Path, args: Args) -> dict[str, Any]:
    """``s3dnerf store``: what use each entry of the store has."""
    entries = store.survey(settings(folder))
    states = sorted({entry.state for entry in entries})
    return {"entries": len(entries), "states": {s: sum(e.state == s for e in entries) for s in states}}


STEPS: dict[str, Callable[[Path, Args], dict[str, Any]]] = {
    "raw files": raw_files,
    "inventory": scale_steps.run_inventory,
    "probe": scale_steps.probe,
    "ingest": scale_steps.run_ingest,
    "packs": scale_steps.packs,
    "packs again": scale_steps.packs,
    "planning": scale_steps.planning,
    "fingerprints": fingerprints,
    "evaluate plan": evaluate_plan,
    "evaluate rows": evaluate_rows,
    "sheets": sheets,
    "report": run_report,
    "audit": audit,
    "audit without the table": functools.partial(audit, whole=False),
    "store survey": survey,
}


def main() -> None:
    """Run one step and print what it measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--share", type=float, required=True)
    parser.add_argument("--probe", type=int, default=120)
    args = parser.parse_args()
    folder = args.folder.resolve()
    os.chdir(folder)
    begun, before = time.perf_counter(), scale_steps.cpu_seconds()
    counted = STEPS[args.step](folder, args)
    seconds = time.perf_counter() - begun
    cpu, peak = scale_steps.cpu_seconds() - before, peak_memory_mb()
    print(json.dumps({"seconds": seconds, "cpu_s": cpu, "peak_mb": peak, **counted}))


if __name__ == "__main__":
    main()
