"""How near the tests of learning come to their bounds, over seeds and over what the processor can do.

    python -m benchmarks.margins [--seeds 6] [--only test_train_sync,test_judge] [--settings default,avx2,avx512]

Every :class:`tests.margins.Margin` in a test module is measured with seeds 0 … N - 1 and with the test's own, in a
process of its own for each setting of :data:`SETTINGS`. A setting holds torch's own kernels, oneDNN's and OpenBLAS's to
one instruction set, so that one machine computes with the digits of others; what a machine lacks is left out and named.
Prints the table; writes benchmarks/results/margins.json unless only some tests or settings were asked for. Exits with 1
when a number was out of its bounds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.record import origin, write
from tests.margins import SHARED, Margin

ROOT = Path(__file__).resolve().parent.parent
# names of oneDNN (oneapi-src.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html); an unknown one is ignored
SETTINGS = {
    "default": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "OPENBLAS_CORETYPE": "Nehalem"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell"},
    "avx512": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "OPENBLAS_CORETYPE": "SkylakeX"},
}


def margins(only: list[str]) -> list[tuple[str, Margin]]:
    """(test file, margin) of every test module that has one and whose file name holds one of the words ``only``."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "Margin(" not in path.read_text(encoding="utf-8") or not any(word in path.name for word in only):
            continue
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        held = {id(value): value for value in vars(module).values() if isinstance(value, Margin)}
        found += [(str(path.relative_to(ROOT)), margin) for margin in held.values()]
    return found


def measure_here(seeds: int, only: list[str]) -> None:
    """In the process of one setting: print each measurement as a line of JSON, first what torch found it can do."""
    import torch

    torch.set_num_threads(1)
    print(json.dumps({"capability": torch.backends.cpu.get_cpu_capability().lower()}), flush=True)
    chosen = margins(only)
    for seed in sorted(set(range(seeds)) | {margin.seed for _, margin in chosen}):
        for file, margin in chosen:
            if margin.needs_real_data and (seed != margin.seed or not (SHARED / "corpora").is_dir()):
                continue
            if seed >= seeds and seed != margin.seed:
                continue
            with tempfile.TemporaryDirectory() as folder:
                numbers = margin.measure(seed, Path(folder))
            margin_of = {"file": file, "test": margin.test, "seed": seed}
            print(
                json.dumps({**margin_of, "numbers": {name: float(value) for name, value in numbers.items()}}),
                flush=True,
            )


def measure(setting: str, seeds: int, only: list[str]) -> list[dict[str, Any]] | None:
    """The measurements of one setting, None where this processor cannot do it."""
    command = [sys.executable, "-m", "benchmarks.margins", "--here", "--seeds", str(seeds), "--only", ",".join(only)]
    environment = {**os.environ, **SETTINGS[setting], "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if lines[0]["capability"] != setting:
        return None
    return [{**line, "setting": setting} for line in lines[1:]]


def rows_of(measured: list[dict[str, Any]], only: list[str]) -> list[dict[str, Any]]:
    """A row a number: bounds, least, median and greatest value, the least room to a bound and where that was."""
    rows = []
    for file, margin in margins(only):
        mine = [m for m in measured if (m["file"], m["test"]) == (file, margin.test)]
        for name, bound in margin.bounds.items():
            values = [(m["numbers"][name], m) for m in mine]
            if not values:
                continue
            worst, at = min(values, key=lambda pair: bound.room(pair[0]))
            numbers = [value for value, _ in values]
            of_setting: dict[str, list[float]] = {}
            for value, m in values:
                of_setting.setdefault(m["setting"], []).append(value)
            rows.append(
                {
                    "test": f"{file}::{margin.test}",
                    "what": name,
                    "bound": str(bound),
                    "least": min(numbers),
                    "median": statistics.median(numbers),
                    "greatest": max(numbers),
                    "room": bound.room(worst),
                    "worst_at": {"seed": at["seed"], "setting": at["setting"], "value": worst},
                    "measured": len(numbers),
                    "by_setting": {setting: [min(found), max(found)] for setting, found in of_setting.items()},
                }
            )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| test | what | bound | least | median | greatest | least room |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        numbers = " | ".join(f"{row[key]:.3g}" for key in ("least", "median", "greatest", "room"))
        lines.append(f"| `{row['test'].removeprefix('tests/')}` | {row['what']} | {row['bound']} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    """Measure every setting one after another, print the table, write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6, help="seeds 0 … N - 1, and each test's own")
    parser.add_argument(
        "--only", default="", help="only test files whose names hold one of these words, divided by commas"
    )
    parser.add_argument("--settings", default=",".join(SETTINGS), help="some of them, divided by commas")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    only = args.only.split(",")
    if args.here:
        measure_here(args.seeds, only)
        return
    measured: list[dict[str, Any]] = []
    lacking, seconds = [], {}
    for setting in args.settings.split(","):
        begun, found = time.monotonic(), measure(setting, args.seeds, only)
        seconds[setting] = round(time.monotonic() - begun)
        if found is None:
            lacking.append(setting)
        measured += found or []
    rows = rows_of(measured, only)
    print(table(rows))
    print(f"settings that this processor lacks: {', '.join(lacking) or 'none'}")
    if args.only == "" and args.settings == ",".join(SETTINGS):
        result = {
            **origin("python -m benchmarks.margins " + " ".join(sys.argv[1:]), "git", "hardware"),
            "seeds": args.seeds,
            "settings": {name: SETTINGS[name] for name in SETTINGS if name not in lacking},
            "lacking": lacking,
            "seconds": seconds,
            "numbers": rows,
        }
        write("margins", result)
    sys.exit(any(row["room"] < 0 for row in rows))


if __name__ == "__main__":
    main()
