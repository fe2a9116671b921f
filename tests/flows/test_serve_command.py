"""``s3dnerf serve`` as it is typed, where it does not come to a page."""

from __future__ import annotations

import importlib.util
import socket

import pytest

from flows.serve import said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "0"], "--port: got 0 — accepted: 1 to 65535"),
        (["--port", "70000"], "--port: got 70000 — accepted: 1 to 65535"),
        (["--max-mb", "0"], "--max-mb: got 0 — accepted: a number above 0"),
        (["--max-seconds", "nan"], "--max-seconds: got nan — accepted: a number above 0"),
        (["--keep-minutes", "inf"], "--keep-minutes: got inf — accepted: a number above 0"),
        (["--at-once", "-1"], "--at-once: got -1 — accepted: a number above 0"),
        (["--root-path", "talk"], "--root-path: got talk — accepted: a path that begins with /, such as /talk"),
        (["--device", "tpu"], "--device: got tpu — accepted: auto, cpu, cuda"),
        (["--host", "203.0.113.7"], "--host 203.0.113.7 --port 7860: nobody can listen there"),
        (["--host", "::1"], "--host: got ::1 — accepted: an IPv4 address of this machine, or its name"),
    ],
)
def test_what_is_not_accepted_is_said(words: list[str], message: str, typed, tmp_path, monkeypatch) -> None:
    pytest.importorskip("gradio")
    monkeypatch.chdir(tmp_path)
    status, _, complaint = typed("serve", *words)
    assert status == 2 and complaint.startswith(f"s3dnerf: {message}") and complaint.count("\n") == 1


def test_a_port_that_is_taken_is_said(typed, tmp_path, monkeypatch) -> None:
    pytest.importorskip("gradio")
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, complaint = typed("serve", "--port", str(port))
    assert status == 2 and f"--port {port}: nobody can listen there (Address already in use)" in complaint


def test_without_gradio_it_says_how_to_get_it(typed, tmp_path, monkeypatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "gradio" else find(name, *rest)
    )
    monkeypatch.chdir(tmp_path)
    assert typed("serve") == (
        2,
        "",
        "s3dnerf: serve: needs Gradio, which is not installed: pip install 's3dnerf[serve]' (in the project's folder: "
        "make serve)\n",
    )


def test_who_can_reach_it_is_said() -> None:
    assert len(said("127.0.0.1", 7860)) == len(said("localhost", 7860)) == 1
    assert said("0.0.0.0", 7860)[1] == "anybody who reaches 0.0.0.0:7860 can use it: there is no password"
