"""What Prefect costs a stage: `dvc repro` of the preset tiny with the prefect runner against the inline runner (the
baseline), same run.

    python -m benchmarks.runners [--rounds 3]

Works on a fresh clone of HEAD in a temporary folder, no Prefect server configured. A first run fills the pack store and
the checkpoints; then each round runs the whole graph again with `dvc repro --force`, once a runner, so that the
difference is the runners'. MLflow is off in both. Writes benchmarks/results/runners.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.record import origin, write
from flows.run import STAGES

ROOT = Path(__file__).resolve().parent.parent


def repro(folder: Path, runner: str, *words: str) -> float:
    """Seconds that one ``dvc repro`` took. Raises CalledProcessError with what it printed when it fails."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "S3DNERF"))}
    environment = clean | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "S3DNERF_RUNNER": runner,
        "S3DNERF_TRACKING": "off",
    }
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "dvc", "repro", *words],
        cwd=folder,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.monotonic() - begun


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        subprocess.run(
            [sys.executable, "-m", "flows.cli", "preset", "tiny"], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        repro(folder, "inline")
        seconds: dict[str, list[float]] = {"inline": [], "prefect": []}
        for _ in range(rounds):
            for runner in seconds:
                seconds[runner].append(round(repro(folder, runner, "--force"), 2))
    stages = len(STAGES) + 1  # train_sync runs twice
    means = {runner: sum(s) / len(s) for runner, s in seconds.items()}
    result = {
        **origin(f"python -m benchmarks.runners --rounds {rounds}", "git", "hardware"),
        "stages": stages,
        "seconds_a_repro": seconds,
        "ratio_prefect_to_inline": round(means["prefect"] / means["inline"], 3),
        "extra_seconds_a_stage": round((means["prefect"] - means["inline"]) / stages, 2),
    }
    print(write("runners", result))


if __name__ == "__main__":
    main()
