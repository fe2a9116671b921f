"""Nothing is fetched unasked: tests use this machine alone, and so does the graph."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest

from tests.conftest import OUTSIDE
from tests.project import without_network

ELSEWHERE = ("192.0.2.1", 80)  # RFC 5737: no machine has it


def test_a_connection_to_another_machine_is_refused_and_noted() -> None:
    with socket.socket() as sock, pytest.raises(ConnectionRefusedError, match="192.0.2.1"):
        sock.connect(ELSEWHERE)
    assert OUTSIDE == [str(ELSEWHERE)]
    del OUTSIDE[:]


def test_this_machine_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close()).start()
        socket.create_connection(server.getsockname(), timeout=5).close()
    assert not OUTSIDE


@pytest.mark.skipif(not without_network(), reason="this machine lets no process have a network of its own")
def test_the_graph_of_the_tests_has_the_loopback_interface_alone() -> None:
    """tests/test_graph.py runs the whole graph so: what asked for another machine would fail there."""
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()).close()\n"
        f"try: socket.create_connection({ELSEWHERE!r}, timeout=5)\n"
        "except OSError as error: print(error.strerror)"
    )
    done = subprocess.run([*without_network(), sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "Network is unreachable", done.stderr
