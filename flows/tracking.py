"""The MLflow tracker: mirrors what a stage records. The system of record is git, ``dvc.lock`` and ``reports/``.

:mod:`flows.mlflow_client` says where it is kept. ``S3DNERF_TRACKING=off`` switches it off, and everything else works as
before. One experiment a preset, one run a stage (and part): its settings as parameters, its curves, the data it reads
with DVC's hashes, its files.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.mlflow_client import MlflowError, TrackingClient, tracking_uri
from s3dnerf.settings.dotted import flat
from s3dnerf.settings.loading import as_dict
from s3dnerf.settings.schema import Settings

logger = logging.getLogger(__name__)

POLL_S = 2.0
BATCH = 500
LONGEST_PARAM, LONGEST_DIGEST = 6000, 36  # characters that MLflow takes


def wanted() -> bool:
    """Whether runs are mirrored to MLflow."""
    value = os.environ.get("S3DNERF_TRACKING", "mlflow")
    if value not in ("mlflow", "off"):
        raise ValueError(f"S3DNERF_TRACKING: got {value!r} — accepted: mlflow, off")
    return value == "mlflow"


class MlflowTracker:
    """One MLflow run of one stage; use as a context manager. Failing to mirror never fails a stage: it says so once."""

    def __init__(
        self, settings: Settings, stage: str, part: str, revision: str | None, datasets: Mapping[str, str]
    ) -> None:
        """``datasets``: path → hash, as ``dvc.lock`` has it, of the data that the stage reads."""
        self._stop, self._followers = threading.Event(), list[threading.Thread]()
        self._complained, self.run_id = False, ""
        try:
            self._begin(settings, stage, part, revision, datasets)
        except MlflowError as error:
            self._complain(error)

    def _begin(
        self, settings: Settings, stage: str, part: str, revision: str | None, datasets: Mapping[str, str]
    ) -> None:
        self.tracking = TrackingClient(tracking_uri())
        experiment, client = self.tracking.experiment(settings.preset), self.tracking.client
        with self.tracking.asked():
            from mlflow.entities import Dataset, DatasetInput, InputTag, Param

            tags = {"stage": stage, "part": part, "git": revision or "none"}
            run_id = client.create_run(experiment, run_name=f"{stage} {part}".strip(), tags=tags).info.run_id
            rows = [Param(k, str(v)[:LONGEST_PARAM]) for k, v in sorted(flat(as_dict(settings)).items())]
            for at in range(0, len(rows), 100):
                client.log_batch(run_id, params=rows[at : at + 100])
            used = [InputTag("mlflow.data.context", "training" if stage.startswith("train") else "evaluation")]
            root = f"{settings.data_dir.as_posix()}/"
            given = [
                DatasetInput(
                    Dataset(
                        path.removeprefix(root), md5[:LONGEST_DIGEST], "dvc", json.dumps({"path": path, "md5": md5})
                    ),
                    used,
                )
                for path, md5 in sorted(datasets.items())
            ]
            if given:
                client.log_inputs(run_id, datasets=given)
        self.run_id = run_id

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            logger.warning(
                f"MLflow did not take a record ({str(error)[:200]}); the run goes on, its curves are in data/"
            )

    def _record(self, method: str, **values: Any) -> None:
        """Call a method of MLflow's client for this run."""
        if not self.run_id:  # there is no run: that was said when it began
            return
        try:
            with self.tracking.asked():
                getattr(self.tracking.client, method)(self.run_id, **values)
        except MlflowError as error:
            self._complain(error)

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Record numbers at a step."""
        self._log([{"step": step, **values}])

    def _log(self, rows: list[dict[str, float]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, float(value), now, int(row["step"]))
            for row in rows
            for name, value in row.items()
            if name != "step" and isinstance(value, (int, float))
        ]
        for at in range(0, len(metrics), BATCH):
            self._record("log_batch", metrics=metrics[at : at + BATCH])

    def artifact(self, path: Path) -> None:
        """Record a file."""
        self._record("log_artifact", local_path=str(path))

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
        self._stop.set()
        for thread in self._followers:
            thread.join(timeout=60)
        self._record("set_terminated", status="FAILED" if error else "FINISHED")
