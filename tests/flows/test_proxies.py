"""Behind a proxy: what runs on this machine is never asked through it, what is outside always is.

Two proxies: one that refuses every connection (nobody listens at its port) and one that answers 502 to everything.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.mlflow_client import MlflowError, TrackingClient
from flows.prefect_api import PrefectApi
from flows.proxies import LOOPBACK, PROXIES, open_url, spare_loopback
from flows.retrain.outcome import PROMOTED, Outcome, notify
from flows.server import healthy

ROOT = Path(__file__).resolve().parents[2]
BOTH = ("no_proxy", "NO_PROXY")


class Answers(BaseHTTPRequestHandler):
    """Notes what it is asked, and answers every request with its server's status and body."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        status, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_CONNECT = answer

    def log_message(self, *words: object) -> None:
        pass


def listening(status: int, body: bytes) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.asked, server.answer = [], (status, body)  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def ours() -> Iterator[ThreadingHTTPServer]:
    """A server of this machine, which says yes to everything."""
    yield from listening(200, b"true")


@pytest.fixture
def bad_gateway() -> Iterator[ThreadingHTTPServer]:
    """A proxy that answers 502 to everything."""
    yield from listening(502, b"no way out")


@pytest.fixture(params=["refuses", "answers 502"])
def proxied(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, bad_gateway: ThreadingHTTPServer
) -> ThreadingHTTPServer:
    """Every proxy variable in both spellings, and no ``no_proxy``; the proxy that answers, whether it is in use or not."""
    port = bad_gateway.server_port
    if request.param == "refuses":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    for name in PROXIES:
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{port}")
    for name in BOTH:
        monkeypatch.setenv(name, "to be taken away")  # so that what the code sets is taken away as well
        monkeypatch.delenv(name)
    return bad_gateway


def url_of(server: ThreadingHTTPServer, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{server.server_port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_our_own_requests_to_this_machine_pass_by_the_proxy(
    host: str, ours: ThreadingHTTPServer, proxied: ThreadingHTTPServer
) -> None:
    url = f"{url_of(ours, host)}/api"
    assert healthy(url) and PrefectApi(url).request("GET", "/version") is True
    assert proxied.asked == [] and ours.asked == ["/api/health", "/api/version"]  # type: ignore[attr-defined]


def test_a_webhook_of_this_machine_passes_by_the_proxy_and_one_outside_takes_it(
    ours: ThreadingHTTPServer, proxied: ThreadingHTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    notify(Outcome(PROMOTED, "tiny"), f"{url_of(ours)}/hook")
    assert ours.asked == ["/hook"] and not caplog.records[1:]  # type: ignore[attr-defined]
    notify(Outcome(PROMOTED, "tiny"), "http://team.invalid/hook")
    asked = proxied.asked  # type: ignore[attr-defined]
    through = os.environ["http_proxy"] == url_of(proxied)
    assert asked == (["http://team.invalid/hook"] if through else [])
    assert "the webhook did not take it" in caplog.text and ("502" if through else "refused") in caplog.text


def test_what_is_outside_still_takes_the_proxy_after_this_machine_was_spared(proxied: ThreadingHTTPServer) -> None:
    spare_loopback()
    with pytest.raises(OSError, match="502|refused"):
        open_url(urllib.request.Request("http://remote.invalid/data"), 5)


def test_mlflow_asks_a_server_of_this_machine_itself(
    ours: ThreadingHTTPServer, proxied: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    ours.answer = (400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "it was asked"}')  # type: ignore[attr-defined]
    with pytest.raises(MlflowError, match="it was asked"):
        TrackingClient(url_of(ours)).experiment("tiny")
    assert ours.asked and not proxied.asked  # type: ignore[attr-defined]


CLIENT = """
import flows.deployment
from prefect.client.orchestration import get_client

with get_client(sync_client=True) as client:
    print("healthy", client.api_healthcheck())
"""


@pytest.mark.slow
def test_prefects_own_client_asks_a_server_of_this_machine_itself(
    ours: ThreadingHTTPServer, proxied: ThreadingHTTPServer, tmp_path: Path
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    environment |= {"PYTHONPATH": str(ROOT), "PREFECT_API_URL": f"{url_of(ours)}/api"}
    done = subprocess.run([sys.executable, "-c", CLIENT], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == "healthy None\n", done.stdout + done.stderr
    assert "/api/health" in ours.asked and not proxied.asked  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (None, None, (",".join(LOOPBACK),) * 2),
        ("team.example", None, ("team.example,localhost,127.0.0.1,::1",) * 2),
        (None, "a, b", ("a,b,localhost,127.0.0.1,::1",) * 2),
        ("a", "b", ("a,localhost,127.0.0.1,::1", "b,localhost,127.0.0.1,::1")),
        ("127.0.0.1,x", None, ("127.0.0.1,x,localhost,::1",) * 2),
        ("*", None, ("*", "*")),
    ],
)
def test_what_the_user_exempts_stays(
    lower: str | None, upper: str | None, expected: tuple[str, str], proxied: ThreadingHTTPServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in zip(BOTH, (lower, upper)):
        if value is not None:
            monkeypatch.setenv(name, value)
    for _ in range(2):  # a process that was started by one that did it already
        spare_loopback()
        assert tuple(os.environ[name] for name in BOTH) == expected


def test_without_a_proxy_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *BOTH):
        for spelt in (name.lower(), name.upper()):
            monkeypatch.delenv(spelt, raising=False)
    spare_loopback()
    assert not any(name in os.environ for name in BOTH)


@pytest.mark.slow
@pytest.mark.parametrize("program", [["flows.cli", "run"], ["flows.run", "nothing"]])
def test_what_our_commands_start_spares_this_machine(
    program: list[str], proxied: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables of the process after its ``main`` began, whatever came of it."""
    module, *words = program
    code = (
        f"import atexit, json, os, sys; import {module} as program; sys.argv = ['x', *{words!r}]\n"
        f"atexit.register(lambda: open('seen', 'w').write(json.dumps(os.environ.get('no_proxy'))))\nprogram.main()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True)
    assert json.loads((tmp_path / "seen").read_text()) == ",".join(LOOPBACK)
