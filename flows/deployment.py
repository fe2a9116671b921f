"""The Prefect flow ``retrain``, which ``prefect.yaml`` and ``s3dnerf retrain --cron`` deploy. See :mod:`flows.retrain`.

Its run fails when retraining did or was turned away; its artifact ``retrain`` says how it went.
"""

from __future__ import annotations

from pathlib import Path

from flows.server import configure

configure()

from prefect import flow  # noqa: E402 - prefect reads its settings when it is imported
from prefect.artifacts import create_markdown_artifact  # noqa: E402

from flows.retrain import BUSY, FAILED, RetrainError, retrain_once  # noqa: E402


@flow(name="retrain", log_prints=True)
def retrain(repository: str = ".", margins: dict[str, float] | None = None, webhook: str | None = None) -> str:
    """Retrain the repository at ``repository`` once. Returns ``promoted``, ``kept`` or ``nothing new``."""
    outcome = retrain_once(Path(repository), margins, webhook)
    create_markdown_artifact(outcome.markdown(), key="retrain", description=f"{outcome.preset}: {outcome.status}")
    if outcome.status in (FAILED, BUSY):
        raise RetrainError(f"{outcome.status}: {outcome.lines[0]}")
    return outcome.status
