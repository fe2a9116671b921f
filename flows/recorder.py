"""One stage as one flow run in Prefect, written by a thread of its own while the stage works.

The run's tags name preset, stage and git revision; it holds the stage's log lines, its progress, its key numbers and
the clips that it could not use, and belongs to the run of the whole ``dvc repro`` (``flows/server.py``). Log lines and
progress are sent in batches every few seconds, so that a pack costs Prefect nothing.

Recording never fails a stage and never holds it up: what goes wrong is said in one line, and the stage goes on.
"""

from __future__ import annotations

import datetime
import logging
import threading
import time
from collections import deque
from typing import Any

from flows import artifacts
from flows.prefect_api import PrefectApi
from flows.provenance import git_state
from flows.server import joined

logger = logging.getLogger(__name__)

LOGGERS = ("flows", "stages", "s3dnerf", "__main__")
EVERY_S = 2.0  # between two batches
BATCH_LINES = 200  # Prefect takes about a megabyte a request
LINE_LENGTH = 4000
MOST_WAITING_LINES = 20_000
# a stage may end before the server of its dvc has started, which takes up to flows.server.START_TIMEOUT_S
END_TIMEOUT_S, INTERRUPTED_TIMEOUT_S = 120.0, 3.0


class _Lines(logging.Handler):
    """Keeps the lines of this program's loggers until the recorder fetches them."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: deque[dict[str, Any]] = deque(maxlen=MOST_WAITING_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record)
        except (TypeError, ValueError):  # the console's handler shows a line whose arguments do not fit
            return
        self.add(record.name, record.levelno, message, record.created)

    def add(self, name: str, level: int, message: str, created: float) -> None:
        at = datetime.datetime.fromtimestamp(created, datetime.UTC).isoformat()
        self.waiting.append({"name": name, "level": level, "message": message[:LINE_LENGTH] or " ", "timestamp": at})


class Recorder:
    """The flow run of one stage. :meth:`begin` at its start, :meth:`end` in any case.

    Parameters
    ----------
    preset, stage, part : str
        What runs; ``part`` may be empty.
    parameters : dict
        Shown as the flow run's parameters; must be JSON.
    """

    def __init__(self, preset: str, stage: str, part: str = "", parameters: dict[str, Any] | None = None) -> None:
        self.preset, self.stage, self.part = preset, stage, part
        self.parameters = {"preset": preset, "part": part} | (parameters or {})
        self.begun = time.time()
        self._lines = _Lines()
        self._artifacts: deque[dict[str, Any]] = deque()
        self._progress: tuple[str, int, int] | None = None
        self._progress_sent: tuple[str, int, int] | None = None
        self._progress_id = ""
        self._final = ("COMPLETED", "")
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write, name="prefect-recorder", daemon=True)

    def key(self, what: str) -> str:
        """The key of one of this stage's artifacts."""
        return artifacts.artifact_key(self.preset, self.stage, self.part, what)

    def begin(self) -> None:
        """Start recording; returns at once."""
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self._lines)
        self._thread.start()

    def progress(self, title: str, done: int, total: int) -> None:
        """How far the stage is; the last call before a batch counts."""
        self._progress = (title, done, total)

    def artifact(self, artifact: dict[str, Any]) -> None:
        """Add an artifact (see :mod:`flows.artifacts`)."""
        self._artifacts.append(artifact)

    def end(self, kind: str, message: str = "") -> None:
        """Send what is left and the last state: COMPLETED, FAILED, CANCELLED. Waits for it, but not for ever."""
        if message:
            level = logging.INFO if kind == "COMPLETED" else logging.ERROR
            self._lines.add(f"stages.{self.stage}", level, message, time.time())
        self._stop_listening()
        self._final = (kind, message[:LINE_LENGTH])
        self._ending.set()
        limit_s = INTERRUPTED_TIMEOUT_S if kind == "CANCELLED" else END_TIMEOUT_S
        self._thread.join(limit_s)
        if self._thread.is_alive():
            logger.warning(f"Prefect has no record of the end of {self.stage}: no answer within {limit_s:g} s")

    def _stop_listening(self) -> None:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self._lines)

    def _write(self) -> None:
        try:
            git = git_state()
            revision = str(git["revision"] or "none")[:12] + ("-changed" if git["dirty"] else "")
            tags = [f"preset:{self.preset}", f"stage:{self.stage}", f"git:{revision}"]
            api, parent = joined([tags[0], tags[2]])
            name = f"{self.preset} {self.part}".strip()
            run = api.create_flow_run(self.stage, name, tags, self.parameters, parent)
            api.set_state(run, "RUNNING")
            while not self._ending.wait(EVERY_S):
                self._send(api, run)
            self._send(api, run)
            api.set_state(run, *self._final)
        except Exception as fault:  # whatever it is: the stage's own end is what counts
            self._stop_listening()
            logger.warning(f"Prefect's record of {self.stage} is not whole, the stage is: {fault}")

    def _send(self, api: PrefectApi, run: str) -> None:
        lines = self._lines.waiting
        while lines:
            batch = [lines.popleft() | {"flow_run_id": run} for _ in range(min(len(lines), BATCH_LINES))]
            api.create_logs(batch)
        latest = self._progress
        if latest is not None and latest != self._progress_sent:
            artifact = artifacts.progress(self.key("progress"), *latest)
            if self._progress_id:
                api.update_artifact(self._progress_id, {k: artifact[k] for k in ("data", "description")})
            else:
                self._progress_id = api.create_artifact(run, artifact)
            self._progress_sent = latest
        while self._artifacts:
            api.create_artifact(run, self._artifacts.popleft())
