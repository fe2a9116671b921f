"""What the tests of retraining share: a repository, and ``dvc`` played by a function that leaves what it would leave."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from flows.champion import Registry
from flows.retrain.outcome import RetrainError
from s3dnerf.evaluation.protocol import COLUMNS
from s3dnerf.reporting.report_files import Report
from s3dnerf.settings.loading import as_dict
from tests.fake_preset import settings_of
from tests.reporting.small_report import make_report, rows_of, table


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def worse(metric: str, by: float):
    return rows_of(change=lambda method, name, random: by if (method, name) == ("s3dnerf", metric) else 0.0)


def report_of(rows: list[dict[str, Any]]) -> Report:
    """A report of these rows, which states their metrics."""
    metrics = {r["metric"]: {"name": r["metric"]} | {k: r[k] for k in ("version", "direction")} for r in rows}
    return make_report("made", rows, metrics=list(metrics.values()))


def small_card() -> str:
    """A card.json of a generator whose speech backend needs no weights, with all that registering reads."""
    return json.dumps({"variant": "full", "steps": 4, "seed": 0, "clips": 2, "settings": as_dict(settings_of())})


class Played:
    """What ``dvc`` does in a worktree: leaves a report of ``rows``, weights and a lock; or fails.

    ``fails``: the command that fails, ``times`` times. ``again``: weights → what the stage ``evaluate`` measures of them
    in the second worktree.
    """

    def __init__(self) -> None:
        self.rows, self.weights, self.fails, self.times, self.calls = rows_of(), b"first", "", 10**6, list[str]()
        self.again = dict[bytes, list[dict[str, Any]]]()

    def __call__(self, place: Path, repository: Path, *words: str, hours: float) -> None:
        self.calls.append(words[0])
        if words[0] == self.fails and self.calls.count(words[0]) <= self.times:
            raise RetrainError(f"dvc {words[0]} failed: align: 3 of 4 hdtf clips failed")
        if words[0] == "repro":
            model = place / "data/tiny/train_s3dnerf/full"
            model.mkdir(parents=True, exist_ok=True)
            (model / "generator.safetensors").write_bytes(self.weights)
            (model / "card.json").write_text(small_card())
            (place / "dvc.lock").write_text(f"schema: '2.0'\nstages: {{}}\n# {self.weights.decode()}\n")
            folder = place / "reports/tiny"
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in report_of(self.rows).files.items():
                (folder / name).write_bytes(data)

    def stage(self, place: Path, repository: Path, name: str, hours: float) -> None:
        """The stage ``evaluate`` of the generator that lies in a worktree."""
        data = place / "data/tiny"
        weights = (data / "train_s3dnerf/full/generator.safetensors").read_bytes()
        self.calls.append(f"{name} {weights.decode()}")
        if weights not in self.again:
            raise RetrainError(f"flows.run {name} failed: size mismatch")
        (data / "evaluate").mkdir()
        (data / "evaluate/clips.parquet").write_bytes(table(self.again[weights], COLUMNS))


def champion(repository: Path):
    return Registry("tiny", f"sqlite:///{repository / 'mlflow.db'}").champion()


def state(repository: Path) -> tuple[str, str, str]:
    return (
        git(repository, "rev-parse", "HEAD"),
        git(repository, "status", "--porcelain"),
        git(repository, "branch", "--show-current"),
    )
