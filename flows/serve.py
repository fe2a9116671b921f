"""``s3dnerf serve``: the page. A photo and speech are dropped, and the video is watched, in a browser."""

from __future__ import annotations

import importlib.util
import math
import os
import socket
import time
from pathlib import Path
from typing import Any

from flows.proxies import is_loopback
from s3dnerf.core.cores import usable_cores
from s3dnerf.core.errors import SettingsError

CLOSING_S = 1
UPLOADS_ON_DISK = 50  # so many of the largest may lie there at a time
MISSING = (
    "serve: needs Gradio, which is not installed: pip install 's3dnerf[serve]' (in the project's folder: make serve)"
)


def serve(
    host: str = "127.0.0.1",
    port: int = 7860,
    model: Path | None = None,
    device: str | None = None,
    max_mb: float = 64.0,
    max_seconds: float = 120.0,
    at_once: int = 1,
    keep_minutes: float = 60.0,
    root_path: str = "",
) -> int:
    """A page in the browser: drop a photo and speech, see the face that was found, watch and download the video.

    Args:
        host: The address to listen at; 127.0.0.1: this machine alone.
        port: Its port.
        model: A trained generator's folder, such as data/sample/train_s3dnerf/full; without it the one that comes with
            the package.
        device: cpu, cuda, or auto: a GPU where there is one (without it: $S3DNERF_DEVICE, or auto).
        max_mb: The largest upload, MB of 1024² bytes.
        max_seconds: The longest speech.
        at_once: How many videos are made at a time; the others wait.
        keep_minutes: Uploads and videos are deleted when the page is closed, and after so many minutes.
        root_path: Where a reverse proxy shows the page under a path, that path, such as /talk.
    """
    import torch

    from flows.page.limits import MB
    from s3dnerf.core.devices import chosen_device

    least = {"max-mb": max_mb, "max-seconds": max_seconds, "at-once": at_once, "keep-minutes": keep_minutes}
    for name, value in least.items():
        if not (value > 0 and math.isfinite(value)):
            raise SettingsError(f"--{name}: got {value:g} — accepted: a number above 0")
    if root_path and not root_path.startswith("/"):
        raise SettingsError(f"--root-path: got {root_path} — accepted: a path that begins with /, such as /talk")
    if importlib.util.find_spec("gradio") is None:
        raise SettingsError(MISSING)
    chosen_device(device, dashes="--")
    check_free(host, port)
    torch.set_num_threads(usable_cores())
    _serve(host, port, model, device, round(max_mb * MB), max_seconds, at_once, keep_minutes * 60, root_path)
    return 0


def check_free(host: str, port: int) -> None:
    """Raise SettingsError where nobody can listen at an address."""
    if not 0 < port < 1 << 16:
        raise SettingsError(f"--port: got {port} — accepted: 1 to 65535")
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise SettingsError(f"--host: got {host} — accepted: an IPv4 address of this machine, or its name") from error
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(found[0][4])
        except OSError as error:
            raise SettingsError(
                f"--host {host} --port {port}: nobody can listen there ({error.strerror}) — accepted: an address of "
                "this machine and a port that is free"
            ) from error


def _serve(
    host: str,
    port: int,
    model: Path | None,
    device: str | None,
    max_bytes: int,
    most_s: float,
    at_once: int,
    keep_s: float,
    root_path: str,
) -> None:
    """Load the generator, open the page and wait until somebody ends it."""
    from flows.page.folder import Visits, own_folder

    with own_folder() as folder:
        files = folder / "files"
        files.mkdir(mode=0o700)
        # read by Gradio when it is imported: where uploads lie, and that nothing is asked of anybody else
        os.environ.update(GRADIO_TEMP_DIR=str(files), GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
        from flows.page.layout import look_options, page
        from flows.page.studio import Studio
        from s3dnerf.synthesis.talking_head import TalkingHead

        print("loading the generator", flush=True)
        head = TalkingHead.load(model, device)
        _ = head.speech  # says now which weights are missing
        visits = Visits(files, keep_s)
        studio = Studio(head, visits, most_s)
        demo = page(studio, max_bytes, keep_s, at_once)
        try:
            demo.launch(
                server_name=host,
                server_port=port,
                root_path=root_path,
                max_file_size=max_bytes,
                app_kwargs={"middleware": [_limits(visits, max_bytes)]},
                share=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                enable_monitoring=False,
                run_history=False,
                quiet=True,
                prevent_thread_lock=True,
                **look_options(),
            )
            demo.server.config.timeout_graceful_shutdown = CLOSING_S  # open pages hold a connection each
            visits.keep_sweeping()
            for line in said(host, port):
                print(line, flush=True)
            while demo.server.thread.is_alive():
                time.sleep(0.2)
        finally:
            visits.end()
            studio.close()
            demo.close(verbose=False)


def _limits(visits: Any, max_bytes: int) -> Any:
    """What stands before Gradio: see :mod:`flows.page.limits`."""
    from starlette.middleware import Middleware

    from flows.page.limits import Limits

    return Middleware(
        Limits, upload_bytes=max_bytes, room_bytes=UPLOADS_ON_DISK * max_bytes, held_bytes=visits.held_bytes
    )


def said(host: str, port: int) -> list[str]:
    """What is printed when the page is open.

    >>> said("127.0.0.1", 7860)
    ['the page: http://127.0.0.1:7860 (Ctrl-C ends it and deletes its files)']
    """
    lines = [f"the page: http://{host}:{port} (Ctrl-C ends it and deletes its files)"]
    if not is_loopback(host):
        lines.append(f"anybody who reaches {host}:{port} can use it: there is no password")
    return lines
