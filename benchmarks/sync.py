"""How far the mouth's offset estimate (:mod:`s3dnerf.sync.mouth_offset`) can be trusted, on preprocessed clips.

    python -m benchmarks.sync data/sample --truth 0
    python -m benchmarks.sync data/mini
    python -m benchmarks.sync data/mini --boxes

Reads ``ingest``, ``resample`` and ``align`` under each folder; writes nothing. For each folder it prints

- made shifts: every clip's sound moved by −10 … 10 frames; how many of these are told (confidence at least the
  setting's default) and how many of those are right within a frame: of the made shift plus ``--truth`` where the clips'
  own offset is known, else of the made shift plus what was found for the unmoved clip (consistency, not truth);
- halves: whether the two halves of a clip, each told on its own, agree within a frame: no made shift can pretend that;
- false alarms: another speaker's sound, which fits nowhere: how many are told all the same;
- the clips' own offsets, one line a recording.

With ``--boxes`` instead: how often lip boxes that follow the lips or the head tell the sound's place by their own
motion up and down, for several smoothings: boxes that do would let a still picture look in sync. Reads ``speech`` as
well, so that the sound is in step.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d

from s3dnerf.core.rates import REACH_FRAMES, SAMPLES_PER_FRAME
from s3dnerf.faces.lips import crop_boxes
from s3dnerf.settings.schema import LipsSettings, SpeechSettings
from s3dnerf.speech.audio import wav_samples
from s3dnerf.speech.mel import clip_mel
from s3dnerf.sync.filtering import clip_samples, shift_samples
from s3dnerf.sync.mouth_offset import (
    LEAST_FRAMES,
    SLOW_FRAMES,
    MouthOffset,
    correlation_curve,
    mouth_offset,
    pooled_offset,
    read_curve,
    sound_signals,
)
from s3dnerf.video.packs import CorpusPacks

SHIFTS = range(-10, 11)
OTHERS = 5  # sounds of other speakers tried on a clip


def clips_of(data: Path) -> list[tuple[dict[str, Any], np.ndarray, np.ndarray]]:
    """Record, landmarks (N, 68, 2) and samples (640 N,) of every clip that was aligned and is long enough to be
    told.
    """
    found = []
    for corpus in ("hdtf", "lrs2", "mead", "portraits"):
        aligned, sounds = CorpusPacks(data / "align" / corpus), CorpusPacks(data / "resample" / corpus)
        for record in (
            pd.read_parquet(data / "ingest" / corpus / "clips.parquet").sort_values("clip").to_dict("records")
        ):
            if record["clip"] in aligned and record["clip"] in sounds:
                landmarks = aligned.read(record["clip"], "landmarks.npy")
                if len(landmarks) >= LEAST_FRAMES:
                    found.append((record, landmarks, wav_samples(sounds.read(record["clip"], "wav"))))
    return found


def box_motion(data: Path, sure: float) -> None:
    """Print, for each smoothing, in how many clips the boxes' motion alone tells the right offset, and the pooled
    curve's height at 0.
    """
    clips = clips_of(data)
    heard = [sound_signals(clip_mel(clip_samples(data, record)), len(landmarks)) for record, landmarks, _ in clips]
    for follow in (0.1, 3.0, 6.0, 9.0, 12.0):
        found = []
        for (_, landmarks, _), sound in zip(clips, heard):
            boxes = crop_boxes(landmarks, LipsSettings().scale, follow).astype(np.float64)
            moving = boxes[:, 1:2] - gaussian_filter1d(boxes[:, 1:2], SLOW_FRAMES, axis=0, mode="nearest")
            found.append(read_curve(correlation_curve(moving, sound), len(landmarks)))
        right = sum(f.confidence >= sure and abs(f.offset_frames) <= 1 for f in found)
        curve = np.average([f.curve for f in found], axis=0, weights=[f.frames for f in found])
        above = curve[REACH_FRAMES] - np.median(curve)
        print(
            f"  boxes smoothed over {follow:4.1f} frames: the right offset in {share(right, len(found))}, "
            f"correlation at 0 {above:+.3f}"
        )


def share(hits: int, of: int) -> str:
    return f"{hits} of {of} ({hits / of:.1%})" if of else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", type=Path, help="data/<preset>")
    parser.add_argument(
        "--truth", type=int, help="the clips' own offset in frames, where it is known (synthetic clips: 0)"
    )
    parser.add_argument("--boxes", action="store_true", help="what the motion of the lip boxes tells")
    arguments = parser.parse_args()
    sure = SpeechSettings().mouth_confidence
    for data in arguments.data:
        if arguments.boxes:
            box_motion(data, sure)
            continue
        clips = clips_of(data)
        own = [mouth_offset(landmarks, clip_mel(samples)) for _, landmarks, samples in clips]
        print(
            f"{data}: {len(clips)} clips of at least {LEAST_FRAMES} frames, {sum(o.frames for o in own) / 25:.0f} s; "
            f"told from {sure:g} on"
        )
        told = right = 0
        for (_, landmarks, samples), base in zip(clips, own):
            start = base.offset_frames if arguments.truth is None else arguments.truth
            for k in SHIFTS:
                # the sound delayed by k frames is k frames less early
                found = mouth_offset(landmarks, clip_mel(shift_samples(samples, k)))
                told += found.confidence >= sure
                right += found.confidence >= sure and abs(found.offset_frames - (start - k)) <= 1
        print(
            f"  made shifts −10 … 10: told {share(told, len(clips) * len(SHIFTS))}; of these right within a frame "
            f"{share(right, told)}"
        )
        both = agree = 0
        for _, landmarks, samples in clips:
            middle = len(landmarks) // 2
            cut = middle * SAMPLES_PER_FRAME
            halves = ((landmarks[:middle], samples[:cut]), (landmarks[middle:], samples[cut:]))
            first, second = (mouth_offset(points, clip_mel(sound)) for points, sound in halves)
            if min(first.confidence, second.confidence) >= sure:
                both += 1
                agree += abs(first.offset_frames - second.offset_frames) <= 1
        print(f"  halves: both told in {both} clips, agreeing within a frame in {share(agree, both)}")
        rng, tried, alarms = np.random.default_rng(0), 0, 0
        for record, landmarks, _ in clips:
            others = [samples for other, _, samples in clips if other["speaker"] != record["speaker"]]
            for i in rng.permutation(len(others))[:OTHERS]:
                n = min(len(landmarks), len(others[i]) // SAMPLES_PER_FRAME)
                alarms += mouth_offset(landmarks[:n], clip_mel(others[i][: n * SAMPLES_PER_FRAME])).confidence >= sure
                tried += 1
        print(f"  another speaker's sound: told all the same {share(alarms, tried)}")
        videos: dict[str, list[MouthOffset]] = {}
        for (record, _, _), found in zip(clips, own):
            videos.setdefault(f"{record['corpus']} {record['video']}", []).append(found)
        for video, parts in sorted(videos.items()):
            whole = pooled_offset(parts)
            verdict = f"{whole.offset_frames:+3d}" if whole.confidence >= sure else "  ?"
            each = " ".join(f"{p.offset_frames:+d} ({p.confidence:.1f})" for p in parts)
            print(f"  {verdict}  confidence {whole.confidence:4.1f}  {whole.frames / 25:5.1f} s  {video}: {each}")


if __name__ == "__main__":
    main()
