"""MLflow's tracking database or server: where it is, a client for it, its experiments, its faults as one kind of error.

``MLFLOW_TRACKING_URI`` names a server; otherwise it is ``mlflow.db`` (SQLite) in the repository, with its files in
``mlartifacts/`` beside it, also for what runs in another folder. mlflow is imported where something is recorded or
registered, never before; only ``flows/pyfunc_model.py``, which MLflow itself runs, has it at the top.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from flows.mlflow_files import FOLDER, follow_folder
from flows.proxies import spare_loopback
from flows.sqlite_urls import SQLITE, sqlite_url
from s3dnerf.core.errors import S3DNeRFError

# few retries: a stage must not wait for minutes for a server that only mirrors it
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",  # seconds, of each try
    "GIT_PYTHON_REFRESH": "quiet",
}

# where MLflow's own first experiment, which nobody uses, would keep files: its database is begun with this name in an
# SQL text of MLflow's making, which a folder's quotes break where it is not an address (3.17.2)
DEFAULT_ROOT = "_MLFLOW_SERVER_ARTIFACT_ROOT"
LOCK_WAIT_S = 300.0  # while another process makes or migrates the database


class MlflowError(S3DNeRFError, RuntimeError):
    """MLflow did not do what it was asked; the message says what it said. ``code``: MLflow's own, empty where it has
    none.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def tracking_uri(repository: Path = Path(), seen_from: Path = Path()) -> str:
    """Where a repository's runs are tracked: the server that the environment names, else its own database, as processes
    in the folder ``seen_from`` name it.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_url(repository / "mlflow.db", seen_from)


class TrackingClient:
    """A client of the database or server at ``uri`` (made where it is a database that is not there). A database that
    came with a moved or copied folder is made to name its files there.

    Raises MlflowError when it cannot be reached.
    """

    def __init__(self, uri: str) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        spare_loopback()
        self.uri = uri
        database = Path(uri.removeprefix(SQLITE)).resolve() if uri.startswith(SQLITE) else None
        self.artifacts = None if database is None else (database.parent / FOLDER).as_uri()
        if database is not None:
            os.environ[DEFAULT_ROOT] = (database.parent / "mlruns").as_uri()
        with self.asked():
            from mlflow import MlflowClient

            if database is None:
                self.client: Any = MlflowClient(tracking_uri=uri, registry_uri=uri)
                return
            try:  # a database is created once, before anything runs side by side
                with FileLock(f"{database}.lock", timeout=LOCK_WAIT_S):
                    follow_folder(database)
                    self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            except Timeout:
                raise MlflowError(
                    f"MLflow: {database}.lock was held for {LOCK_WAIT_S:g} s: end what holds it"
                ) from None

    @contextmanager
    def asked(self) -> Iterator[None]:
        """What MLflow, its database or the network raise inside, as MlflowError."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except MlflowException as error:
            raise MlflowError(f"MLflow: {error.error_code}: {str(error)[:300]}", error.error_code) from error
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise MlflowError(f"MLflow: {type(error).__name__}: {str(error)[:300]}") from error

    def experiment(self, name: str) -> str:
        """The id of the experiment ``name``, made where there is none (also when another makes it at the same
        moment).
        """
        with self.asked():
            found = self.client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        try:
            with self.asked():
                return self.client.create_experiment(name, artifact_location=self.artifacts)
        except MlflowError as error:
            if error.code != "RESOURCE_ALREADY_EXISTS":
                raise
        with self.asked():
            return self.client.get_experiment_by_name(name).experiment_id
