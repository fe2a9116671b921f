"""The Prefect flow ``retrain``, which ``prefect.yaml`` and ``s3dnerf retrain --cron`` deploy. See :mod:`flows.retrain`.

Its tasks are the steps of a retraining, each with retries and a time-out of its own. Its run fails when retraining did,
and is cancelled when another was at work; its artifact ``retrain`` says how it went, and its log is what retraining and
dvc logged. That there are never two at once is the file lock's doing, not Prefect's limit: see ``prefect.yaml``.

Where to send the outcome is a secret: the Prefect Secret block named by ``webhook_secret``, else the environment
variable ``S3DNERF_WEBHOOK``.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from flows.log_setup import configure_logging
from flows.retrain import steps
from flows.retrain.once import Steps, retrain_once
from flows.retrain.outcome import BUSY, FAILED, WEBHOOK
from flows.retrain.plan import REPRO_HOURS
from flows.server import configure
from s3dnerf.core.errors import SettingsError

# nobody watches this flow but by its log, which holds our loggers' lines as well
for _name, _value in {
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_LOGGING_TO_API_ENABLED": "true",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,stages,s3dnerf",
}.items():
    os.environ.setdefault(_name, _value)
configure()

from prefect import flow, task  # noqa: E402 - prefect reads its settings when it is imported
from prefect.artifacts import create_markdown_artifact  # noqa: E402
from prefect.blocks.system import Secret  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.settings import get_current_settings  # noqa: E402
from prefect.states import Cancelled, Completed, Failed, State  # noqa: E402

logger = logging.getLogger(__name__)

SECRET = "s3dnerf-retrain-webhook"  # noqa: S105 - the name of the block that holds it
RETRY_DELAY_S = 60
MARGIN_S = 60  # Prefect's time-outs come after a step's own, which says more
SHORT_S = 3600  # of the steps that neither fetch nor train
COMPARED = 4  # earlier generators that compare may have to measure again, each in the hours of a repro


def may_pass(task: Any, run: Any, state: State) -> bool:
    """Whether a step that failed is worth another try: not where the settings are wrong, or where time ran out."""
    try:
        state.result()
    except (SettingsError, TimeoutError):
        return False
    except Exception as fault:
        return "took longer than" not in str(fault)
    return False


def prefect_steps(hours: float) -> Steps:
    """The steps of a retraining as Prefect tasks.

    ``commit`` and ``promote`` are not tried again: the one would leave a second branch, the other a second version.
    """

    def step(function: Any, seconds: float, retries: int) -> Any:
        return task(
            name=function.__name__,
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=retries,
            retry_delay_seconds=RETRY_DELAY_S,
            retry_condition_fn=may_pass,
            timeout_seconds=seconds,
        )(function)

    return Steps(
        prepare=step(steps.prepare, SHORT_S, 0),
        pull=step(steps.pull, steps.TRANSFER_HOURS * 3600 + MARGIN_S, 2),
        repro=step(steps.repro, (hours + steps.TRANSFER_HOURS) * 3600 + MARGIN_S, 1),
        compare=step(steps.compare, COMPARED * hours * 3600 + SHORT_S, 2),
        commit=step(steps.commit, SHORT_S, 0),
        push=step(steps.push, steps.TRANSFER_HOURS * 3600 + MARGIN_S, 2),
        publish=step(steps.publish, SHORT_S, 0),
        promote=step(steps.promote, SHORT_S, 0),
    )


def webhook_address(webhook_secret: str) -> str | None:
    """The address to notify: the Secret block's, else the environment's, else None. Only the block's absence is
    expected; another fault of Prefect's is logged.
    """
    try:
        return str(Secret.load(webhook_secret).get())  # type: ignore[union-attr]  # called outside of a coroutine
    except ValueError:  # there is no block of this name
        pass
    except Exception as fault:  # the webhook is not worth a night's training
        logger.warning(f"the Secret block {webhook_secret} could not be read: {type(fault).__name__}")
    return os.environ.get(WEBHOOK) or None


@flow(name="retrain")
def retrain(
    repository: str = ".",
    margins: dict[str, float] | None = None,
    hours: float = REPRO_HOURS,
    webhook_secret: str = SECRET,
    branch: str = "",
    reference: str = "",
    rescore: bool = False,
) -> State:
    """Retrain the repository at ``repository`` once. The run's state is named as it went: Promoted, Kept, Nothing new,
    Failed, Busy.

    ``hours``: the most that ``dvc repro`` may take. ``webhook_secret``: the Secret block with the webhook's address.
    The others: :class:`flows.retrain.plan.Options`.
    """
    configure_logging()
    address, do = webhook_address(webhook_secret), prefect_steps(hours)
    outcome = retrain_once(Path(repository), margins, address, hours, do, branch, reference, rescore)
    create_markdown_artifact(outcome.markdown(), key="retrain", description=f"{outcome.preset}: {outcome.status}")
    ended = {FAILED: Failed, BUSY: Cancelled}.get(outcome.status, Completed)
    return ended(name=outcome.status.capitalize(), message="\n".join(outcome.lines))


def serve(parameters: dict[str, Any], cron: str, webhook: str | None) -> None:
    """Serve the flow on a schedule from this process until it is stopped. Raises SettingsError where no server is
    named.

    Without one Prefect would wait for ever: its own throw-away server schedules nothing. ``webhook`` is kept in the
    Secret block, not among the deployment's parameters, which everybody sees.
    """
    url = get_current_settings().api.url
    if not url:
        message = "--cron needs a Prefect server, which keeps the schedule: none is named"
        raise SettingsError(
            f"{message}; start one with `prefect server start` and set PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    if webhook:
        Secret(value=SecretStr(webhook)).save(SECRET, overwrite=True)
    logger.info(f"serving retrain/nightly ({cron}) by the server at {url}; Ctrl-C ends it")
    retrain.serve(name="nightly", cron=cron, parameters=parameters)
