"""The Prefect flow ``retrain``, which ``prefect.yaml`` and ``s3dnerf retrain --cron`` deploy. See :mod:`flows.retrain`.

Its run fails when retraining did, and is cancelled when another was at work; its artifact ``retrain`` says how it went,
and its log is what retraining said. That there are never two at once is the file lock's doing, not Prefect's limit: see
``prefect.yaml``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flows.retrain import BUSY, FAILED, LOGGED, retrain_once
from flows.server import configure
from s3dnerf.core.errors import SettingsError

# a stage is silent to Prefect, since dvc shows it; nobody watches this flow but by its log
for _name, _value in LOGGED.items():
    os.environ.setdefault(_name, _value)
configure()

from prefect import flow  # noqa: E402 - prefect reads its settings when it is imported
from prefect.artifacts import create_markdown_artifact  # noqa: E402
from prefect.settings import get_current_settings  # noqa: E402
from prefect.states import Cancelled, Completed, Failed, State  # noqa: E402


@flow(name="retrain", log_prints=True)
def retrain(repository: str = ".", margins: dict[str, float] | None = None, webhook: str | None = None) -> State:
    """Retrain the repository at ``repository`` once. The run's state is named as it went: Promoted, Kept, Nothing new,
    Failed, Busy.
    """
    outcome = retrain_once(Path(repository), margins, webhook)
    create_markdown_artifact(outcome.markdown(), key="retrain", description=f"{outcome.preset}: {outcome.status}")
    ended = {FAILED: Failed, BUSY: Cancelled}.get(outcome.status, Completed)
    return ended(name=outcome.status.capitalize(), message="\n".join(outcome.lines))


def serve(parameters: dict[str, Any], cron: str) -> None:
    """Serve the flow on a schedule from this process until it is stopped. Raises SettingsError where no server is
    named.

    Without one Prefect would wait for ever: its own throw-away server schedules nothing.
    """
    url = get_current_settings().api.url
    if not url:
        said = "--cron needs a Prefect server, which keeps the schedule: none is named"
        raise SettingsError(
            f"{said}; start one with `prefect server start` and set PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    print(f"serving retrain/nightly ({cron}) by the server at {url}; Ctrl-C ends it", flush=True)
    retrain.serve(name="nightly", cron=cron, parameters=parameters)
