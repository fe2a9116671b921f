"""A stage as a Prefect flow run that is worth looking at: tags, log lines, progress, quarantine, numbers, one parent.

Every stage is a flow run with the tags preset, stage and git revision. Its log lines are sent to it in batches; its
artifacts are a progress bar (while packs are worked on), a table of quarantined clips by reason, and what the stage
returned. All stages of one ``dvc repro`` are sub-flows of one flow run, which ends as the last stage did. Packs are no
task runs: a stage has thousands, and what each became is in its tables.

Prefect only records: where it cannot, the stage says so once and goes on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from filelock import FileLock

from flows.provenance import git_state
from flows.server import HOME, configure, find_or_start, run_owner
from stages.context import Context

log = logging.getLogger(__name__)
PROGRESS_EVERY_S = 3.0
LOGGERS = ("s3dnerf", "stages", "flows")
PARENT = "dvc repro"
EXAMPLES = 3  # clips named for each reason


def quarantined(folder: Path) -> list[dict[str, Any]]:
    """Reasons with counts and a few clips, the most frequent first, of all corpora of a stage's out."""
    import pandas as pd

    tables = [
        pd.read_parquet(path).assign(corpus=path.parent.name) for path in sorted(folder.glob("*/quarantine.parquet"))
    ]
    rows = [row for table in tables for row in table.to_dict("records")]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["corpus"], row["reason"]), []).append(row)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {
            "corpus": corpus,
            "reason": reason,
            "clips": len(group),
            "for example": ", ".join(row["clip"] for row in group[:EXAMPLES]),
            "detail": group[0]["detail"],
        }
        for (corpus, reason), group in ordered
    ]


def as_markdown(stage: str, result: Any, seconds: float) -> str:
    """What a stage returned (plain mappings, at most two deep) as a Markdown document."""
    lines = [f"# {stage}", "", f"{seconds:.1f} s"]
    if isinstance(result, dict):
        tables = {name: value for name, value in result.items() if isinstance(value, dict)}
        plain = {name: value for name, value in result.items() if name not in tables}
        lines += ["", *(f"- {name}: {value}" for name, value in plain.items())]
        columns = list(dict.fromkeys(column for value in tables.values() for column in value))
        if tables:
            lines += ["", f"| | {' | '.join(map(str, columns))} |", f"|---|{'---|' * len(columns)}"]
            lines += [f"| {n} | {' | '.join(str(v.get(c, '')) for c in columns)} |" for n, v in tables.items()]
    return "\n".join(lines) + "\n"


class FlowRun:
    """What Prefect is given of one stage's run. It never raises where Prefect, its server or the network fails."""

    def __init__(self, context: Context, flow: Any) -> None:
        self.context, self.flow = context, flow
        revision = git_state()["revision"]
        self.tags = [context.settings.preset, context.stage, *([revision[:12]] if revision else [])]
        self._bar: Any = None
        self._shown_s, self._complained = 0.0, False
        self._parent: tuple[UUID, UUID] | None = (
            None  # flow run of the whole dvc repro, and the place of this stage in it
        )

    @contextlib.contextmanager
    def _recording(self) -> Iterator[None]:
        try:
            yield
        except Exception as fault:  # Prefect, httpx, pydantic and the network raise many kinds
            if not self._complained:
                self._complained = True
                print(f"Prefect did not take a record ({str(fault)[:200]}); the stage goes on", flush=True)

    def progress(self, done: int, total: int) -> None:
        """Show how many packs are done, every few seconds, and at the end."""
        now = time.monotonic()
        if now - self._shown_s < PROGRESS_EVERY_S and done < total:
            return
        self._shown_s = now
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        with self._recording():
            share = 100.0 * done / max(total, 1)
            if self._bar is None:
                self._bar = create_progress_artifact(share, description=f"{self.context.stage}: packs done")
            else:
                update_progress_artifact(self._bar, share)

    def _artifacts(self, result: Any, seconds: float) -> None:
        from prefect.artifacts import create_markdown_artifact, create_table_artifact

        context = self.context
        key = context.stage.replace("_", "-")
        with self._recording():
            create_markdown_artifact(
                as_markdown(context.stage, result, seconds), key=key, description=" ".join(self.tags)
            )
            rows = quarantined(context.out())
            if rows:
                create_table_artifact(rows, key=f"{key}-quarantine", description="clips that cannot be used, by reason")

    def _begin(self) -> Any:
        """The flow run of this stage, below that of the whole ``dvc repro``; None: without a parent."""
        owner = run_owner()
        if owner is None:
            return None
        from prefect.client.orchestration import get_client
        from prefect.states import Pending, Running
        from prefect.tasks import Task

        stage = f"{self.context.stage} {self.context.part}".strip()
        with self._recording(), get_client(sync_client=True) as client:
            parent = parent_run(client, owner, self.tags[::2])
            client.set_flow_run_state(parent, Running(), force=True)
            place = client.create_task_run(
                Task(fn=_stage, name=stage), parent, dynamic_key=stage, name=stage, state=Running()
            )
            self._parent = parent, place.id
            ours: dict[str, Any] = {
                "name": self._name(),
                "state": Pending(),
                "parent_task_run_id": place.id,
                "tags": self.tags,
            }
            return client.create_flow_run(self.flow, parameters={}, **ours)
        return None

    def _end(self, fault: BaseException | None) -> None:
        if self._parent is None:
            return
        from prefect.client.orchestration import get_client
        from prefect.states import Completed, Failed

        parent, place = self._parent
        stage = f"{self.context.stage} {self.context.part}".strip()
        state: Any = Completed(message=f"last stage: {stage}")
        if fault is not None:
            state = Failed(message=f"{stage}: {str(fault)[:500]}")
        with self._recording(), get_client(sync_client=True) as client:
            client.set_task_run_state(place, state, force=True)
            client.set_flow_run_state(parent, state, force=True)

    def _name(self) -> str:
        return f"{self.context.settings.preset} {self.context.part}".strip()

    def run(self, main: Callable[[Context], Any]) -> Any:
        """Run the stage's ``main`` as the flow run. Raises what it raises."""
        from prefect import tags
        from prefect.flow_engine import run_flow

        begun = time.monotonic()

        def body() -> Any:
            with lines_sent():
                result = main(self.context)
                self._artifacts(result, time.monotonic() - begun)
                return result

        self.flow.fn = body
        flow_run, fault = self._begin(), None
        try:
            with tags(*self.tags):
                return run_flow(self.flow, flow_run=flow_run, parameters={})
        except BaseException as error:
            fault = error
            raise
        finally:
            self._end(fault)


def _stage() -> None:
    """What stands for a stage in the flow run of a whole ``dvc repro``."""


def parent_run(client: Any, owner: str, tags: list[str], home: Path = HOME) -> UUID:
    """The flow run of the ``dvc`` that this process works for, made by the first of its stages."""
    from prefect import flow
    from prefect.states import Running

    note = home / f"run-{owner}.json"
    home.mkdir(exist_ok=True)
    with FileLock(home / "run.lock"):
        if note.is_file():
            return UUID(json.loads(note.read_text())["id"])
        whole = client.create_flow_run(
            flow(name=PARENT)(_stage), parameters={}, name=" ".join(tags), state=Running(), tags=tags
        )
        part = note.with_suffix(".part")
        part.write_text(json.dumps({"id": str(whole.id)}))
        os.replace(part, note)
        return whole.id


@contextlib.contextmanager
def lines_sent() -> Iterator[None]:
    """Send what our loggers log meanwhile to the flow run that is being run, in batches from a thread of Prefect's."""
    from prefect.logging.handlers import APILogHandler

    handler = APILogHandler()
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(handler)
        handler.flush()


@contextlib.contextmanager
def recorded(context: Context) -> Iterator[FlowRun]:
    """A flow run for a stage, with a server of this run where the user names none (:mod:`flows.server`)."""
    configure()
    url = find_or_start()
    if url:
        os.environ["PREFECT_API_URL"] = url
    from prefect import flow

    name = f"{context.settings.preset} {context.part}".strip()
    as_flow = flow(name=context.stage, flow_run_name=name, persist_result=False, validate_parameters=False)
    yield FlowRun(context, as_flow(_stage))
