"""The champion: which trained generator is in use, in MLflow's model registry, alias ``champion``.

A registered version carries tags that lead back to git, which is the record: ``report_commit`` (the commit whose ``reports/<preset>``
measured it) and ``generator_sha256``. Setting the alias is the one act that promotes; everything before it changes nothing for anybody.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3dnerf.video.packs import file_sha256

ALIAS = "champion"


@dataclass(frozen=True)
class Champion:
    """A registered version of a preset's generator."""

    version: str
    report_commit: str
    generator_sha256: str


class Registry:
    """The registered models of one preset. ``uri``: an MLflow server, or ``sqlite:///…/mlflow.db``."""

    def __init__(self, preset: str, uri: str, artifacts: Path | None = None) -> None:
        for name, value in (("MLFLOW_DISABLE_TELEMETRY", "true"), ("MLFLOW_LOGGING_LEVEL", "ERROR"), ("GIT_PYTHON_REFRESH", "quiet")):
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        self.client: Any = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.name, self.preset, self.artifacts = f"s3dnerf-{preset}", preset, artifacts

    def champion(self) -> Champion | None:
        """The version that carries the alias, or None before the first."""
        from mlflow.exceptions import MlflowException

        try:
            version = self.client.get_model_version_by_alias(self.name, ALIAS)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None  # no such model yet, or nobody carries the alias
            raise
        return Champion(str(version.version), version.tags["report_commit"], version.tags["generator_sha256"])

    def register(self, model: Path, report_commit: str, described: str) -> Champion:
        """Register a generator's folder (generator.safetensors, card.json) as a new version that nobody uses yet."""
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(f"{self.preset} retrain")
        place = self.artifacts.resolve().as_uri() if self.artifacts is not None else None
        number = (
            experiment.experiment_id if experiment else self.client.create_experiment(f"{self.preset} retrain", artifact_location=place)
        )
        tags = {"report_commit": report_commit, "generator_sha256": file_sha256(model / "generator.safetensors")}
        run = self.client.create_run(number, run_name=f"retrain {report_commit[:12]}", tags=tags)
        for name in ("generator.safetensors", "card.json"):
            self.client.log_artifact(run.info.run_id, str(model / name), "model")
        self.client.set_terminated(run.info.run_id)
        try:
            self.client.create_registered_model(self.name, description="S³D-NeRF generators; every video they make is synthetic")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{run.info.artifact_uri}/model"
        version = self.client.create_model_version(self.name, source, run.info.run_id, tags=tags, description=described)
        return Champion(str(version.version), report_commit, tags["generator_sha256"])

    def promote(self, version: Champion) -> None:
        """Give a version the alias. One write: either it is the champion afterwards or nothing changed."""
        self.client.set_registered_model_alias(self.name, ALIAS, version.version)
