"""Kill -9 at random moments of `dvc repro` at the preset tiny: whatever is run again ends with the hashes of a run
never killed.

    python -m benchmarks.kills [--kills 20] [--seed 0] [--span 0.5]

Works on fresh clones of HEAD in a temporary folder. The first is left alone: its hashes are what is expected, its
seconds the measure. In the next, `dvc repro` is started and killed at a moment drawn evenly from 0 to `--span` of those
seconds, started again, killed again, until it comes to its end before its moment; then its hashes are compared and the
next clone is begun, until all kills are spent and the last clone is whole. Drawn with each kill: the runner (inline or
prefect), and what gets the signal: `dvc` alone, whose stage must then end itself, or everything that runs in the folder
at once, as in a power cut. Compared: DVC's hash of every out but the report's, which says when it was made, and the
report's per-clip and summary tables. Where a kill hits dvc while it writes ``dvc.lock``, which it does in place, half a
file is left: it is taken back from git, as our messages say, and counted. Prints a line a kill. Exit status 1 when a
hash differs or something outlived its dvc. Writes benchmarks/results/kills.json.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from benchmarks.record import origin, write
from flows.code_copies import clean_environment, graph_hashes

ROOT = Path(__file__).resolve().parent.parent
QUIET_S = 30.0


def clone(folder: Path, revision: str) -> Path:
    """A fresh clone at a revision with the settings of the preset tiny."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    subprocess.run(["git", "checkout", "-q", revision], cwd=folder, check=True)
    (folder / "dvc.lock").unlink(missing_ok=True)
    subprocess.run(
        [sys.executable, "-m", "flows.cli", "preset", "tiny"], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    return folder


def start(folder: Path, runner: str) -> subprocess.Popen[bytes]:
    """``dvc repro`` in a folder; what it prints goes to the end of ``repro.log`` beside it."""
    environment = clean_environment(S3DNERF_RUNNER=runner, S3DNERF_TRACKING="off")
    with open(folder.with_suffix(".log"), "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"], cwd=folder, env=environment, stdout=log, stderr=log
        )


def running(folder: Path) -> list[psutil.Process]:
    """Whatever runs in a folder, zombies apart."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def stage_now(folder: Path) -> str:
    """The stage that runs in a folder, by its command line; or that dvc is between stages."""
    for process in running(folder):
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if "flows.run" in words:
            return " ".join(words[words.index("flows.run") + 1 :]).replace("--part ", "")
    return "dvc itself"


def strike(folder: Path, process: subprocess.Popen[bytes], everything: bool) -> str:
    """Kill -9. Returns what outlived it, '' where nothing did within QUIET_S."""
    for victim in running(folder) if everything else []:
        try:
            victim.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue
    process.kill()
    process.wait()
    end = time.monotonic() + QUIET_S
    while running(folder) and time.monotonic() < end:
        time.sleep(0.1)
    return ", ".join(" ".join(left.cmdline()[:4]) for left in running(folder))


def half_a_lock(folder: Path) -> bool:
    """Whether a run failed because dvc was killed while it wrote ``dvc.lock``; then the file is taken back from git."""
    said = folder.with_suffix(".log").read_text()[-1000:]
    if "dvc.lock' validation failed" not in said and "dvc.lock' is corrupted" not in said:
        return False
    subprocess.run(["git", "checkout", "--quiet", "dvc.lock"], cwd=folder, check=True)
    return True


def whole(folder: Path, process: subprocess.Popen[bytes]) -> dict[str, str]:
    """Wait for a run to end and read its hashes. Raises RuntimeError with the last of what it printed when it
    failed.
    """
    if process.wait():
        raise RuntimeError(f"dvc repro failed:\n{folder.with_suffix('.log').read_text()[-4000:]}")
    return graph_hashes(folder)


def main() -> int:
    """Measure, print a line a kill, write the result. Returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--span", type=float, default=0.5, help="the latest moment of a kill, as a share of an undisturbed run"
    )
    args = parser.parse_args()
    chance = random.Random(args.seed)
    kills: list[dict[str, Any]] = []
    differing: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        begun = time.monotonic()
        # all of one revision, whatever is committed meanwhile
        revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        folder = clone(Path(place) / "alone", head := revision.stdout.strip())
        expected = whole(folder, start(folder, "inline"))
        whole_s = time.monotonic() - begun
        print(f"left alone: {len(expected)} hashes, {whole_s:.0f} s", flush=True)
        runs = locks = 0
        while len(kills) < args.kills:
            folder, ended = clone(Path(place) / f"killed{runs}", head), False
            while not ended:
                spent = len(kills) == args.kills
                runner, everything, moment_s = (
                    chance.choice(["inline", "prefect"]),
                    chance.random() < 0.5,
                    chance.uniform(0, args.span * whole_s),
                )
                process = start(folder, "inline" if spent else runner)
                try:
                    process.wait(timeout=None if spent else moment_s)
                    ended = not (process.returncode and half_a_lock(folder))
                    locks += not ended
                except subprocess.TimeoutExpired:
                    hit = {
                        "run": runs,
                        "stage": stage_now(folder),
                        "runner": runner,
                        "killed": "everything" if everything else "dvc alone",
                    }
                    hit |= {"after_s": round(moment_s, 2), "left_running": strike(folder, process, everything)}
                    kills.append(hit)
                    print(
                        f"kill {len(kills):2d}: "
                        + ", ".join(f"{name} {value}" for name, value in hit.items() if value != ""),
                        flush=True,
                    )
            found = whole(folder, process)
            wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            differing += [f"run {runs}: {name}" for name in wrong]
            print(
                f"run {runs}: at its end, {len(found) - len(wrong)} of {len(expected)} hashes as expected", flush=True
            )
            runs += 1
    result = {
        **origin(
            f"python -m benchmarks.kills --kills {args.kills} --seed {args.seed} --span {args.span:g}",
            "git",
            "hardware",
        ),
        "seconds_left_alone": round(whole_s, 1),
        "hashes_compared": len(expected),
        "runs": runs,
        "kills": kills,
        "kills_by_stage": dict(sorted(Counter(kill["stage"] for kill in kills).items())),
        "differing": differing,
        "half_written_locks": locks,
        "outlived_their_dvc": sum(bool(kill["left_running"]) for kill in kills),
    }
    write("kills", result)
    left = result["outlived_their_dvc"]
    print(f"{len(kills)} kills in {runs} runs: {len(differing)} hashes differ, {left} times something was left running")
    print(f"{locks} times dvc.lock was half written and taken back from git")
    return 1 if differing or left else 0


if __name__ == "__main__":
    sys.exit(main())
