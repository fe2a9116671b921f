"""Prefect's REST API as far as a stage uses it: flow runs and their states, log lines, artifacts.

Stages write their record with these few requests and never import prefect: its import alone costs each of them more
than a second. The address is ``PREFECT_API_URL`` (a team's server) or that of the server of this ``dvc repro``
(``flows/server.py``); ``PREFECT_API_KEY`` and ``PREFECT_API_AUTH_STRING`` are sent as Prefect's own client sends them.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import Any

from flows.proxies import open_url
from s3dnerf.core.errors import S3DNeRFError

TRIES, DELAY_S, TIMEOUT_S = 3, 0.5, 30.0
RUN_STATES = ("PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "CRASHED")
ENDED = frozenset(RUN_STATES[2:])
MOST_RUNS = 200  # a page of the API; a dvc repro has a dozen


class PrefectError(S3DNeRFError, RuntimeError):
    """The Prefect API cannot be reached or refused a request; the message says which and what it answered."""


def _authorization() -> dict[str, str]:
    """The header that names us, as Prefect's client makes it: the auth string first, else the key."""
    if pair := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    return {}


class PrefectApi:
    """A Prefect API. Every method raises PrefectError where it does not answer or refuses.

    Parameters
    ----------
    url : str
        Its address, such as ``http://127.0.0.1:4200/api``.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request; the answer's JSON, None for an empty one. Tried again where the server is busy or unreachable.

        Raises PrefectError.
        """
        headers = {"Content-Type": "application/json", **_authorization()}
        data = None if body is None else json.dumps(body).encode()
        for number in range(1, TRIES + 1):
            try:
                request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - configured
                with open_url(request, TIMEOUT_S) as answer:
                    text = answer.read()
                return json.loads(text) if text else None
            except urllib.error.HTTPError as refused:
                answered = f"{refused.code}: {refused.read()[:500].decode(errors='replace')}"
                passing = refused.code in (408, 429) or refused.code >= 500
            except (OSError, ValueError, http.client.HTTPException) as fault:
                answered, passing = f"{type(fault).__name__}: {fault}", True
            if number == TRIES or not passing:
                raise PrefectError(f"{method} {self.url}{path}: {answered}")
            time.sleep(DELAY_S * number)
        raise AssertionError("not reached")

    def create_flow_run(
        self, flow: str, name: str, tags: Iterable[str], parameters: dict[str, Any], parent: str | None = None
    ) -> str:
        """Create a flow run, pending. Returns its id.

        ``parent``: the flow run that it belongs to. Prefect links the two by a task run of the parent, whose states
        follow the child's.
        """
        flow_id = self.request("POST", "/flows/", {"name": flow})["id"]
        body: dict[str, Any] = {
            "flow_id": flow_id,
            "name": name,
            "tags": list(tags),
            "parameters": parameters,
            "state": {"type": "PENDING"},
        }
        if parent is not None:
            link = {"flow_run_id": parent, "task_key": flow, "dynamic_key": f"{name}-{time.time_ns()}"}
            task = self.request("POST", "/task_runs/", link | {"name": f"{flow} {name}", "state": {"type": "PENDING"}})
            body["parent_task_run_id"] = task["id"]
        return self.request("POST", "/flow_runs/", body)["id"]

    def set_state(self, flow_run: str, kind: str, message: str = "") -> None:
        """Give a flow run a state: one of :data:`RUN_STATES`, in Prefect's order or not."""
        body = {"state": {"type": kind, "message": message}, "force": True}
        self.request("POST", f"/flow_runs/{flow_run}/set_state", body)

    def children(self, flow_run: str) -> list[dict[str, Any]]:
        """The flow runs whose parent is this one."""
        wanted = {"flow_runs": {"parent_flow_run_id": {"any_": [flow_run]}}, "limit": MOST_RUNS}
        return self.request("POST", "/flow_runs/filter", wanted)

    def create_logs(self, lines: list[dict[str, Any]]) -> None:
        """Add log lines (``name``, ``level``, ``message``, ``timestamp``, ``flow_run_id``), all in one request."""
        self.request("POST", "/logs/", lines)

    def create_artifact(self, flow_run: str, artifact: dict[str, Any]) -> str:
        """Add an artifact (``key``, ``type``, ``description``, ``data``) to a flow run. Returns its id."""
        return self.request("POST", "/artifacts/", artifact | {"flow_run_id": flow_run})["id"]

    def update_artifact(self, artifact: str, changes: dict[str, Any]) -> None:
        """Change an artifact's ``data`` or ``description`` in place."""
        self.request("PATCH", f"/artifacts/{artifact}", changes)
