"""A real HTTP server on loopback that serves bytes, with ranges and ETags, and with the faults that a test asks for."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """``files``: path → bytes. ``asked``: (path, Range header) of each request, in order.

    ``cut``: path → after how many bytes each of the next connections is cut, one number a connection. ``status``:
    path → a status to answer with. ``claims``: path → a Content-Length in place of the true one. ``etags``: whether
    ETags are sent.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.cut: dict[str, list[int]] = {}
        self.status: dict[str, int] = {}
        self.claims: dict[str, int] = {}
        self.etags = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range", "")
        server.asked.append((self.path, asked))
        self.close_connection = True
        data = server.files.get(self.path)
        status = server.status.get(self.path, 200 if data is not None else 404)
        if status >= 400 or data is None:
            self.send_error(status)
            return
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        start = 0
        if asked and self.headers.get("If-Range", etag) == etag:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        if start >= len(data) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self._end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if server.etags:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(server.claims.get(self.path, len(data) - start)))
        self._end_headers()
        cuts = server.cut.get(self.path)
        self.wfile.write(data[start : start + cuts.pop(0)] if cuts else data[start:])

    def _end_headers(self) -> None:
        """Unless told, a client keeps the connection for its next request, which then fails now and then."""
        self.send_header("Connection", "close")
        self.end_headers()


@contextmanager
def file_server() -> Iterator[FileServer]:
    """The server, running for the block."""
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
