"""The whole graph at preset ``paper``, every backend real and at full size, on a few real clips: does it run, and in
how much memory?

    python -m benchmarks.paper_path [--corpora DIR] [--weights DIR] [--work DIR] [--stop STAGE] [--batch N]

Works on a copy of the working tree in a temporary folder (``--work`` keeps it, and a second call goes on there
after the last whole stage). Weight files are made by :mod:`benchmarks.random_weights`: official layouts, full size,
random values, so no number of the report means anything, and its first line says so. The detector is a real SCRFD in
``--weights``. CPU alone. What differs from the preset: :func:`changes`.

Each stage is one ``dvc repro --single-item``. Of each: wall seconds (indicative: other work may share the machine) and
the largest proportional set size of its processes together. Writes benchmarks/results/paper_path.json;
``not_run`` there names the stages after ``--stop``.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.preprocess import watched_memory
from benchmarks.random_weights import DETECTOR, make_all
from benchmarks.record import origin, write
from flows.code_copies import clean_environment, copy_working_tree, without_results
from flows.git_calls import git_text
from flows.run import STAGES as ALL_STAGES
from s3dnerf.video.packs import write_atomic

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
TEST_PERSON = "May"
HDTF = ("EX_FAzSK8PLmGI_000", "EX_May_000", "EX_Segment_000", "EX_FeiFeiLi_002")
LRS2 = ("1/00001", "3/00004", "5/00008", "9/00022")  # folder's last digits, and the clip's name
# of a stage that DVC knows as several
PARTS = {"train_sync": ("train_sync_expert", "train_sync_judge"), "train_s3dnerf": ("train_s3dnerf@full",)}
STAGES = tuple(name for stage in ALL_STAGES for name in PARTS.get(stage, (stage,)))
STEPS = 2


def changes(batch: int = 8) -> list[str]:
    """What differs from the preset ``paper``, as ``s3dnerf preset --change`` takes it."""
    short = [f"{name}={STEPS}" for name in ("train.steps", "sync.steps", "sync.judge_steps", "sync.eval_every")]
    return [
        *short,
        f"sync.checkpoint_every={STEPS}",
        f"train.checkpoint_every={STEPS}",
        f"train.strip_every={STEPS}",
        "sync.eval_trials=10",
        # the least that is accepted: an expert after two steps guesses
        "sync.gate=0.5",
        "train.processes=1",
        # one sample at a time: less memory, the same step
        f"train.batch={batch}",
        f"train.accumulate={batch}",
        "evaluate.protocol=custom",
        "evaluate.clip_s=0.8",
        "evaluate.max_clips_per_speaker=1",
        f"ingest.hdtf_test_speakers=[{TEST_PERSON}]",
        "speech.model=weights/wav2vec2-base-960h",
    ]


def take_clips(corpora: Path, raw: Path) -> None:
    """A handful of clips in the corpora's own layouts. Raises FileNotFoundError where one of them is not there."""
    taken = [f"HDTF/clips/{name}.mp4" for name in HDTF] + ["HDTF/HDTF_dataset", "MEAD"]
    for name in LRS2:
        folder, clip = name.split("/")
        taken += [f"LRS2/mvlrs_v1/main/{int(folder):019d}/{clip}.{ending}" for ending in ("mp4", "txt")]
    for name in taken:
        source, target = corpora / name, raw / name
        if not source.exists():
            raise FileNotFoundError(f"{source}: no such file — expected the sample clips of --corpora")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
    for name in ("train", "val", "test"):  # LRS2's lists, of the clips taken alone
        lines = (corpora / "LRS2" / "mvlrs_v1" / f"{name}.txt").read_text().splitlines(keepends=True)
        kept = [line for line in lines if (raw / "LRS2/mvlrs_v1/main" / f"{line.split()[0]}.mp4").is_file()]
        (raw / "LRS2" / "mvlrs_v1" / f"{name}.txt").write_text("".join(kept))


class PaperRun:
    """A copy of the working tree in ``folder/project`` with its own data, weights and environment variables."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.environment = clean_environment(
            DVC_SITE_CACHE_DIR=str(folder / "dvc" / "site"),
            DVC_GLOBAL_CONFIG_DIR=str(folder / "dvc" / "global"),
            DVC_SYSTEM_CONFIG_DIR=str(folder / "dvc" / "system"),
            DVC_NO_ANALYTICS="1",
            CUDA_VISIBLE_DEVICES="",
        )

    def prepare(self) -> None:
        """Copy the code and begin a git history, as DVC wants one."""
        self.folder.mkdir(parents=True)
        copy_working_tree(ROOT, self.folder)
        without_results(self.folder)
        git_text(self.folder, "add", "-A")
        who = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
        git_text(self.folder, *who, "commit", "-qm", "the code under test")

    def call(self, *words: str) -> dict[str, float]:
        """``python -m …`` in the copy: seconds and the peak of memory. Raises SystemExit with what was printed where it
        fails.
        """
        begun = time.perf_counter()
        with watched_memory() as memory:
            done = subprocess.run(
                [sys.executable, "-m", *words],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} ended with status {done.returncode}:\n{done.stdout[-6000:]}")
        return {"seconds": round(time.perf_counter() - begun, 1), "peak_bytes": memory["bytes"]}


def trained(data: Path) -> dict[str, dict[str, int]]:
    """Parameters and bytes of what the trainings left: networks and checkpoints, each safetensors file."""
    from safetensors import safe_open

    found = {}
    for path in sorted(data.glob("train_*/**/*.safetensors")):
        with safe_open(str(path), "numpy") as held:
            numbers = sum(math.prod(held.get_slice(name).get_shape()) for name in held.keys())  # noqa: SIM118
        found[path.relative_to(data).as_posix()] = {"parameters": numbers, "bytes": path.stat().st_size}
    return found


def first_line(report: str) -> str:
    """The first sentence of a report after its title."""
    return next(line for line in report.splitlines() if line.startswith("> ")).strip("> *")


def table(result: dict[str, Any]) -> str:
    """The result for a person."""
    lines = [f"{'weights':<44}{'parameters':>14}{'bytes':>14}"]
    for group in ("weights", "trained"):
        lines += [f"{n:<44}{f['parameters']:>14,}{f['bytes']:>14,}" for n, f in result.get(group, {}).items()]
    lines += ["", f"{'stage':<44}{'seconds':>14}{'peak MB':>14}"]
    lines += [f"{n:<44}{f['seconds']:>14,.1f}{f['peak_bytes'] / 1e6:>14,.0f}" for n, f in result["stages"].items()]
    missing = f"not run: {', '.join(result['not_run'])}" if result["not_run"] else ""
    return "\n".join([*lines, "", missing, result.get("report", "")]).strip()


def run(folder: Path, corpora: Path, detector: Path, stop: str, batch: int = 8) -> dict[str, Any]:
    """Weights, clips and every stage in turn. Returns the result."""
    work = PaperRun(folder)
    store = folder / "measured.json"
    if store.is_file():
        found = json.loads(store.read_text(encoding="utf-8"))
        found["calls"] += 1
    else:
        work.prepare()
        take_clips(corpora, work.folder / "raw")
        found = {"weights": make_all(work.folder / "weights", detector), "stages": {}}
        found |= {"changes": changes(batch), "calls": 1}
        work.call("flows.cli", "preset", "paper", "--change", *found["changes"])
    weights, stages = found["weights"], found["stages"]
    for stage in STAGES:
        if stage not in stages:
            stages[stage] = work.call("dvc", "repro", "--single-item", stage)
            write_atomic(store, json.dumps(found).encode())
            print(f"{stage}: {stages[stage]}", flush=True)
        if stage == stop:
            break
    result: dict[str, Any] = {
        "calls": found["calls"],
        "changes": found["changes"],
        "weights": weights,
        "stages": stages,
    }
    result["not_run"] = [stage for stage in STAGES if stage not in stages]
    result["trained"] = trained(work.folder / "data" / "paper")
    kept = sorted((work.folder / ".checkpoints").glob("*/*/checkpoint.pt"), key=lambda path: path.stat().st_mtime)
    # in the order of the trainings
    result["checkpoints"] = [{"stage": p.parent.parent.name, "bytes": p.stat().st_size} for p in kept]
    report = work.folder / "reports" / "paper" / "report.md"
    if report.is_file():
        result["report"] = first_line(report.read_text(encoding="utf-8"))
    return result


def main() -> None:
    """Run it and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpora", type=Path, default=SHARED / "corpora", help="folder with HDTF, LRS2 and MEAD")
    parser.add_argument("--weights", type=Path, default=SHARED / "weights", help=f"folder with {DETECTOR}")
    parser.add_argument("--work", type=Path, help="folder of the run, kept; default: a temporary one")
    parser.add_argument("--stop", default="report", choices=STAGES, help="last stage to run")
    parser.add_argument("--batch", type=int, default=8, help="samples a step of the generator; the preset has 8")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="s3dnerf-paper-") as temporary:
        folder = (given.work or Path(temporary)).resolve()
        result = run(folder, given.corpora.resolve(), given.weights.resolve() / DETECTOR, given.stop, given.batch)
    print(table(result))
    command = " ".join(["python -m benchmarks.paper_path", *sys.argv[1:]])
    write("paper_path", {**origin(command, "git", "hardware"), **result})


if __name__ == "__main__":
    main()
