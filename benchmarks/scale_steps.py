"""The steps of ``benchmarks/scale.py``, each in a process of its own so that its peak memory is its own.

    python -m benchmarks.scale_steps STEP --folder DIR [--probe N] [--clips N]

Works in DIR (raw files in ``raw/``, outs in ``data/mini/``, pack store in ``.packs/``) with the stages' own code. The
one thing that stands in is what a pack stage does to a clip: parts of the right kinds, :data:`PART_BYTES` long, instead
of minutes of face detection. Prints one line of JSON: wall and CPU seconds of the step, this process's peak memory, and
what the step counted.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.peak_memory import peak_memory_mb
from benchmarks.scale_raw import CORPORA, FOLDERS, add_utterance
from s3dnerf.settings.loading import settings_from
from s3dnerf.settings.schema import Settings
from s3dnerf.training.clips import ClipFolder
from s3dnerf.video.packs import CorpusPacks, write_atomic
from stages import ingest
from stages.content_store import STORE
from stages.context import Context
from stages.preprocessing import ClipResult, PackJob, plan

# the parts that each pack stage stores of a clip
KINDS = {
    "resample": ("frames.npy", "wav"),
    "align": ("mp4", "landmarks.npy", "matrix.npy", "scores.npy"),
    "masks": ("coefficients.npy", "world_to_camera.npy", "intrinsics.npy", "box.npy", "raw_camera.npy", "mask.npy"),
    "lips": ("lip_box.npy", "boxes.npy", "crop_boxes.npy"),
    "speech": ("tokens.npy", "mel.npy"),
}
# the earlier stage whose index each job of a stage opens
OPENED_BY = {"align": "resample", "masks": "align", "lips": "align", "speech": "resample"}
PART_BYTES = 256
WORKERS = 2
READS = 2000


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(
        u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def settings(folder: Path) -> Settings:
    """Backends without weight files, packs and clips of the size the full corpora have."""
    raw = {corpus: str(folder / "raw" / name) for corpus, name in FOLDERS.items()}
    return settings_from(
        {
            "preset": "mini",
            "raw": raw | {"portraits": None},
            "ingest": {"mead_split": "identity"},
            "align": {"backend": "dlib", "model_dir": None},
            "masks": {"backend": "fitted", "network": None, "morphable_model": None},
            "speech": {"backend": "logmel", "model": None},
        }
    )


def context(chosen: Settings, stage: str) -> Context:
    """A run of a stage that says nothing."""
    return Context(settings=chosen, stage=stage)


def stand_in(job: PackJob) -> Iterator[ClipResult]:
    """What a pack stage hands over, without its work: it opens its input's index as the stages do, and gives small
    parts.
    """
    if job.stage in OPENED_BY:
        CorpusPacks(job.upstream[OPENED_BY[job.stage]], job.pack).read(
            job.clips[0]["clip"], KINDS[OPENED_BY[job.stage]][0]
        )
    for record in job.clips:
        filler = (record["clip"] * PART_BYTES)[:PART_BYTES].encode()
        yield ClipResult(
            record["clip"],
            {kind: np.frombuffer(filler, np.uint8) if kind.endswith("npy") else filler for kind in KINDS[job.stage]},
        )


def run_stage(chosen: Settings, stage: str) -> dict[str, Any]:
    """One pack stage over a fresh out folder, as DVC hands it over. Returns its counts, summed over the corpora."""
    module = importlib.import_module(f"stages.{stage}")
    vars(module)["process"] = stand_in
    shutil.rmtree(chosen.data_dir / stage, ignore_errors=True)
    counts = module.main(context(chosen, stage)).values()
    return {name: sum(row[name] for row in counts) for name in ("clips", "packs", "made", "quarantined")}


def run_inventory(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The inventory."""
    return importlib.import_module("stages.inventory").main(context(settings(folder), "inventory"))


def probe(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """What opening a video costs, here and in a pool of two; then the facts of all files, so that ingest finds them
    known.

    Files of a corpus differ in their serial number alone, so what was found of those opened holds for the others; that
    it is the same for every file opened is checked.
    """
    chosen = settings(folder)
    table = pd.read_parquet(chosen.data_dir / "inventory" / "files.parquet")
    table = table[table["path"].str.endswith(".mp4")]
    files = [
        (corpus, str(folder / "raw" / FOLDERS[corpus] / path), sha)
        for corpus, path, sha in zip(table["corpus"], table["path"], table["sha256"])
    ]
    step = max(1, len(files) // args.probe)
    opened = [file for corpus in CORPORA for file in [f for f in files if f[0] == corpus][::step]]
    np.random.default_rng(0).shuffle(opened)
    half = len(opened) // 2
    found: dict[str, dict[str, Any]] = {}
    begun, cpu_before = time.perf_counter(), cpu_seconds()
    found.update(ingest.probe_files(ingest.ProbeJob(tuple((path, sha) for _, path, sha in opened[:half]))))
    alone_s = time.perf_counter() - begun
    alone_cpu_s = cpu_seconds() - cpu_before
    jobs = [
        ingest.ProbeJob(tuple((path, sha) for _, path, sha in opened[i : i + 32])) for i in range(half, len(opened), 32)
    ]
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(abs, range(WORKERS)))
        list(pool.map(ingest.facts_of, [opened[0][1]] * WORKERS))  # the workers' imports are no cost of a file
        begun = time.perf_counter()
        for rows in pool.map(ingest.probe_files, jobs):
            found.update(rows)
        pooled_s = time.perf_counter() - begun
    typical: dict[str, dict[str, Any]] = {}
    for corpus, _, sha in opened:
        if typical.setdefault(corpus, found[sha]) != found[sha]:
            raise RuntimeError(f"{corpus}: files that hold the same picture gave {typical[corpus]} and {found[sha]}")
    known = {sha: found.get(sha) or typical[corpus] for corpus, _, sha in files}
    store = STORE / "ingest" / f"{chosen.preset}.json"
    write_atomic(store, json.dumps({"code": ingest.probe_version(chosen), "facts": known}).encode())
    return {
        "videos": len(files),
        "opened": len(opened),
        "ms_a_file": 1000 * alone_s / half,
        "cpu_ms_a_file": 1000 * alone_cpu_s / half,
        "ms_a_file_two_processes": 1000 * pooled_s / (len(opened) - half),
    }


def run_ingest(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Ingest with every video's facts known."""
    counts = ingest.main(context(settings(folder), "ingest")).values()
    return {name: sum(row[name] for row in counts) for name in ("files", "clips", "excluded", "packs")}


def packs(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The five pack stages: seconds of each, and what they counted."""
    seconds, counts = {}, {}
    for stage in KINDS:
        begun = time.perf_counter()
        counts[stage] = run_stage(settings(folder), stage)
        seconds[stage] = round(time.perf_counter() - begun, 2)
    totals = {name: sum(row[name] for row in counts.values()) for name in ("packs", "made", "quarantined")}
    return {**totals, "seconds_a_stage": seconds, "made_a_stage": {stage: row["made"] for stage, row in counts.items()}}


def planning(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The plans of the five pack stages alone: which packs there are and the key of each."""
    seconds, jobs = {}, 0
    for stage in KINDS:
        begun = time.perf_counter()
        spec = importlib.import_module(f"stages.{stage}").SPEC
        jobs += sum(len(plan(spec, settings(folder), corpus)) for corpus in CORPORA)
        seconds[stage] = round(time.perf_counter() - begun, 2)
    return {"packs": jobs, "seconds_a_stage": seconds}


def index(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """CPU time in which a pack job finds its clips in LRS2's index of the stage before: the rows of its pack, against
    the whole index.
    """
    data = settings(folder).data_dir
    rows, whole_ms, pack_ms = {}, {}, {}
    for stage in sorted(set(OPENED_BY.values())):
        names = sorted(path.stem for path in (data / stage / "lrs2").glob("*.tar"))
        names = names[:: max(1, len(names) // 20)]
        begun = cpu_seconds()
        whole = CorpusPacks(data / stage / "lrs2")
        whole.read(whole.clips[0], KINDS[stage][0])
        whole_ms[stage], rows[stage] = 1000 * (cpu_seconds() - begun), len(whole.index)
        begun = cpu_seconds()
        for name in names:
            one = CorpusPacks(data / stage / "lrs2", name)
            one.read(one.clips[0], KINDS[stage][0])
        pack_ms[stage] = 1000 * (cpu_seconds() - begun) / len(names)
    return {"opened_by": OPENED_BY, "rows": rows, "whole_ms": whole_ms, "pack_ms": pack_ms}


def training(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The clips of all corpora opened as training opens them, and parts of random clips read."""
    begun = time.perf_counter()
    folders = [ClipFolder(settings(folder).data_dir, corpus) for corpus in CORPORA]
    opened_s = time.perf_counter() - begun
    lrs2 = max(folders, key=lambda f: len(f.records))
    lrs2.packs["align"].read(lrs2.records[0]["clip"], "landmarks.npy")
    chosen = np.random.default_rng(0).integers(0, len(lrs2.records), READS)
    begun = time.perf_counter()
    for number in chosen:
        lrs2.packs["align"].read(lrs2.records[number]["clip"], "landmarks.npy")
    read_s = time.perf_counter() - begun
    return {"clips": sum(len(f.records) for f in folders), "open_s": opened_s, "ms_a_read": 1000 * read_s / READS}


def add(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """One more utterance among the raw files."""
    add_utterance(folder / "raw", args.clips)
    return {}


STEPS: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "inventory": run_inventory,
    "probe": probe,
    "ingest": run_ingest,
    "packs": packs,
    "planning": planning,
    "index": index,
    "training": training,
    "add": add,
}


def main() -> None:
    """Run one step and print what it measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--probe", type=int, default=4000)
    parser.add_argument("--clips", type=int, default=150_000)
    args = parser.parse_args()
    folder = args.folder.resolve()
    os.chdir(folder)
    begun, before = time.perf_counter(), cpu_seconds()
    counted = STEPS[args.step](folder, args)
    seconds = time.perf_counter() - begun
    cpu, peak = cpu_seconds() - before, peak_memory_mb()
    print(json.dumps({"seconds": seconds, "cpu_s": cpu, "peak_mb": peak, **counted}))


if __name__ == "__main__":
    main()
