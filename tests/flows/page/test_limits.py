"""What the page's server refuses before it reads it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flows.page.limits import AROUND_BYTES, BODY_BYTES, MB, Limits

UPLOAD, JOIN = "/gradio_api/upload", "/gradio_api/queue/join"


def limits(held: int = 0) -> Limits:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Referrer-Policy", b"origin")]})
        await send({"type": "http.response.body", "body": b"answered"})

    return Limits(app, upload_bytes=10 * MB, room_bytes=50 * MB, held_bytes=lambda: held)


@pytest.mark.parametrize(
    ("path", "headers", "held", "status", "said"),
    [
        (UPLOAD, {b"content-length": b"2147483648"}, 0, 413, "2,048 MB sent: at most 10 MB are accepted here"),
        (UPLOAD, {b"content-length": b"%d" % (10 * MB + AROUND_BYTES)}, 0, None, ""),
        (UPLOAD, {b"content-length": b"%d" % (10 * MB + AROUND_BYTES + 1)}, 0, 413, "at most 10 MB"),
        (UPLOAD, {b"content-length": b"-1"}, 0, 413, "inf MB sent"),
        (UPLOAD, {b"transfer-encoding": b"chunked"}, 0, 411, "expected Content-Length"),
        (UPLOAD, {b"content-length": b"%d" % MB}, 49 * MB, None, ""),
        (UPLOAD, {b"content-length": b"%d" % MB}, 49 * MB + 1, 507, "holds 50 MB of files at most: try again later"),
        ("/talk" + UPLOAD, {b"content-length": b"99999999"}, 0, 413, "at most 10 MB"),
        (JOIN, {b"content-length": b"%d" % BODY_BYTES}, 0, None, ""),
        (JOIN, {b"content-length": b"%d" % (BODY_BYTES + 1)}, 0, 413, "at most 1 MB"),
        ("/", {}, 0, None, ""),
        ("/gradio_api/file=https://example.com/a.png", {}, 0, 403, "fetches nothing from elsewhere"),
        ("/gradio_api/proxy=https://x.hf.space/a", {}, 0, 403, "fetches nothing from elsewhere"),
        ("/gradio_api/file=/tmp/a.png", {}, 0, None, ""),
    ],
)
def test_what_is_refused_by_what_it_declares(
    path: str, headers: dict[bytes, bytes], held: int, status: int | None, said: str
) -> None:
    found = limits(held).refusal(path, headers)
    assert (None if found is None else found[0]) == status
    assert status is None or said in found[1]


def answer(path: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(limits()({"type": "http", "path": path, "headers": headers}, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_a_refusal_reads_nothing_and_every_answer_keeps_the_browser_here() -> None:
    status, headers, body = answer(UPLOAD, [(b"content-length", b"2147483648")])
    assert status == 413 and b"2,048 MB sent" in body and headers[b"connection"] == b"close"
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    status, headers, body = answer("/", [])
    assert (status, body) == (200, b"answered") and b"cache-control" not in headers
    assert headers[b"referrer-policy"] == b"no-referrer" and b"Referrer-Policy" not in headers
    assert answer("/gradio_api/file=/tmp/a.png", [])[1][b"cache-control"] == b"private, no-store"
