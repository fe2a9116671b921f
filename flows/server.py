"""One Prefect server, and one parent flow run, for a whole ``dvc repro``; both end with that ``dvc``.

With ``PREFECT_API_URL`` set (a team's server) no server is started. Otherwise the first stage starts one on loopback
with its SQLite database in ``.prefect/``; later stages find it, and the parent run, by a note beside it,
``.prefect/server-<owner>.json``. A process watches the owner (the ``dvc``, or the stage that a person started); when
that is gone it gives the parent run its last state and ends, and the server with it. Run by hand: ``prefect server
start`` in a shell with ``PREFECT_HOME=.prefect`` shows the same runs in the UI.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from flows.prefect_api import ENDED, PrefectApi, PrefectError
from flows.process_lifetime import alive, dvc_above, dvc_command, identity
from flows.proxies import open_url, spare_loopback
from flows.sqlite_urls import sqlite_url
from s3dnerf.core.errors import S3DNeRFError

HOME = Path(".prefect")
START_TIMEOUT_S = 90.0
LAST_WORDS_S = 1.0  # a stage whose dvc was killed ends itself within this
END_TIMEOUT_S = 10.0  # for the database to be closed well
FLOW = "dvc"  # the parent's flow; its runs are named by their command line


class ServerError(S3DNeRFError, RuntimeError):
    """The Prefect server did not start; the message says where its log is."""


def configure() -> None:
    """Prefect's home, telemetry and noise, set before prefect is imported; what the user has set stands. Its clients
    ask no proxy for a server of this machine.
    """
    defaults = {
        "PREFECT_HOME": str(HOME.resolve()),
        "PREFECT_API_DATABASE_CONNECTION_URL": sqlite_url(HOME / "prefect.db", scheme="sqlite+aiosqlite:///"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "1",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    spare_loopback()


def healthy(url: str) -> bool:
    """Whether a Prefect API answers at ``url``."""
    try:
        with open_url(urllib.request.Request(f"{url}/health"), timeout_s=2) as answer:  # noqa: S310 - our own loopback
            return answer.status == 200
    except OSError:
        return False


def _read(note: Path) -> dict[str, Any]:
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or torn by a power cut
        return {}


def joined(tags: Iterable[str], home: Path = HOME) -> tuple[PrefectApi, str | None]:
    """The API that this stage records with, and the id of the parent run of its ``dvc``; both are made where they are
    not there yet. The parent is None for a stage that a person started.

    ``tags``: of the parent run. Raises ServerError where no server comes up, PrefectError where one refuses.
    """
    home.mkdir(exist_ok=True)
    dvc = dvc_above()
    owner = identity(dvc or psutil.Process())
    path = home / f"server-{owner}.json"
    with FileLock(home / "server.lock"):
        note, team = _read(path), os.environ.get("PREFECT_API_URL")
        url = team or note.get("url", "")
        if not team and not (url and healthy(url)):
            url = _start_server(home, owner)
        note |= {"url": url, "team": bool(team)}
        api = PrefectApi(url)
        _end_forgotten(home, api, note)
        if dvc is not None and "parent" not in note:
            command = dvc_command(dvc.cmdline())
            parent = api.create_flow_run(FLOW, f"dvc {command}".strip(), tags, {"command": command})
            api.set_state(parent, "RUNNING")
            note["parent"] = parent
        path.write_text(json.dumps(note), encoding="utf-8")
        if team and dvc is not None and "watcher" not in note:
            note["watcher"] = _start(home, ["--owner", owner])
            path.write_text(json.dumps(note), encoding="utf-8")
    return api, note.get("parent")


def _start(home: Path, words: list[str]) -> int:
    """Start this module as a process that is not our child: it must outlive the stage. Returns its process id."""
    command = [sys.executable, "-m", "flows.server", *words]
    with open(home / "server.log", "ab") as log:
        shell = subprocess.run(
            ["sh", "-c", '"$@" >&2 & echo $!', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            check=True,
            start_new_session=True,
        )
    return int(shell.stdout)


def _start_server(home: Path, owner: str) -> str:
    """Start a server that ends with ``owner``. Returns its API's address when it answers. Raises ServerError."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    pid, end = _start(home, ["--owner", owner, "--port", str(port)]), time.monotonic() + START_TIMEOUT_S
    while not healthy(url):
        gone = not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        if gone or time.monotonic() > end:
            with contextlib.suppress(psutil.Error):
                psutil.Process(pid).kill()
            raise ServerError(f"its server did not start; its log: {home / 'server.log'}")
        time.sleep(0.1)
    return url


def end_parent(api: PrefectApi, parent: str) -> None:
    """Give a parent run whose ``dvc`` is gone its last state, from its stages': crashed where one never ended, failed
    where one failed. A stage that never ended is crashed as well. Raises PrefectError.
    """
    states = []
    for run in api.children(parent):
        if run["state_type"] not in ENDED:
            api.set_state(run["id"], "CRASHED", "its process was killed")
            states.append("CRASHED")
        else:
            states.append(run["state_type"])
    worst = next((kind for kind in ("CRASHED", "CANCELLED", "FAILED") if kind in states), "COMPLETED")
    good = sum(kind == "COMPLETED" for kind in states)
    api.set_state(parent, worst, f"{good} of {len(states)} stages that ran completed")


def _end_forgotten(home: Path, api: PrefectApi, ours: dict[str, Any]) -> None:
    """End the parent runs of dvcs that are gone and whose watcher was killed with them, and remove their notes."""
    for path in home.glob("server-*.json"):
        if alive(path.stem.removeprefix("server-")):
            continue
        note = _read(path)
        if note.get("parent") and note.get("team") == ours["team"]:
            with contextlib.suppress(PrefectError):  # of another team's server
                end_parent(api, note["parent"])
        path.unlink(missing_ok=True)


def watch(owner: str, home: Path = HOME) -> None:
    """Wait until a process is gone, then end its parent run and remove its note."""
    while alive(owner):
        time.sleep(0.2)
    time.sleep(LAST_WORDS_S)
    path = home / f"server-{owner}.json"
    note = _read(path)
    with contextlib.suppress(PrefectError):  # then the next dvc repro does it
        if note.get("parent"):
            end_parent(PrefectApi(note["url"]), note["parent"])
        path.unlink(missing_ok=True)


def main() -> None:
    """Watch an owner, and serve the API on loopback where a port is given, until the owner is gone."""
    parser = argparse.ArgumentParser(description="Prefect server for one dvc run")
    parser.add_argument("--owner", required=True, help="pid-created of the process to end with")
    parser.add_argument("--port", type=int, help="of the API; without it nothing is served")
    args = parser.parse_args()
    if args.port is None:
        watch(args.owner)
        return
    configure()
    import uvicorn
    from prefect.server.api.server import create_app

    # ephemeral: no UI and no schedulers
    server = uvicorn.Server(
        uvicorn.Config(create_app(ephemeral=True), host="127.0.0.1", port=args.port, log_level="error")
    )

    def end_with_owner() -> None:
        watch(args.owner)
        server.should_exit = True
        time.sleep(END_TIMEOUT_S)
        os._exit(0)

    threading.Thread(target=end_with_owner, name="owner-watch", daemon=True).start()
    server.run()


if __name__ == "__main__":
    main()
