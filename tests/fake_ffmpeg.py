"""A decoder and an ffmpeg that fail as machines do: killed, hanging, or refused memory, the first times or always."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from s3dnerf.video import decoder
from s3dnerf.video.encoding import ffmpeg_path

SCRIPT = """#!/bin/bash
case "$*" in
*libx264*)
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
# the four uses: what a file holds, its sound and its frames are the decoder's, the aligned clip is ffmpeg's
USES = ("probe", "sound", "frames", "encode")


def fake_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str, use: str, times: int = 10**6) -> Path:
    """Put a faulty program in the place of the real one for this test; returns the file that counts its calls.

    ``fault``: of :data:`FAULTS`, or ``crashes`` for the decoder. ``use``: of :data:`USES`; other uses work. ``times``:
    how often it fails.
    """
    count = folder / "calls"
    if use != "encode":
        script = Path(__file__).with_name("faulty_decoder.py")
        monkeypatch.setattr(decoder, "COMMAND", [sys.executable, str(script), use, fault, str(times), str(count)])
        decoder.close_decoders()
        return count
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE", raising=False)
    ffmpeg_path.cache_clear()
    real, script = ffmpeg_path(), folder / "ffmpeg"
    script.write_text(SCRIPT.format(count=count, times=times, fault=FAULTS[fault], real=real))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(script))
    ffmpeg_path.cache_clear()
    return count
