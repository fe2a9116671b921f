"""The MLflow tracker: mirrors what a stage records. The system of record is git, ``dvc.lock`` and ``reports/``.

:mod:`flows.mlflow_client` says where it is kept. ``S3DNERF_TRACKING=off`` switches it off, and everything else works as
before. One experiment a preset, one run a stage (and part) below the run of its ``dvc repro``
(:mod:`flows.mlflow_runs`): its settings as parameters, its curves, the data it reads with DVC's hashes, its files, its
versions of git and DVC as tags; for a training, also what the machine does meanwhile (processor, memory, disk, network,
NVIDIA GPUs), every ten seconds, unless ``S3DNERF_SYSTEM_METRICS=off``.
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
from flows.mlflow_runs import FAILED, GOOD, KILLED, PROCESS, Parent, end_forgotten, ended, process_tag, version_tags
from s3dnerf.core.errors import SettingsError
from s3dnerf.settings.dotted import flat
from s3dnerf.settings.loading import as_dict
from s3dnerf.settings.schema import Settings

logger = logging.getLogger(__name__)

POLL_S = 2.0
BATCH = 500
LONGEST_PARAM, LONGEST_DIGEST = 6000, 36  # characters that MLflow takes


def _switch(name: str, on: str) -> bool:
    """Whether an environment variable is ``on``, as where it is not set, and not ``off``. Raises SettingsError for
    another value.
    """
    value = os.environ.get(name, on)
    if value not in (on, "off"):
        raise SettingsError(f"{name}: got {value!r} — accepted: {on}, off")
    return value == on


def wanted() -> bool:
    """Whether runs are mirrored to MLflow. Raises SettingsError."""
    return _switch("S3DNERF_TRACKING", "mlflow")


def system_metrics_wanted() -> bool:
    """Whether a training's run says what the machine does meanwhile. Raises SettingsError."""
    return _switch("S3DNERF_SYSTEM_METRICS", "on")


def dataset_inputs(stage: str, datasets: Mapping[str, str], root: str) -> list[Any]:
    """MLflow's DatasetInputs of the data that a stage reads: the digest is DVC's hash; of clips, their number is the
    profile.

    ``datasets``: path → hash; ``root``: the folder that names are relative to.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    used = [InputTag("mlflow.data.context", "training" if stage.startswith("train") else "evaluation")]
    given = []
    for path, md5 in sorted(datasets.items()):
        source = json.dumps({"path": path, "md5": md5})
        data = Dataset(path.removeprefix(f"{root}/"), md5[:LONGEST_DIGEST], "dvc", source, profile=_profile(Path(path)))
        given.append(DatasetInput(data, used))
    return given


def _profile(path: Path) -> str | None:
    """MLflow's profile of a corpus's folder of clips; None for other data."""
    table = path / "clips.parquet"
    if not table.is_file():
        return None
    from pyarrow import parquet

    return json.dumps({"num_rows": parquet.read_metadata(table).num_rows})


class MlflowTracker:
    """One MLflow run of one stage; use as a context manager. Failing to mirror never fails a stage: it says so once."""

    def __init__(
        self,
        settings: Settings,
        stage: str,
        part: str,
        revision: Mapping[str, Any],
        datasets: Mapping[str, str],
        machine: bool = False,
    ) -> None:
        """``revision``: :func:`flows.provenance.git_state`. ``datasets``: path → hash, as ``dvc.lock`` has it, of the
        data that the stage reads. ``machine``: record what this machine does meanwhile.
        """
        self._stop, self._followers = threading.Event(), list[threading.Thread]()
        self._complained, self.run_id = False, ""
        self._parent: Parent | None = None
        self._monitor: Any = None
        try:
            self._begin(settings, stage, part, revision, datasets)
            if machine:
                self._watch_machine()
        except MlflowError as error:
            self._complain(error)

    def _begin(
        self, settings: Settings, stage: str, part: str, revision: Mapping[str, Any], datasets: Mapping[str, str]
    ) -> None:
        self.tracking = TrackingClient(tracking_uri())
        experiment, client = self.tracking.experiment(settings.preset), self.tracking.client
        end_forgotten(self.tracking, experiment)
        versions, name = version_tags(settings.preset, revision), f"{stage} {part}".strip()
        self._parent = Parent.joined(self.tracking, experiment, versions)
        below = {"mlflow.parentRunId": self._parent.run_id} if self._parent else {}
        with self.tracking.asked():
            from mlflow.entities import Param

            own = {"stage": stage, "part": part, "mlflow.source.name": f"flows.run {name}", PROCESS: process_tag()}
            run_id = client.create_run(experiment, run_name=name, tags=versions | own | below).info.run_id
            self.run_id = run_id
            rows = [Param(k, str(v)[:LONGEST_PARAM]) for k, v in sorted(flat(as_dict(settings)).items())]
            for at in range(0, len(rows), 100):
                client.log_batch(run_id, params=rows[at : at + 100])
            given = dataset_inputs(stage, datasets, settings.data_dir.as_posix())
            if given:
                client.log_inputs(run_id, datasets=given)

    def _watch_machine(self) -> None:
        with self.tracking.asked():
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            self._monitor = SystemMetricsMonitor(self.run_id, tracking_uri=self.tracking.uri)
            self._monitor.start()

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
        if self._monitor is not None:
            self._monitor.finish()
        if not self.run_id:
            return
        status = GOOD if error is None else FAILED if isinstance(error, Exception) else KILLED
        try:
            ended(self.tracking, self.run_id, status, self._parent)
        except MlflowError as lost:
            self._complain(lost)
