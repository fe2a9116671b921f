"""Small real videos for a server to give: one file with sound, or pictures of several heights and the sound apart."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

from s3dnerf.video.encoding import ffmpeg_path
from tests.flows.file_server import FileServer

SECONDS = 3


@functools.cache
def video_bytes(height_px: int, streams: str = "both") -> bytes:
    """Three seconds as MP4, 16:9; ``streams``: both, picture or sound."""
    width_px = height_px * 16 // 9 // 2 * 2
    picture = ["-f", "lavfi", "-i", f"testsrc=s={width_px}x{height_px}:r=25:d={SECONDS}"]
    sound = ["-f", "lavfi", "-i", f"sine=d={SECONDS}"]
    codecs = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", "-movflags", "+faststart"]
    inputs = [*(picture if streams != "sound" else ()), *(sound if streams != "picture" else ())]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "made.mp4")
        subprocess.run([ffmpeg_path(), "-v", "error", *inputs, *codecs, str(path)], check=True)
        return path.read_bytes()


def serve_apart(server: FileServer, name: str, heights_px: tuple[int, ...]) -> str:
    """Put a DASH manifest, a picture a height and one sound onto the server; the manifest's address."""
    given = []
    for height_px in heights_px:
        width_px = height_px * 16 // 9 // 2 * 2
        server.files[f"/{name}-{height_px}.mp4"] = video_bytes(height_px, "picture")
        given.append(
            f'<AdaptationSet mimeType="video/mp4"><Representation id="p{height_px}" codecs="avc1.4d400d" '
            f'width="{width_px}" height="{height_px}" frameRate="25" bandwidth="{1000 * height_px}">'
            f"<BaseURL>{name}-{height_px}.mp4</BaseURL></Representation></AdaptationSet>"
        )
    server.files[f"/{name}-sound.m4a"] = video_bytes(72, "sound")
    given.append(
        '<AdaptationSet mimeType="audio/mp4"><Representation id="sound" codecs="mp4a.40.2" bandwidth="64000" '
        f'audioSamplingRate="44100"><BaseURL>{name}-sound.m4a</BaseURL></Representation></AdaptationSet>'
    )
    server.files[f"/{name}.mpd"] = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        f'mediaPresentationDuration="PT{SECONDS}S"><Period>{"".join(given)}</Period></MPD>'
    ).encode()
    return f"{server.url}/{name}.mpd"
