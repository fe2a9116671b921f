"""How a retraining ended, and who is notified of it."""

from __future__ import annotations

import dataclasses
import json
import logging
import urllib.error
import urllib.request
from dataclasses import dataclass, field

from flows.proxies import open_url
from s3dnerf.core.errors import S3DNeRFError

logger = logging.getLogger(__name__)

PROMOTED, KEPT, NOTHING_NEW, FAILED, BUSY = "promoted", "kept", "nothing new", "failed", "busy"
WEBHOOK = "S3DNERF_WEBHOOK"  # environment: the address that is notified where none is given
WEBHOOK_TIMEOUT_S = 10


class RetrainError(S3DNeRFError, RuntimeError):
    """Retraining cannot go on; the message says at what and what to do. The champion is as it was."""


@dataclass
class Outcome:
    """How a run ended: ``status``, what people read of it, the report's commit and branch (empty without one)."""

    status: str
    preset: str
    lines: list[str] = field(default_factory=list)
    commit: str = ""
    branch: str = ""

    def markdown(self) -> str:
        """For Prefect's artifact and the branch."""
        where = [f"Report: commit `{self.commit}` on `{self.branch}`"] if self.commit else []
        head = f"# Retraining of {self.preset or 'the repository'}: {self.status}"
        return "\n".join([head, "", *(f"- {line}" for line in [*self.lines, *where])]) + "\n"


def notify(outcome: Outcome, webhook: str | None) -> None:
    """Log how it ended and send it to a webhook (JSON by POST), whose failure is logged and changes nothing."""
    logger.info(f"retraining of {outcome.preset or 'the repository'}: {outcome.status}")
    for line in outcome.lines:
        logger.info(f"  {line}")
    if webhook:
        data = json.dumps(dataclasses.asdict(outcome)).encode()
        try:
            request = urllib.request.Request(webhook, data, {"Content-Type": "application/json"})  # noqa: S310 - the operator's own address
            open_url(request, WEBHOOK_TIMEOUT_S).close()
        except (urllib.error.URLError, OSError, ValueError) as error:
            # the address may hold a token: no message shows it
            logger.warning(f"  the webhook did not take it: {str(error).replace(webhook, 'the address')}")


def exit_status(outcome: Outcome) -> int:
    """0: promoted, kept or nothing new; 1: failed; 3: turned away."""
    return {FAILED: 1, BUSY: 3}.get(outcome.status, 0)
