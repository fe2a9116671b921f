"""Video files as people have them, made for tests: any container, codec, rate, sound and metadata, through ffmpeg."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from s3dnerf.video.encoding import ffmpeg_path
from tests.small_corpus import picture


def drawn(openings: list[float], size: int = 256) -> np.ndarray:
    """Drawn faces whose mouth opens: uint8 (n, size, size, 3), size a divisor or multiple of 256."""
    frames = np.stack([picture(o, 0.9)[0] for o in openings])
    return (
        np.repeat(np.repeat(frames, size // 256, axis=1), size // 256, axis=2)
        if size > 256
        else frames[:, :: 256 // size, :: 256 // size]
    )


def write_video(
    path: Path,
    frames: np.ndarray,
    *codec: str,
    fps: float = 25,
    sound: np.ndarray | None = None,
    rate_hz: int = 16000,
    before: tuple[str, ...] = (),
) -> None:
    """Frames uint8 (n, h, w, 3 or 4) and sound float (n,) or (n, channels) as a file; lossless H.264 (4:4:4) unless
    ``codec`` says else.

    ``before``: options for the container that is written from these streams without encoding them again (a turn, a
    shifted start).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    n, height, width, channels = frames.shape
    with tempfile.TemporaryDirectory() as folder:
        raw, wav = Path(folder, "raw"), Path(folder, "sound")
        raw.write_bytes(np.ascontiguousarray(frames).tobytes())
        shape = [
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgba" if channels == 4 else "rgb24",
            "-s",
            f"{width}x{height}",
            "-r",
            str(fps),
        ]
        inputs, maps = [*shape, "-i", str(raw)], ["-map", "0:v"]
        if sound is not None:
            wav.write_bytes(np.clip(np.rint(sound * 32768), -32768, 32767).astype("<i2").tobytes())
            inputs += [
                "-f",
                "s16le",
                "-ar",
                str(rate_hz),
                "-ac",
                str(1 if sound.ndim == 1 else sound.shape[1]),
                "-i",
                str(wav),
            ]
            maps += ["-map", "1:a"]
        target = Path(folder, "once" + path.suffix) if before else path
        chosen = codec or ("-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv444p", "-g", "4")
        run = [ffmpeg_path(), "-v", "error", "-nostdin", "-y"]
        subprocess.run(
            [*run, *inputs, *maps, *chosen, "-c:a", "pcm_s16le" if path.suffix == ".mov" else "aac", str(target)],
            check=True,
        )
        if before:
            subprocess.run([*run, *before, "-i", str(target), "-map", "0", "-c", "copy", str(path)], check=True)
