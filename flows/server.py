"""One Prefect server for a whole ``dvc repro``, gone when that ``dvc`` is gone.

With ``PREFECT_API_URL`` set (a team's server) nothing is started. Otherwise the first stage starts a server on
loopback with its SQLite database in ``.prefect/``; later stages find it by ``.prefect/server-<owner>.json``. It
watches its owner and ends with it. Run by hand: ``prefect server start`` in a shell with ``PREFECT_HOME=.prefect``
shows the same runs in the UI.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import psutil
from filelock import FileLock

from flows.process_lifetime import alive, dvc_above, identity

HOME = Path(".prefect")
START_TIMEOUT_S = 90.0
LAST_EVENTS_S = 1.0  # task runs are recorded from events, which may come in just after the last process ended


def configure() -> None:
    """Prefect's home, telemetry and noise, set before prefect is imported; what the user has set stands."""
    defaults = {
        "PREFECT_HOME": str(HOME.resolve()),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{HOME.resolve()}/prefect.db",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
        "PREFECT_LOGGING_TO_API_ENABLED": "true",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "1",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    for service in ("EventsWorker", "APILogWorker"):  # they say at a process's end that they are still sending
        logging.getLogger(service).setLevel(logging.ERROR)


def healthy(url: str) -> bool:
    """Whether a Prefect API answers at ``url``."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:  # noqa: S310 - our own loopback address
            return answer.status == 200
    except OSError:
        return False


def run_owner() -> str | None:
    """Identity of the ``dvc`` that this process works for; None where a person started it."""
    above = dvc_above()
    return identity(above) if above is not None else None


def find_or_start(home: Path = HOME) -> str | None:
    """The API address of the server this run works with; starts one where there is none.

    Returns None when the user named a server: Prefect reads that itself. Raises RuntimeError when a server does
    not come up, with the place of its log.
    """
    if os.environ.get("PREFECT_API_URL"):
        return None
    home.mkdir(exist_ok=True)
    owner = run_owner() or identity(psutil.Process())
    note = home / f"server-{owner}.json"
    with FileLock(home / "server.lock"):
        for old in home.glob("server-*.json"):
            if not alive(old.stem.removeprefix("server-")):
                old.unlink(missing_ok=True)
                (home / f"run-{old.stem.removeprefix('server-')}.json").unlink(missing_ok=True)
        if note.is_file():
            url = json.loads(note.read_text())["url"]
            if healthy(url):
                return url
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}/api"
        with open(home / "server.log", "ab") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "flows.server", "--owner", owner, "--port", str(port)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        end = time.monotonic() + START_TIMEOUT_S
        while not healthy(url):
            if server.poll() is not None or time.monotonic() > end:
                server.kill()
                raise RuntimeError(
                    f"the Prefect server did not start; its log: {home / 'server.log'}. Without one: "
                    "S3DNERF_RUNNER=inline"
                )
            time.sleep(0.1)
        note.write_text(json.dumps({"url": url, "pid": server.pid}))
    return url


def end_parent_run(owner: str, url: str, home: Path = HOME) -> None:
    """Mark the flow run of a whole ``dvc repro`` as crashed where its ``dvc`` is gone and a stage had not ended."""
    try:
        run = f"{url}/flow_runs/{json.loads((home / f'run-{owner}.json').read_text())['id']}"
        with urllib.request.urlopen(run, timeout=5) as answer:  # noqa: S310 - our own loopback address
            if json.load(answer)["state_type"] != "RUNNING":
                return
        state = {"type": "CRASHED", "name": "Crashed", "message": "dvc ended before its stage did"}
        data = json.dumps({"state": state, "force": True}).encode()
        request = urllib.request.Request(f"{run}/set_state", data, {"Content-Type": "application/json"})  # noqa: S310
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
    except (OSError, ValueError, KeyError):
        return  # there was no such run, or nobody can say any more how it ended


def main() -> None:
    """Serve until the owner is gone."""
    parser = argparse.ArgumentParser(description="Prefect server for one dvc run")
    parser.add_argument("--owner", required=True, help="pid-created of the process to end with")
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    configure()
    import uvicorn
    from prefect.server.api.server import create_app

    # ephemeral: no UI and no schedulers, but the recorder of task runs, which arrive as events
    server = uvicorn.Server(
        uvicorn.Config(create_app(ephemeral=True), host="127.0.0.1", port=args.port, log_level="error")
    )

    def end_with_owner() -> None:
        while alive(args.owner):
            time.sleep(0.2)
        end_parent_run(args.owner, f"http://127.0.0.1:{args.port}/api")
        time.sleep(LAST_EVENTS_S)
        server.should_exit = True
        time.sleep(LAST_EVENTS_S)
        os._exit(0)

    threading.Thread(target=end_with_owner, name="owner-watch", daemon=True).start()
    server.run()


if __name__ == "__main__":
    main()
