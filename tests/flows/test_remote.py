"""Data by a DVC remote, over HTTP on loopback: what one clone pushed, another pulls and takes as it is.

A remote that gives other bytes is found out, by DVC where it is told to (`verify`: it trusts a remote otherwise), else
by the audit's rule.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from flows.audit_data import against_data
from tests.project import Project


class Store(BaseHTTPRequestHandler):
    """Files by PUT, GET and HEAD, kept in memory."""

    held: dict[str, bytes] = {}

    def _answer(self, status: int, data: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_PUT(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers["Content-Length"]))
        self.held[self.path] = data
        self._answer(201)

    def do_GET(self) -> None:
        if self.path in self.held:
            self._answer(200, self.held[self.path])
        else:
            self._answer(404)

    do_HEAD = do_GET

    def log_message(self, *said: object) -> None: ...


@pytest.fixture
def remote() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    Store.held.clear()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/store"
    server.shutdown()
    server.server_close()


def dvc(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=project.folder, env=project.environment(), capture_output=True, text=True)


def clone(project: Project, folder: Path) -> Project:
    """Another clone of a project's git repository, without its data."""
    subprocess.run(["git", "clone", "-q", str(project.folder), str(folder)], check=True)
    other = Project.__new__(Project)
    other.folder = folder
    return other


def test_what_one_clone_pushed_another_takes_as_it_is(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = {"S3DNERF_RUNNER": "inline", "S3DNERF_TRACKING": "off"}
    first = Project(tmp_path / "first")
    first.settings()
    for words in (
        ("add", "-d", "team", remote),
        ("modify", "team", "method", "PUT"),
        ("modify", "team", "verify", "true"),
    ):
        assert dvc(first, "remote", *words).returncode == 0
    first.repro("ingest", **quick)
    pushed = dvc(first, "push", "--run-cache")
    assert pushed.returncode == 0 and len(Store.held) > 20, pushed.stderr
    first.commit("run")

    second = clone(first, tmp_path / "second")
    pulled = dvc(second, "pull", "sample", "ingest")
    assert pulled.returncode == 0, pulled.stderr
    files = {
        p.relative_to(first.folder): p.read_bytes()
        for p in (first.folder / "data").rglob("*")
        if p.is_file() and not {"check", "inventory"} & set(p.parts)
    }
    assert files and all((second.folder / path).read_bytes() == data for path, data in files.items())
    said = second.repro("ingest", **quick)
    ran = [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]
    assert ran == ["check", "inventory"], said

    victim = max(
        (name for name in Store.held if "/files/md5/" in name and not name.endswith(".dir")),
        key=lambda name: len(Store.held[name]),
    )
    Store.held[victim] = bytes(len(Store.held[victim]))
    third = clone(first, tmp_path / "third")
    changed = dvc(third, "pull", "sample", "ingest")
    held = {p.relative_to(third.folder) for p in (third.folder / "data").rglob("*") if p.is_file()}
    assert changed.returncode and held < set(files), changed.stdout + changed.stderr

    trusting = clone(first, tmp_path / "trusting")
    assert dvc(trusting, "remote", "modify", "team", "verify", "false").returncode == 0
    assert dvc(trusting, "pull", "sample", "ingest").returncode == 0
    monkeypatch.chdir(trusting.folder)
    (lie,) = (path for path, data in files.items() if path.read_bytes() != data)
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    for always_run in ("check", "inventory"):  # made anew each time, never pulled
        lock["stages"].pop(always_run)
    found = against_data(SimpleNamespace(document={"preset": "tiny"}, lock=lock, table=None))
    assert not found.passed and found.detail == f"{lie} differs from dvc.lock"
