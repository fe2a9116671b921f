"""What Prefect's own database says of the runs in a project, read after the fact."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any


def _rows(folder: Path, query: str) -> list[dict[str, Any]]:
    with sqlite3.connect(folder / ".prefect" / "prefect.db") as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(query)]


def flow_runs(folder: Path) -> list[dict[str, Any]]:
    """Flow runs in the order of their making: flow, name, tags, state, message, the flow run that they belong to."""
    rows = _rows(
        folder,
        """
        select flow.name as flow, run.id, run.name, run.tags, run.state_type as state, run.parameters,
               state.message as message, parent.id as parent
        from flow_run as run
        join flow on flow.id = run.flow_id
        left join flow_run_state as state on state.id = run.state_id
        left join task_run as link on link.id = run.parent_task_run_id
        left join flow_run as parent on parent.id = link.flow_run_id
        order by run.created
        """,
    )
    return [row | {"tags": json.loads(row["tags"]), "parameters": json.loads(row["parameters"])} for row in rows]


def task_runs(folder: Path) -> list[dict[str, Any]]:
    """Task runs: name and state."""
    return _rows(folder, "select name, state_type as state from task_run order by created")


def log_lines(folder: Path, flow: str) -> list[str]:
    """The log lines of the runs of a flow."""
    query = "select log.message, flow.name as flow from log join flow_run on flow_run.id = log.flow_run_id "
    rows = _rows(folder, query + "join flow on flow.id = flow_run.flow_id order by log.timestamp")
    return [row["message"] for row in rows if row["flow"] == flow]


def artifacts(folder: Path, flow: str) -> dict[str, Any]:
    """Key → data of the artifacts of the runs of a flow."""
    query = "select artifact.key, artifact.data, flow.name as flow from artifact "
    query += "join flow_run on flow_run.id = artifact.flow_run_id join flow on flow.id = flow_run.flow_id"
    return {row["key"]: json.loads(str(row["data"])) for row in _rows(folder, query) if row["flow"] == flow}
