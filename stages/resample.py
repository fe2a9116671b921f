"""Stage ``resample``: the 25 Hz clock and 16 kHz mono sound of each clip, without re-encoding the picture.

Reads ingest's records and the raw files; writes packs with, for each clip of N frames,

- ``frames.npy`` int32 (N,): the source frame that each tick shows (presentation order of the file, as
  :func:`s3dnerf.video.reading.read_frames` counts), exactly as ``ffmpeg -vf fps=25`` would choose;
- ``wav``: 16 kHz mono 16-bit, exactly 640·N samples, cut where the picture belongs.

Run: ``python -m flows.run resample``
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.core.rates import FPS_HZ, RATE_HZ, SAMPLES_PER_FRAME
from s3dnerf.speech.audio import read_audio, wav_bytes
from s3dnerf.video.clock import clock_of, ticks_of
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.probing import VideoInfo, probe
from stages.context import Context
from stages.preprocessing import ClipResult, PackJob, PackStage, Quarantine, each_clip, run_packs

SPEC = PackStage("resample", (), reads_raw=True)
# sound of files up to this long is decoded once and kept while their clips are cut (115 MB of float32)
WHOLE_SOUND_S = 1800.0
# a clip may end this much before ingest's record says (frames that cannot be decoded are dropped), beyond: truncated;
# and one picture may stand this long, beyond: frames_lost
MAX_LOST_S = 0.5
# measured on three pieces of a 29.97 Hz file: beep and flash mostly up to 44 ms apart, 177 ms at a joint
SEVERAL_EDITS = (
    "an edit list of several pieces, whose sound and picture ffmpeg moves apart: export it as one from the program "
    "that cut it"
)


@functools.lru_cache(maxsize=1)
def _whole_sound(path: str, size: int, mtime_ns: int) -> np.ndarray:
    return read_audio(path)


def cut_sound(path: Path, start_tick: int, ticks: int, info: VideoInfo) -> np.ndarray:
    """Samples float32 (≤ 640·ticks,) of the ticks; fewer where the sound ends earlier. Raises VideoError (no_audio,
    unreadable).

    The picture of tick k belongs to k / 25 s + ``early_s`` of the timeline (an edit list may begin between two frames):
    so does the sound.
    """
    first = start_tick * SAMPLES_PER_FRAME + round(info.early_s * RATE_HZ)
    last = first + ticks * SAMPLES_PER_FRAME
    if info.duration_s <= WHOLE_SOUND_S:
        state = os.stat(path)
        return _whole_sound(str(path), state.st_size, state.st_mtime_ns)[first:last]
    return read_audio(path, first / RATE_HZ, last / RATE_HZ)


def level_dbfs(samples: np.ndarray) -> float:
    """Level of the loudest 40 ms, in dB below a full-scale square wave (−inf for digital silence). ``samples``: float32
    (640·N,).
    """
    power = np.square(samples.astype(np.float64)).reshape(-1, SAMPLES_PER_FRAME).mean(axis=1).max()
    return float(10 * np.log10(power)) if power > 0 else float("-inf")


def make_clip(job: PackJob, record: dict[str, Any]) -> dict[str, Any]:
    """Parts of one clip. Raises Quarantine.

    Reasons: missing, zero_bytes, unreadable, truncated, frames_lost, broken_timestamps, no_audio, bad_audio,
    audio_too_short, silent.
    """
    settings, root = job.settings, Path(job.raw_root)
    try:
        info = probe(root / record["video"])
        if not info.ordered:
            raise Quarantine("broken_timestamps", f"{record['video']}: presentation times stand still or go back")
        if info.several_edits:
            raise Quarantine("broken_timestamps", f"{record['video']}: {SEVERAL_EDITS}")
        start, end = ticks_of(record["start_s"], record["end_s"])
        frames = clock_of(info).between(start, end)
        if end - start - len(frames) > round(MAX_LOST_S * FPS_HZ) or not len(frames):
            raise Quarantine("truncated", f"{len(frames)} of {end - start} frames in {record['video']}. {info.damage}")
        shown = info.frame_times_s[frames[0] : frames[-1] + 1]
        if len(shown) > 1 and np.diff(shown).max() > MAX_LOST_S:
            raise Quarantine(
                "frames_lost", f"{np.diff(shown).max():.2f} s without a frame in {record['video']}. {info.damage}"
            )
        sound = cut_sound(root / (record["audio"] or record["video"]), start, len(frames), info)
    except VideoError as error:
        raise Quarantine(error.reason, str(error)) from error
    if not np.isfinite(sound).all():
        raise Quarantine("bad_audio", f"{int((~np.isfinite(sound)).sum())} of {len(sound)} samples are not numbers")
    wanted = SAMPLES_PER_FRAME * len(frames)
    gap_s = (wanted - len(sound)) / RATE_HZ
    if gap_s > settings.resample.max_audio_gap_s:
        raise Quarantine(
            "audio_too_short",
            f"sound ends {gap_s:.2f} s before the picture; resample.max_audio_gap_s is "
            f"{settings.resample.max_audio_gap_s:g}",
        )
    sound = np.pad(sound, (0, wanted - len(sound)))
    level = level_dbfs(sound)
    if level < settings.resample.silence_dbfs:
        raise Quarantine(
            "silent", f"loudest 40 ms at {level:.1f} dBFS; resample.silence_dbfs is {settings.resample.silence_dbfs:g}"
        )
    return {"frames.npy": frames, "wav": wav_bytes(sound)}


def process(job: PackJob) -> Iterator[ClipResult]:
    """One result a clip of the pack."""
    return each_clip(job, lambda record: make_clip(job, record))


def main(context: Context) -> dict[str, Any]:
    """Run the stage over all corpora. Returns counts a corpus."""
    return run_packs(SPEC, context)
