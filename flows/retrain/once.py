"""One retraining: its steps in their order, under the lock."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from flows.champion import PromotionUnclear
from flows.git_calls import GitError
from flows.mlflow_client import MlflowError
from flows.retrain import steps
from flows.retrain.judging import checked_margins
from flows.retrain.outcome import BUSY, FAILED, NOTHING_NEW, Outcome, RetrainError, notify
from flows.retrain.plan import REFERENCE, REPRO_HOURS, Options, Plan
from flows.retrain.steps import Verdict
from flows.retrain.worktree import PLACE, alone
from s3dnerf.core.errors import SettingsError
from s3dnerf.reporting.report_files import ReportError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Steps:
    """The steps of a retraining: plain functions, or the Prefect tasks made of them (``flows/deployment.py``)."""

    prepare: Callable[[Path, Options], Plan] = steps.prepare
    pull: Callable[[Plan], None] = steps.pull
    repro: Callable[[Plan], None] = steps.repro
    compare: Callable[[Plan], Verdict] = steps.compare
    commit: Callable[[Plan, Verdict], Verdict] = steps.commit
    push: Callable[[Plan], None] = steps.push
    publish: Callable[[Plan, Verdict], Verdict] = steps.publish
    promote: Callable[[Plan, Verdict], Outcome] = steps.promote


def attempt(repository: Path, options: Options, do: Steps) -> Outcome:
    """One retraining, the lock held. Raises what a step raises; the champion is then as it was."""
    plan = do.prepare(repository, options)
    if plan.remote:
        logger.info("fetching what the remote has")
        do.pull(plan)
    logger.info(f"dvc repro of {plan.branch}, {plan.revision[:12]}, preset {plan.settings.preset}, in {PLACE}")
    do.repro(plan)
    verdict = do.compare(plan)
    if verdict.outcome.status == NOTHING_NEW:
        return verdict.outcome
    verdict = do.commit(plan, verdict)
    if plan.remote:
        logger.info("sending data to the remote")
        do.push(plan)
    verdict = do.publish(plan, verdict)
    return do.promote(plan, verdict)


def retrain_once(
    repository: Path = Path("."),
    margins: Mapping[str, float] | None = None,
    webhook: str | None = None,
    hours: float = REPRO_HOURS,
    do: Steps | None = None,
    branch: str = "",
    reference: str = "",
    rescore: bool = False,
) -> Outcome:
    """One retraining, from the lock to the notice of how it ended. Expected failures are an outcome, never raised.

    Parameters
    ----------
    repository : Path
    margins : mapping, optional
        Metric → share of the better model's value by which it may be worse. Raises SettingsError for an unknown metric.
    webhook : str, optional
        Address that is notified by POST.
    hours : float
        The most that ``dvc repro`` may take, and each measuring of an earlier generator; then it is ended and the run
        fails.
    do : Steps, optional
        The steps, where they are not the plain functions.
    branch, reference, rescore
        As in :class:`flows.retrain.plan.Options`; ``reference`` from the environment where it is empty.
    """
    repository = repository.resolve()
    reference = reference or os.environ.get(REFERENCE, "")
    options = Options(checked_margins(margins), hours, branch, reference, rescore)
    try:
        with alone(repository):
            outcome = attempt(repository, options, do or Steps())
    except Timeout:
        outcome = Outcome(BUSY, "", ["another retraining is running: turned away"])
    except PromotionUnclear as error:
        outcome = Outcome(FAILED, "", str(error).splitlines())
    except (GitError, RetrainError, ReportError, SettingsError, MlflowError, OSError) as error:
        outcome = Outcome(FAILED, "", [*str(error).splitlines(), "the champion is as it was"])
    notify(outcome, webhook)
    return outcome
