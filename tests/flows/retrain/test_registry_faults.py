"""The registry fails in odd ways while a retraining is under way: nothing is promoted, or it is said."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2

from flows.champion import PromotionUnclear, Registry
from flows.mlflow_client import TrackingClient
from flows.retrain.once import retrain_once
from flows.retrain.outcome import FAILED, PROMOTED
from flows.retrain.worktree import PLACE
from tests.flows.retrain.played import Played, champion, worse


def test_a_registry_that_fails_at_the_last_act_leaves_the_champion(
    repository: Path, dvc: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    retrain_once(repository)
    dvc.weights = b"second"

    def gone(self: Registry, *given: object) -> None:
        raise OSError("the server is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "promote", gone)
        assert retrain_once(repository).status == FAILED
    assert champion(repository).version == "1"
    assert (
        retrain_once(repository).status == PROMOTED
        and champion(repository).generator_sha256 == sha256(b"second").hexdigest()
    )


class _Client:
    """An MLflow client of which one method fails as a server with a fault does."""

    def __init__(self, real: object, method: str, code: int) -> None:
        self._real, self._method, self._code = real, method, code

    def __getattr__(self, name: str):
        if name == self._method:

            def fails(*words: object, **more: object) -> None:
                raise MlflowException("the database is out of reach", error_code=self._code)

            return fails
        return getattr(self._real, name)


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("get_registered_model", databricks_pb2.INVALID_PARAMETER_VALUE),
        ("get_model_version", databricks_pb2.RESOURCE_DOES_NOT_EXIST),
        ("create_run", databricks_pb2.INTERNAL_ERROR),
        ("create_model_version", databricks_pb2.INTERNAL_ERROR),
        ("set_registered_model_alias", databricks_pb2.TEMPORARILY_UNAVAILABLE),
    ],
)
def test_an_odd_error_of_the_registry_promotes_nothing(
    repository: Path, dvc: Played, monkeypatch: pytest.MonkeyPatch, method: str, code: int
) -> None:
    retrain_once(repository)
    dvc.weights, dvc.rows = b"second", worse("m_lmd", -0.2)
    original = TrackingClient.__init__

    def begin(self: TrackingClient, uri: str) -> None:
        original(self, uri)
        self.client = _Client(self.client, method, code)

    with monkeypatch.context() as patch:
        patch.setattr(TrackingClient, "__init__", begin)
        outcome = retrain_once(repository)
    assert outcome.status == FAILED and "the database is out of reach" in outcome.lines[0]
    assert champion(repository).version == "1"


def test_an_answer_lost_at_the_last_act_is_asked_for_again_or_said(
    repository: Path, dvc: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    retrain_once(repository)
    registry = Registry("tiny", f"sqlite:///{repository / 'mlflow.db'}")
    second = registry.register(repository / PLACE / "data/tiny/train_s3dnerf/full", "b" * 40, "second")
    real = registry.tracking.client.set_registered_model_alias

    def done_and_lost(*words: str) -> None:
        real(*words)
        raise MlflowException("connection reset")

    monkeypatch.setattr(registry.tracking.client, "set_registered_model_alias", done_and_lost)
    registry.promote(second)
    assert champion(repository) == second
    registry.tracking.client = _Client(registry.tracking.client, "get_registered_model", databricks_pb2.INTERNAL_ERROR)
    with pytest.raises(PromotionUnclear, match="version 2 of s3dnerf-tiny became the champion is not known"):
        registry.promote(second)


def test_an_alias_given_by_hand_to_a_foreign_version_is_said(repository: Path, dvc: Played) -> None:
    client = Registry("tiny", f"sqlite:///{repository / 'mlflow.db'}").tracking.client
    client.create_registered_model("s3dnerf-tiny")
    client.create_model_version("s3dnerf-tiny", "/somewhere")
    client.set_registered_model_alias("s3dnerf-tiny", "champion", "1")
    outcome = retrain_once(repository)
    assert (
        outcome.status == FAILED
        and "version 1 carries the alias champion and no tag 'report_commit'" in outcome.lines[0]
    )


def test_a_model_without_the_alias_has_no_champion(repository: Path, dvc: Played) -> None:
    retrain_once(repository)
    Registry("tiny", f"sqlite:///{repository / 'mlflow.db'}").tracking.client.delete_registered_model_alias(
        "s3dnerf-tiny", "champion"
    )
    assert champion(repository) is None
