"""What a training longer than the demo's reached: a finished report, kept as numbers beside the code.

    make train-sample && python -m benchmarks.trained train_sample
    s3dnerf preset mini && dvc repro && python -m benchmarks.trained mini

Reads ``reports/<preset>/`` and ``data/<preset>/`` of the settings in force. Writes
``benchmarks/results/trained_<name>.json``: what differs from the preset, the networks, each row with its interval, the
differences from the controls with p (sign flips of whole speakers) before and after Holm's correction, where speech
moves the face, the training's curves, and how long the stages took. Pictures of people stay in the report and in
``data/``: the corpora do not pass them on.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.record import origin, write
from s3dnerf.settings.dotted import differing
from s3dnerf.settings.loading import as_dict, load_settings, preset_settings
from s3dnerf.training.curves import read_curves

KEPT = ("mean", "low", "high", "clips", "speakers", "frames", "frames_failed")
POINTS = 20  # of a curve
TESTED = ("mean", "low", "high", "p", "p_holm", "speakers", "verdict")


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _rows(found: dict[str, dict[str, dict[str, Any]]], keys: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Method or difference → metric → the kept numbers, or the reason why there is none."""
    return {
        name: {
            m: {k: v[k] for k in keys if k in v} if v["mean"] is not None else v["reason"] for m, v in metrics.items()
        }
        for name, metrics in found.items()
    }


def _curves(path: Path) -> dict[str, list[float]]:
    """Term → its mean over each of ``POINTS`` equal parts of the training; ``step``: the last of each part."""
    rows = read_curves(path)
    edges = [len(rows) * i // POINTS for i in range(POINTS + 1)]
    parts = [rows[a:b] for a, b in pairwise(edges) if b > a]
    terms = sorted({name for row in rows for name in row} - {"step"})
    found = {"step": [float(part[-1]["step"]) for part in parts]}
    for term in terms:
        values = [[row[term] for row in part if term in row] for part in parts]
        found[term] = [round(sum(v) / len(v), 6) if v else float("nan") for v in values]
    return {term: values for term, values in found.items() if all(v == v for v in values)}


def main() -> None:
    """Gather and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="of the result: benchmarks/results/trained_<name>.json")
    name = parser.parse_args().name
    settings = load_settings()
    report, data = Path("reports") / settings.preset, settings.data_dir
    summary, said, times = (_json(report / f"{part}.json") for part in ("summary", "report", "timings"))
    changed = differing(as_dict(preset_settings(settings.preset)), said["settings"])
    result = {
        **origin(f"python -m benchmarks.trained {name}", "git", "hardware"),
        "preset": settings.preset,
        "changed": {key: now for key, (_, now) in changed.items()},
        "says": said["says"],
        "networks": {
            role: {
                "accuracy": card["held_out"]["accuracy"],
                "low": card["held_out"]["low"],
                "high": card["held_out"]["high"],
            }
            | {"gate": card["gate"], "passes": card["passes"], "offset_frames": card["offset_frames"]}
            for role, card in ((role, _json(data / "train_sync" / role / "card.json")) for role in ("expert", "judge"))
        },
        "rows": {corpus: _rows(part["methods"], KEPT) for corpus, part in summary["corpora"].items()},
        "differences": {corpus: _rows(part["differences"], TESTED) for corpus, part in summary["corpora"].items()},
        "curves": {v: _curves(data / "train_s3dnerf" / v / "curves.jsonl") for v in settings.train.variants},
        "region_ratios": _json(data / "evaluate" / "region_ratios.json"),
        "seconds": {stage: part["seconds"] for stage, part in times.items() if "seconds" in part},
    }
    print(write(f"trained_{name}", result))


if __name__ == "__main__":
    main()
