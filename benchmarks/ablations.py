"""What each setting of ours gives: the demo trained without it, at equal steps and at equal time, beside the demo.

    make demo && python -m benchmarks.ablations [NAME …]

Each change of :data:`CHANGES` is made alone to the preset ``sample``, in a copy of the code whose store of packs is
this project's, so that preprocessing is not repeated. A training that takes less time without the setting is given the
steps that fill the time (``--equal-steps`` leaves it at that). Per metric the mean over the ten unseen HDTF people, and
where it differs from the demo the paired difference with p by sign flips of whole speakers, before any correction: of
so many comparisons some are small by chance. ``gap`` is how far right speech lies below wrong speech in M-LMD. Minutes
a change. Writes ``benchmarks/results/ablations.json`` after each change, so that a run may be stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.record import RESULTS, origin, write
from flows.code_copies import clean_environment, copy_working_tree, without_results
from s3dnerf.reporting.statistics import paired_difference
from s3dnerf.settings.loading import preset_settings

ROOT = Path(__file__).resolve().parent.parent
CHANGES: dict[str, tuple[str, ...]] = {
    "the demo": (),
    "no lips told, no mouth painted": ("model.mouth_width=0",),
    "no mean absolute difference at the mouth": ("train.phases.*.mouth=0",),
    "source read in place": ("model.carry_source=false",),
    "no flow beside": ("train.phases.*.flow=0",),
    "frames in a row from the start": ("train.phases.*.frames=consecutive",),
    "plain pixel loss": ("train.lips_pix_weight=1",),
    "all rays": ("train.outside_rays=1",),
    "no adversary": ("train.phases.*.adv=0",),
    "a hundred times the adversary": ("train.phases.1.adv=0.1",),
    "no sync loss": ("train.phases.*.sync=0",),
    "no perceptual loss": ("train.phases.*.per=0",),
    "ten times the perceptual loss": ("train.phases.*.per=0.1",),
    "raw image of 32": ("model.raw_px=32",),
    "painted at 256": ("model.image_px=256",),
    "a calm frame as source": ("evaluate.source_frame=calm",),
    "log-mel": ("speech.backend=logmel", "sync.audio=mel"),
    "an expert that reads the mel": ("sync.audio=mel",),
}
METRICS = (
    "m_lmd", "f_lmd", "ssim", "lpips", "cpbd", "identity", "lse_c", "opening_deviation", "opening_correlation",
    "parallax", "flicker_face", "flicker_background",
)  # fmt: skip
ENOUGH = 1.05  # a training that is this much faster is given more steps


def run(folder: Path, *words: str) -> None:
    """A command of the copy; RuntimeError with its last words where it fails."""
    environment = clean_environment(S3DNERF_TRACKING="off", OMP_NUM_THREADS="1")
    done = subprocess.run([sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}:\n{(done.stdout + done.stderr)[-3000:]}")


def measure(folder: Path, changes: tuple[str, ...]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The report's clips, and what the training and the expert were."""
    run(folder, "flows.cli", "preset", "sample", *(("--change", *changes) if changes else ()))
    run(folder, "dvc", "repro", "report")
    report, data = folder / "reports/sample", folder / "data/sample"
    seconds = json.loads((report / "timings.json").read_text())["stages/train_s3dnerf-full"]["seconds"]
    expert = json.loads((data / "train_sync/expert/card.json").read_text())["held_out"]["accuracy"]
    steps = json.loads((data / "train_s3dnerf/full/card.json").read_text())["steps"]
    clips = pd.read_parquet(report / "clips.parquet")
    return clips[clips["corpus"] == "hdtf"], {"steps": steps, "seconds": seconds, "expert_accuracy": expert}


def values(clips: pd.DataFrame, metric: str, method: str = "s3dnerf") -> dict[str, float]:
    """Clip → value."""
    rows = clips[(clips["metric"] == metric) & (clips["method"] == method)]
    return dict(zip(rows["clip"], rows["value"]))


def compared(clips: pd.DataFrame, demo: pd.DataFrame) -> dict[str, Any]:
    """Metric → mean, and the difference from the demo where there is one."""
    speakers = dict(zip(clips["clip"], clips["speaker"]))
    found: dict[str, Any] = {}
    for metric in METRICS:
        ours = values(clips, metric)
        known = [v for v in ours.values() if v == v]
        found[metric] = {"mean": round(sum(known) / len(known), 4)} if known else {"mean": None}
        apart = paired_difference(ours, values(demo, metric), speakers)
        if apart is not None and clips is not demo:
            found[metric] |= {"less_the_demo": round(apart.mean, 4), "p": round(apart.p, 4)}
    right, wrong = (sum(values(clips, "m_lmd", m).values()) for m in ("s3dnerf", "wrong_speech"))
    return found | {"gap": round(1 - right / wrong, 4)}


def main() -> None:
    """Measure the changes asked for, print a line each, write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="changes to measure, by their names (default: all)")
    parser.add_argument("--equal-steps", action="store_true", help="equal steps alone, whatever the time")
    args = parser.parse_args()
    unknown = set(args.names) - set(CHANGES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: accepted: {', '.join(CHANGES)}")
    store = ROOT / ".packs"
    if not store.is_dir():
        parser.error("no packs here: make demo first")
    path = RESULTS / "ablations.json"
    result = origin("python -m benchmarks.ablations", "git", "hardware") | {"changes": {}}
    if args.names and path.is_file():
        result["changes"] = json.loads(path.read_text())["changes"]
    steps = preset_settings("sample").train.steps
    with tempfile.TemporaryDirectory(prefix="s3dnerf-ablations-") as temporary:
        folder = Path(temporary)
        copy_working_tree(ROOT, folder)
        without_results(folder)
        for name in (".packs", "weights"):
            os.symlink(ROOT / name, folder / name)
        demo, base = measure(folder, ())
        result["changes"]["the demo"] = base | compared(demo, demo)
        for name in args.names or CHANGES:
            changes = CHANGES[name]
            if not changes:
                continue
            clips, training = measure(folder, changes)
            faster = base["seconds"] / training["seconds"]
            found = {"changes": changes, **training, **compared(clips, demo)}
            if faster > ENOUGH and not args.equal_steps:
                longer = round(steps * faster)
                clips, training = measure(folder, (*changes, f"train.steps={longer}"))
                found["at equal time"] = training | compared(clips, demo)
            result["changes"][name] = found
            write("ablations", result)
            print(name, {m: found[m]["mean"] for m in METRICS}, "gap", found["gap"], flush=True)
    print(write("ablations", result))


if __name__ == "__main__":
    main()
