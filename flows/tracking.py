"""The MLflow tracker: mirrors what a stage records. The system of record is git, ``dvc.lock`` and ``reports/``.

``MLFLOW_TRACKING_URI`` names a server; otherwise ``mlflow.db`` (SQLite) in the repository. ``S3DNERF_TRACKING=off``
switches it off, and everything else works as before. One experiment a preset, one run a stage (and part).
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from filelock import FileLock

from s3dnerf.config import Settings, as_dict

POLL_S = 2.0
BATCH = 500


def wanted() -> bool:
    """Whether runs are mirrored to MLflow."""
    value = os.environ.get("S3DNERF_TRACKING", "mlflow")
    if value not in ("mlflow", "off"):
        raise ValueError(f"S3DNERF_TRACKING: got {value!r} — accepted: mlflow, off")
    return value == "mlflow"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": str(value)[:6000]}
    return flat


class MlflowTracker:
    """One MLflow run of one stage; use as a context manager. Failing to mirror never fails a stage: it says so once."""

    def __init__(self, settings: Settings, stage: str, part: str, revision: str | None) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        from mlflow import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
        with FileLock(Path(".locks") / "mlflow.lock"):  # a database is created once, before anything runs side by side
            self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            found = self.client.get_experiment_by_name(settings.preset)
            experiment = (
                found.experiment_id if found else self.client.create_experiment(settings.preset, artifact_location=self._artifacts(uri))
            )
        name = f"{stage} {part}".strip()
        self.run_id = self.client.create_run(
            experiment, run_name=name, tags={"stage": stage, "part": part, "git": revision or "none"}
        ).info.run_id
        from mlflow.entities import Param

        rows = [Param(k, v) for k, v in sorted(_flat(as_dict(settings)).items())]
        for at in range(0, len(rows), 100):
            self.client.log_batch(self.run_id, params=rows[at : at + 100])
        self._stop = threading.Event()
        self._followers: list[threading.Thread] = []
        self._complained = False

    @staticmethod
    def _artifacts(uri: str) -> str | None:
        return None if uri.startswith("http") else Path("mlartifacts").resolve().as_uri()

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            print(
                f"MLflow did not take a record ({type(error).__name__}: {str(error)[:200]}); the run goes on, its curves are in data/",
                flush=True,
            )

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Record numbers at a step."""
        self._log([{"step": step, **values}])

    def _log(self, rows: list[dict[str, float]]) -> None:
        import time

        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, float(value), now, int(row["step"]))
            for row in rows
            for name, value in row.items()
            if name != "step" and isinstance(value, (int, float))
        ]
        try:
            for at in range(0, len(metrics), BATCH):
                self.client.log_batch(self.run_id, metrics=metrics[at : at + BATCH])
        except (MlflowException, OSError) as error:
            self._complain(error)

    def artifact(self, path: Path) -> None:
        """Record a file."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.log_artifact(self.run_id, str(path))
        except (MlflowException, OSError) as error:
            self._complain(error)

    def follow(self, curves: Path) -> None:
        """Mirror a ``curves.jsonl`` from a thread while it grows, and once more at the end."""

        def tail() -> None:
            done = 0
            while True:
                last = self._stop.wait(POLL_S)
                lines = curves.read_text().splitlines(keepends=True) if curves.is_file() else []
                whole = [line for line in lines if line.endswith("\n")]
                if len(whole) < done:  # a resumed run cut the curves back to its checkpoint
                    done = 0
                if whole[done:]:
                    self._log([json.loads(line) for line in whole[done:]])
                    done = len(whole)
                if last:
                    return

        thread = threading.Thread(target=tail, name="curves", daemon=True)
        thread.start()
        self._followers.append(thread)

    def __enter__(self) -> MlflowTracker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        from mlflow.exceptions import MlflowException

        self._stop.set()
        for thread in self._followers:
            thread.join(timeout=60)
        try:
            self.client.set_terminated(self.run_id, "FAILED" if error else "FINISHED")
        except (MlflowException, OSError) as fault:
            self._complain(fault)
