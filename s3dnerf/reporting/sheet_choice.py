"""Which clips the contact sheets of preprocessing show, and each stage's own number by which its worst clip is found.

Reads ``data/<preset>/{ingest,resample,align,masks,lips,speech}/<corpus>``; writes nothing. Clips are taken by a hash of
their names: not the best ones, and the same ones when others are added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.core.errors import MissingWeights
from s3dnerf.core.rates import FPS_HZ, SAMPLES_PER_FRAME
from s3dnerf.faces.camera import project
from s3dnerf.faces.recon.morphable import LAYOUT, MorphableModel, load_bfm, own_model
from s3dnerf.settings.schema import Settings
from s3dnerf.speech.audio import wav_samples
from s3dnerf.video.packs import PACK_STAGES, CorpusPacks

SHOWN = 3  # clips by hash
MOST_RANKED = 2000  # a large corpus is ranked by this many of its clips, taken by hash: each costs a few small reads
JAW_POINTS = 17  # the first of the 68: some detectors put them on the visible edge, where the model has no fixed vertex
QUIET_DB = 40.0  # below the clip's loudest 40 ms


@dataclass(frozen=True)
class Quality:
    """A stage's own number of one clip, and the frame where it is worst."""

    value: float
    frame: int


class Preprocessed:
    """One corpus as preprocessing left it: records, packs by stage (those that ran), and what was stopped where.

    Raises FileNotFoundError when ``ingest`` has not run for the corpus.
    """

    def __init__(self, settings: Settings, corpus: str) -> None:
        import pandas as pd

        data = settings.data_dir
        self.settings, self.corpus = settings, corpus
        self.records = {
            r["clip"]: r for r in pd.read_parquet(data / "ingest" / corpus / "clips.parquet").to_dict("records")
        }
        folders = {stage: data / stage / corpus for stage in PACK_STAGES}
        self.packs = {
            stage: CorpusPacks(folder) for stage, folder in folders.items() if (folder / "index.parquet").is_file()
        }
        self.stopped: list[dict[str, Any]] = []
        for folder in folders.values():
            if (folder / "quarantine.parquet").is_file():
                self.stopped += pd.read_parquet(folder / "quarantine.parquet").to_dict("records")

    def read(self, stage: str, clip: str, kind: str) -> Any:
        """One part of a clip, decoded."""
        return self.packs[stage].read(clip, kind)

    def clips(self, stage: str) -> list[str]:
        """Clips that came through a stage and that ingest still knows, sorted."""
        return [clip for clip in self.packs[stage].clips if clip in self.records] if stage in self.packs else []

    def source(self, clip: str) -> Path:
        """The raw video of a clip."""
        return Path(getattr(self.settings.raw, self.corpus) or "") / self.records[clip]["video"]


def by_hash(clips: Iterable[str], count: int) -> list[str]:
    """At most ``count`` of the clips, those whose names' SHA-256 is lowest.

    >>> by_hash(["a", "b", "c"], 2)
    ['c', 'b']
    """
    return sorted(clips, key=lambda clip: hashlib.sha256(clip.encode()).digest())[:count]


def longest_stand(frames: np.ndarray) -> Quality:
    """How many milliseconds of the 25 Hz clock one source frame is shown at most (40: none twice); source frames int
    (n,).

    >>> longest_stand(np.array([0, 1, 1, 1, 2]))
    Quality(value=120.0, frame=1)
    """
    starts = np.flatnonzero(np.diff(frames, prepend=frames[0] - 1))
    runs = np.diff(np.append(starts, len(frames)))
    return Quality(float(runs.max()) * 1000 / FPS_HZ, int(starts[runs.argmax()]))


def lowest_score(scores: np.ndarray) -> Quality:
    """The lowest detector score of the frames that the detector looked at; scores float (n,), nan where it did not."""
    return Quality(float(np.nanmin(scores)), int(np.nanargmin(scores)))


def landmark_error_px(
    landmarks: np.ndarray,
    coefficients: np.ndarray,
    world_to_camera: np.ndarray,
    intrinsics: np.ndarray,
    model: MorphableModel,
) -> np.ndarray:
    """Mean distance (n,) of the 51 inner landmarks (n, 68, 2) from where model and smoothed camera put them, in
    pixels.
    """
    shape = model.shape(coefficients[:, LAYOUT["id"]], coefficients[:, LAYOUT["exp"]], model.keypoints)
    off = project(shape, world_to_camera, intrinsics) - landmarks
    return np.linalg.norm(off[:, JAW_POINTS:], axis=2).mean(axis=1)


def box_margin(box: np.ndarray, boxes: np.ndarray, size_px: int) -> Quality:
    """Pixels by which the lip box (4,) stays inside the aligned frame (negative: leaves it); the frame whose own box is
    farthest off it.
    """
    margin = min(float(box[:2].min()), size_px - float(box[2:].max()))
    off = np.linalg.norm((boxes[:, :2] + boxes[:, 2:]) - (box[:2] + box[2:]), axis=1)
    return Quality(margin, int(off.argmax()))


def quiet_share(samples: np.ndarray) -> Quality:
    """Percent of 40 ms pieces more than 40 dB below the loudest; samples float (640 n,)."""
    power = np.square(samples.astype(np.float64)).reshape(-1, SAMPLES_PER_FRAME).mean(axis=1)
    quiet = power <= power.max() * 10 ** (-QUIET_DB / 10)
    return Quality(100 * float(quiet.mean()), int(quiet.argmax()))


@dataclass(frozen=True)
class Measure:
    """A stage's number in words, which end of it is bad, and how to find it for a clip."""

    what: str
    unit: str
    bad: str  # "low" or "high"
    of: Callable[[Preprocessed, str], Quality]
    digits: int = 2

    def said(self, quality: Quality) -> str:
        """``lowest detector score 1.41``."""
        return f"{self.what} {quality.value:.{self.digits}f} {self.unit}".rstrip().replace("-", "−")


def _model(settings: Settings) -> MorphableModel:
    return own_model() if settings.masks.backend == "fitted" else load_bfm(settings.masks.morphable_model)


def measures(settings: Settings) -> dict[str, Measure | str]:
    """Stage → its measure, or the reason why there is none here."""
    found: dict[str, Measure | str] = {
        "resample": Measure(
            "one source frame stands for",
            "ms",
            "high",
            lambda p, c: longest_stand(p.read("resample", c, "frames.npy")),
            0,
        ),
        "align": Measure(
            "lowest detector score", "", "low", lambda p, c: lowest_score(p.read("align", c, "scores.npy"))
        ),
        "lips": Measure(
            "lip box from the frame's edge",
            "px",
            "low",
            lambda p, c: box_margin(
                p.read("lips", c, "lip_box.npy"), p.read("lips", c, "boxes.npy"), settings.align.size_px
            ),
        ),
        "speech": Measure(
            "quiet for", "% of the clip", "high", lambda p, c: quiet_share(wav_samples(p.read("resample", c, "wav"))), 0
        ),
    }
    try:
        model = _model(settings)
    except MissingWeights:
        return found | {"masks": f"no clip is ranked: the face model is not here ({settings.masks.morphable_model})"}

    def missed(p: Preprocessed, clip: str) -> Quality:
        coefficients, cameras = p.read("masks", clip, "coefficients.npy"), p.read("masks", clip, "world_to_camera.npy")
        error = landmark_error_px(
            p.read("align", clip, "landmarks.npy"),
            coefficients,
            cameras,
            p.read("masks", clip, "intrinsics.npy"),
            model,
        )
        return Quality(float(np.median(error)), int(error.argmax()))

    return found | {"masks": Measure("landmarks missed by (median)", "px", "high", missed)}


def ranked(corpus: Preprocessed, clips: Iterable[str], measure: Measure) -> list[tuple[str, Quality]]:
    """The clips with their numbers, the worst first, equals by name; of a large corpus :data:`MOST_RANKED` clips, by
    hash.
    """
    sign = 1 if measure.bad == "low" else -1
    found = [(clip, measure.of(corpus, clip)) for clip in by_hash(clips, MOST_RANKED)]
    return sorted(found, key=lambda pair: (sign * pair[1].value, pair[0]))
