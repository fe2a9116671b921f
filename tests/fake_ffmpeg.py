"""An ffmpeg that fails as machines do: killed, hanging, or refused memory, the first times or always."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from s3dnerf.video.encoding import ffmpeg_path

SCRIPT = """#!/bin/bash
case "$*" in
*{word}*)
    n=$(cat "{count}" 2>/dev/null || echo 0)
    echo $((n + 1)) > "{count}"
    if [ "$n" -lt {times} ]; then
        {fault}
    fi;;
esac
exec "{real}" "$@"
"""
FAULTS = {
    "killed": "kill -9 $$",
    "hangs": "exec sleep 600",
    "no memory": 'echo "[in#0 @ 0x5] Error opening input: Cannot allocate memory" >&2; exit 244',
}
# what tells the four uses of ffmpeg apart: probing a file, its sound, its frames, the aligned clip
WORDS = {"probe": "framecrc", "sound": "pcm_f32le", "frames": "rgb24", "encode": "libx264"}


def fake_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str, use: str, times: int = 10**6) -> Path:
    """Put a faulty ffmpeg in the place of the real one for this test; returns the file that counts its calls.

    ``fault``: of :data:`FAULTS`. ``use``: of :data:`WORDS`; other uses work. ``times``: how often it fails.
    """
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE", raising=False)
    ffmpeg_path.cache_clear()
    real, count, script = ffmpeg_path(), folder / "calls", folder / "ffmpeg"
    text = SCRIPT.format(word=WORDS[use], count=count, times=times, fault=FAULTS[fault], real=real)
    if use == "frames":  # the encoder is given raw frames as well
        text = text.replace("case", '[[ "$*" == *libx264* ]] && exec "' + real + '" "$@"\ncase', 1)
    script.write_text(text)
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(script))
    ffmpeg_path.cache_clear()
    return count
