"""One picture for each preprocessing stage, of clips that a hash of their names chooses.

Reads the packs and raw videos of the preset in force through :class:`s3dnerf.reporting.sheet_choice.Preprocessed`;
bytes out. What is drawn into the frames is what the contact sheets draw (:mod:`s3dnerf.reporting.pictures`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flows.docs_pictures.charts import clock_chart, speech_chart
from flows.docs_pictures.panels import grid, resized, webp
from s3dnerf.core.rates import FPS_HZ
from s3dnerf.faces.camera import pose_degrees, project
from s3dnerf.metrics.lmd import mouth_opening
from s3dnerf.reporting.pictures import annotated, cut_out, source_picture
from s3dnerf.reporting.sheet_choice import Preprocessed, by_hash
from s3dnerf.reporting.sheets import AXIS, positions, signed
from s3dnerf.speech.audio import wav_samples
from s3dnerf.video.encoding import decode_clip
from s3dnerf.video.probing import probe
from s3dnerf.video.reading import read_frames

TILE_PX = 168
CLOCK_TICKS = 13  # half a second
CORPORA = {"hdtf": "as HDTF", "lrs2": "as LRS2", "mead": "as MEAD"}


@dataclass(frozen=True)
class ShownClip:
    """A clip with what its pictures are drawn on: aligned frames uint8 (n, 256, 256, 3)."""

    corpus: Preprocessed
    clip: str
    frames: np.ndarray

    def read(self, stage: str, kind: str) -> np.ndarray:
        """One part of the clip."""
        return self.corpus.read(stage, self.clip, kind)


def shown_clip(corpus: Preprocessed, clip: str) -> ShownClip:
    """The clip with its aligned frames decoded."""
    return ShownClip(corpus, clip, decode_clip(corpus.read("align", clip, "mp4")))


def _raw_frame(corpus: Preprocessed, clip: str, tick: int) -> np.ndarray:
    """The raw frame that the 25 Hz clock shows at a tick, with the annotated crop drawn into it, if there is one."""
    record, index = corpus.records[clip], corpus.read("resample", clip, "frames.npy")
    frame = next(f.copy() for f in read_frames(corpus.source(clip), index[[tick]]))
    x, y, w, h = (int(record[f"crop_{k}"]) for k in "xywh")
    return source_picture(frame, None if w < 0 else (x, y, w, h), 2 * TILE_PX)


def sample_picture(corpora: list[Preprocessed], people: int = 2) -> bytes:
    """First raw frames, a column a corpus, each person once; the green box is the corpus's own annotation."""
    rows: list[list[np.ndarray]] = [[] for _ in range(people)]
    captions: list[list[str]] = [[] for _ in range(people)]
    for corpus in corpora:
        speakers: dict[str, str] = {}
        for clip in by_hash(corpus.clips("resample"), len(corpus.records)):
            speakers.setdefault(corpus.records[clip]["speaker"], clip)
        for row, clip in enumerate(list(speakers.values())[:people]):
            record = corpus.records[clip]
            rows[row].append(resized(_raw_frame(corpus, clip, 0), TILE_PX))
            size = f"{record['width_px']}×{record['height_px']}, {record['fps_hz']:.4g} Hz"
            captions[row].append(f"{CORPORA.get(corpus.corpus, corpus.corpus)}: {size}")
    return webp(grid([row for row in rows if row], [row for row in captions if row]))


def resample_picture(corpus: Preprocessed, clip: str) -> bytes:
    """Times of the raw frames, the 25 Hz ticks, and which raw frame each tick shows."""
    record, index = corpus.records[clip], corpus.read("resample", clip, "frames.npy")
    times_s = np.asarray(probe(corpus.source(clip)).frame_times_s) - float(record["start_s"])
    return clock_chart(times_s, index[:CLOCK_TICKS], float(record["fps_hz"]))


def align_picture(shown: ShownClip) -> bytes:
    """The raw frame, and aligned frames with the 68 landmarks."""
    landmarks = shown.read("align", "landmarks.npy")
    raw = resized(_raw_frame(shown.corpus, shown.clip, 0), TILE_PX)
    at = positions(len(shown.frames))
    tiles = [annotated(shown.frames[i], landmarks[i], size_px=TILE_PX) for i in at]
    captions = ["raw frame", *(f"aligned, {i / FPS_HZ:.2f} s" for i in at)]
    return webp(grid([[raw, *tiles]], [captions]))


def masks_picture(shown: ShownClip) -> bytes:
    """Mask outline and head axes on the aligned frames; below, what is inside of the mask: the appearance encoder's
    input.
    """
    masks = np.unpackbits(shown.read("masks", "mask.npy"), axis=-1)[..., : shown.frames.shape[2]].astype(bool)
    cameras, lenses = shown.read("masks", "world_to_camera.npy"), shown.read("masks", "intrinsics.npy")
    box = shown.read("masks", "box.npy").astype(np.float64)
    ends = box[:3] + np.concatenate([np.zeros((1, 3)), np.eye(3)]) * box[3] * AXIS
    pose, at = pose_degrees(cameras), positions(len(shown.frames))
    above = [
        annotated(shown.frames[i], mask=masks[i], axes=project(ends, cameras[i], lenses[i]), size_px=TILE_PX)
        for i in at
    ]
    below = [resized(shown.frames[i] * masks[i][..., None], TILE_PX) for i in at]
    angles = [f"yaw {signed(pose[i][0])}°, pitch {signed(pose[i][1])}°" for i in at]
    return webp(grid([above, below], [angles, ["inner face"] * len(at)]))


def lips_picture(shown: ShownClip) -> bytes:
    """The lip box on aligned frames, and the crops that the lip-sync networks see."""
    boxes, at = shown.read("lips", "crop_boxes.npy"), positions(len(shown.frames))
    above = [annotated(shown.frames[i], lip_box=boxes[i], size_px=TILE_PX) for i in at]
    below = [resized(cut_out(shown.frames[i], boxes[i]), TILE_PX) for i in at]
    return webp(grid([above, below], [[f"lip box, {i / FPS_HZ:.2f} s" for i in at], ["lip crop"] * len(at)]))


def speech_picture(shown: ShownClip) -> bytes:
    """Sound, mel spectrogram, speech tokens and the mouth's opening over the same time."""
    samples = wav_samples(shown.corpus.read("resample", shown.clip, "wav"))
    tokens, mel = shown.read("speech", "tokens.npy"), shown.read("speech", "mel.npy")
    return speech_chart(samples, mel, tokens, mouth_opening(shown.read("align", "landmarks.npy")))
