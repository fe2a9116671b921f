"""A test clip as one small video with sound: the truth, ours, wrong speech and other methods beside each other.

Bytes out; ``stages/evaluate.py`` keeps them, :mod:`s3dnerf.reporting.videos` shows them. Each panel has its name in the
picture, so that the file says by itself which panels are synthetic.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from s3dnerf.core.rates import FPS_HZ

PANEL_PX, HEAD_PX = 256, 24
MOST_S = 6
CRF = 30
SOUND_RATE = "48k"
TITLES = {"truth": "Truth", "s3dnerf": "S3D-NeRF (synthetic)", "wrong_speech": "Wrong speech (synthetic)"}


def _heads(names: list[str]) -> np.ndarray:
    """The panels' names, white on black: uint8 (HEAD_PX, panels · PANEL_PX, 3)."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (PANEL_PX * len(names), HEAD_PX))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    for i, name in enumerate(names):
        title = TITLES.get(name, f"{name} (synthetic)")
        draw.text((PANEL_PX * (i + 0.5), HEAD_PX / 2), title, fill="white", font=font, anchor="mm")
    return np.asarray(picture)


def _panel(frame: np.ndarray) -> np.ndarray:
    import cv2

    if frame.shape[:2] == (PANEL_PX, PANEL_PX):
        return frame
    return cv2.resize(frame, (PANEL_PX, PANEL_PX), interpolation=cv2.INTER_AREA)


def side_by_side(shown: Mapping[str, np.ndarray], samples: np.ndarray) -> bytes:
    """H.264 and AAC in mp4, at most 6 s; equal frames and samples give equal bytes on one kind of processor.

    Parameters
    ----------
    shown : method → frames uint8 (n, h, h, 3) RGB, from left to right; a method with fewer frames than the first is
        black where it has none
    samples : float32 (640 n,) in −1 … 1, 16 kHz: the sound of the video

    Raises NoFrames for a first method without a frame, VideoError when ffmpeg fails.
    """
    from s3dnerf.speech.audio import RATE_HZ, wav_bytes
    from s3dnerf.video.encoding import feed_ffmpeg

    head, black = _heads(list(shown)), np.zeros((PANEL_PX, PANEL_PX, 3), np.uint8)
    count = min(len(next(iter(shown.values()))), MOST_S * FPS_HZ)

    def frames() -> Iterator[np.ndarray]:
        for i in range(count):
            panels = [_panel(made[i]) if i < len(made) else black for made in shown.values()]
            yield np.concatenate([head, np.concatenate(panels, axis=1)])

    picture = ["-c:v", "libx264", "-preset", "veryfast", "-crf", str(CRF), "-pix_fmt", "yuv420p", "-threads", "1"]
    sound = ["-c:a", "aac", "-b:a", SOUND_RATE, "-ac", "1"]
    exact = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-map_metadata", "-1"]
    with tempfile.TemporaryDirectory(prefix="s3dnerf-") as folder:
        speech, target = Path(folder, "speech.wav"), Path(folder, "clip.mp4")
        speech.write_bytes(wav_bytes(samples[: count * RATE_HZ // FPS_HZ]))
        maps = ["-map", "0:v", "-map", "1:a", *picture, *sound, *exact, "-movflags", "+faststart"]
        feed_ffmpeg(frames(), [*maps, str(target)], FPS_HZ, inputs=["-i", str(speech)])
        return target.read_bytes()
