"""What the page's server refuses before it reads it, and what it lets a browser load.

Gradio itself stops an upload that grows beyond the limit; :class:`Limits` stands before it and refuses by the length
that a request declares, so that nothing of a file too large is taken, nor of any other request with a large body. It
also refuses the two of Gradio's addresses that make the server fetch from elsewhere, and gives every answer a
Content-Security-Policy by which a browser asks nobody but this server.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MB = 1 << 20
BODY_BYTES = MB  # of a request that is no upload: names, numbers and choices
AROUND_BYTES = 1 << 16  # what a form puts around a file
FETCHES = ("/file=http:", "/file=https:", "/proxy=")
# what is written into the page itself is Gradio's and ours; everything else comes from this server
POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'; base-uri 'self'"
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
KEPT_NOWHERE = {b"cache-control": b"private, no-store"}  # of people's files


def megabytes(count: float) -> str:
    """A number of bytes in MB of 1024² bytes, as Gradio counts them in what it says itself.

    >>> megabytes(64 * MB), megabytes(1.5 * MB), megabytes(2048 * MB)
    ('64 MB', '1.5 MB', '2,048 MB')
    """
    return f"{count / MB:,.1f}".removesuffix(".0") + " MB"


class Limits:
    """An ASGI application around another one.

    Parameters
    ----------
    app : what answers where nothing is refused
    upload_bytes : the largest file
    room_bytes : how much may lie on disk in all
    held_bytes : how much lies there now
    """

    def __init__(self, app: App, upload_bytes: int, room_bytes: float, held_bytes: Callable[[], int]) -> None:
        self.app, self.upload_bytes = app, upload_bytes
        self.room_bytes, self.held_bytes = room_bytes, held_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = {**HEADERS, **(KEPT_NOWHERE if "/file=" in path else {})}
                given = [(name, value) for name, value in message.get("headers", []) if name.lower() not in added]
                message = {**message, "headers": [*given, *added.items()]}
            await send(message)

        refusal = self.refusal(path, dict(scope["headers"]))
        if refusal is None:
            await self.app(scope, receive, answer)
            return
        status, text = refusal
        head = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        await answer({"type": "http.response.start", "status": status, "headers": head})
        await answer({"type": "http.response.body", "body": text.encode()})

    def refusal(self, path: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """The status and sentence by which a request is refused; None for one that is not."""
        if any(fetch in path for fetch in FETCHES):
            return 403, "this server fetches nothing from elsewhere: upload the file itself"
        if b"transfer-encoding" in headers:
            return 411, "a request without a declared length: expected Content-Length"
        declared = headers.get(b"content-length", b"0")
        length = int(declared) if declared.isdigit() else math.inf
        upload = path.rstrip("/").endswith("/upload")
        most = self.upload_bytes + AROUND_BYTES if upload else BODY_BYTES
        if length > most:
            limit = self.upload_bytes if upload else most
            return 413, f"{megabytes(length)} sent: at most {megabytes(limit)} are accepted here"
        if upload and self.held_bytes() + length > self.room_bytes:
            return 507, f"this server holds {megabytes(self.room_bytes)} of files at most: try again later"
        return None
