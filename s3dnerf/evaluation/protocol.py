"""The evaluation protocol: one generated video against the truth, metric by metric, paired honestly.

Frame k of the generated video stands against frame k of the truth, both at 25 Hz, both 256². What has no partner (a
video that ends early) and what fails (no face found) is counted, in both videos alike; nothing is skipped in one video
only. A generated video may lack faces, sound or length: each metric then has a value over what can be paired, or None
with the reason.

Reads nothing, writes nothing: arrays in, :class:`~s3dnerf.metrics.result.Measured` out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from s3dnerf.faces.types import FaceBackend
from s3dnerf.metrics import cpbd, flicker, identity, lmd, lpips, mouth_motion, parallax, psnr, ssim, sync
from s3dnerf.metrics.lmd import metric_landmarks
from s3dnerf.metrics.result import Measured, Recipe, not_measured
from s3dnerf.settings.schema import LipsSettings

SIZE_PX = 256
COLUMNS = [
    "clip",
    "corpus",
    "speaker",
    "method",
    "metric",
    "value",
    "unit",
    "direction",
    "version",
    "counted",
    "failed",
    "reason",
]


@dataclass
class Tools:
    """What measures: backends that were loaded once, and for each missing one the reason.

    Attributes
    ----------
    faces : FaceBackend
    judge, network, recogniser : the sync judge, the LPIPS network, the face recogniser, or None
    why : what is None → the reason that its metrics carry (keys ``judge``, ``lpips``, ``identity``)
    judge_key, identity_name : what the recipes' versions carry even where nothing was measured
    landmark_every, picture_every : landmark metrics, and SSIM, PSNR, LPIPS and CPBD, look at every n-th frame
    identity_frames : frames of a clip that the recogniser sees
    lips : how lip boxes are made where nobody made them before
    """

    faces: FaceBackend
    judge: Any = None
    network: Any = None
    recogniser: Any = None
    why: dict[str, str] = field(default_factory=dict)
    judge_key: str = "none"
    identity_name: str = "dlib"
    landmark_every: int = 1
    picture_every: int = 1
    identity_frames: int = 5
    lips: LipsSettings = field(default_factory=LipsSettings)

    def recipes(self) -> list[Recipe]:
        """Every metric in the order of the tables, with the versions that these tools give it."""
        return [
            ssim.RECIPE,
            psnr.RECIPE,
            lpips.RECIPE,
            lmd.FACE_RECIPE,
            lmd.MOUTH_RECIPE,
            cpbd.RECIPE,
            *sync.recipes_of(self.judge_key),
            identity.recipe_of(self.identity_name),
            mouth_motion.DEVIATION_RECIPE,
            mouth_motion.CORRELATION_RECIPE,
            parallax.RECIPE,
            flicker.FACE_RECIPE,
            flicker.BACKGROUND_RECIPE,
        ]


@dataclass
class Truth:
    """The truth of one clip with what is measured on it once, whatever the number of methods.

    Attributes
    ----------
    frames, lip_box, samples, audio : as :func:`prepare_truth` takes them
    landmark_frames : (l,), numbers of the frames whose landmarks were sought
    landmarks : (l, 68, 2), nan where they failed
    descriptors : position in ``landmark_frames`` → description of the face
    """

    frames: np.ndarray
    lip_box: np.ndarray | None
    samples: np.ndarray | None
    audio: np.ndarray | None
    landmark_frames: np.ndarray
    landmarks: np.ndarray
    descriptors: dict[int, np.ndarray]


def prepare_truth(
    frames: np.ndarray, lip_box: np.ndarray | None, samples: np.ndarray | None, audio: np.ndarray | None, tools: Tools
) -> Truth:
    """Landmarks and face descriptors of the truth.

    Parameters
    ----------
    frames : uint8 (n, 256, 256, 3), RGB, 25 Hz
    lip_box : float (4,) or a box a frame (n, 4), x0, y0, x1, y1 in pixels of the frame, or None where nobody made one
    samples : float32 (≤ 640 n,), 16 kHz, −1 … 1, as far as the sound goes; or None where the clip has none
    audio : the samples in the form that the judge reads (:meth:`s3dnerf.sync.judge.SyncJudge.audio_of`), or None
    """
    landmark_frames = np.arange(0, len(frames), tools.landmark_every)
    landmarks = metric_landmarks(frames[landmark_frames], tools.faces)
    usable = np.isfinite(landmarks).all(axis=(1, 2))
    descriptors = {}
    if tools.recogniser is not None:
        for i in identity.spread(usable, tools.identity_frames):
            descriptors[i] = tools.recogniser.describe(frames[landmark_frames[i]], landmarks[i])
    return Truth(frames, lip_box, samples, audio, landmark_frames, landmarks, descriptors)


def resize(frames: np.ndarray, size_px: int = SIZE_PX) -> np.ndarray:
    """Square frames to 256² (area averaging down, bicubic up). Raises ValueError for frames that are not square."""
    import cv2

    height, width = frames.shape[1:3]
    if height != width:
        raise ValueError(f"frames of {width}×{height}: expected square ones (they are compared at {size_px}²)")
    if height == size_px:
        return frames
    method = cv2.INTER_AREA if height > size_px else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (size_px, size_px), interpolation=method) for frame in frames])


def _with_lengths(measured: list[Measured], lengths: str, missing: int) -> list[Measured]:
    """The same measurements, saying that the videos' lengths differ."""
    return [
        replace(m, failed=m.failed + missing, reason="; ".join(filter(None, (m.reason, lengths)))) for m in measured
    ]


def score_pair(generated: np.ndarray, truth: Truth, tools: Tools) -> tuple[list[Measured], np.ndarray]:
    """All metrics of one generated video.

    Parameters
    ----------
    generated : uint8 (m, 256, 256, 3), RGB, 25 Hz; a single frame (1, …) of a clip that has more is held for the whole
        clip only where the caller repeats it: lengths are taken as they are

    Returns
    -------
    measured : one a metric, in the tables' order
    landmarks : float32 (len(truth.landmark_frames), 68, 2), nan where they failed or there was no frame
    """
    paired = min(len(generated), len(truth.frames))
    missing = len(truth.frames) - paired
    if not paired:
        unmeasured = [not_measured(r, "the generated video has no frames", failed=missing) for r in tools.recipes()]
        return unmeasured, np.full_like(truth.landmarks, np.nan)
    lengths = ""
    if len(generated) != len(truth.frames):
        lengths = f"{len(generated)} frames, the truth has {len(truth.frames)}: the first {paired} are paired"
    generated = generated[:paired]
    landmark_frames = truth.landmark_frames[truth.landmark_frames < paired]
    landmarks = np.full_like(truth.landmarks, np.nan)
    unique, inverse = _unique_frames(generated[landmark_frames])
    landmarks[: len(landmark_frames)] = metric_landmarks(unique, tools.faces)[inverse]
    pair = landmarks[: len(landmark_frames)], truth.landmarks[: len(landmark_frames)]
    face, mouth = lmd.measure(*pair)
    ours, theirs = generated[:: tools.picture_every], truth.frames[: paired : tools.picture_every]
    distinct, places = _unique_frames(ours)
    perceptual = lpips.measure(tools.network, ours, theirs, tools.why.get("lpips", ""))
    pictures = [ssim.measure(ours, theirs), psnr.measure(ours, theirs), perceptual]
    blur = cpbd.over_frames(cpbd.RECIPE, cpbd.cpbd(distinct)[places], "no frames")
    measured = [
        *pictures,
        face,
        mouth,
        blur,
        *judged(generated, truth, tools),
        likeness(generated, landmarks, truth, tools),
        *mouth_motion.measure(*pair),
        parallax.measure(*pair),
        *flicker.measure(generated, truth.landmarks),
    ]
    return _with_lengths(measured, lengths, missing), landmarks


def _unique_frames(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames without repeats of the one before (a still picture is measured once), and where each went."""
    new = np.ones(len(frames), bool)
    for i in range(1, len(frames)):
        new[i] = not np.array_equal(frames[i], frames[i - 1])
    return frames[new], np.cumsum(new) - 1


def judged(frames: np.ndarray, truth: Truth, tools: Tools) -> list[Measured]:
    """LSE-C, LSE-D and offset of a video against the truth's sound."""
    if tools.judge is None:
        return sync.unjudged(tools.judge_key, tools.why.get("judge", "no judge"))
    if truth.samples is None:
        return sync.unjudged(tools.judge_key, "the truth has no sound")
    return sync.measure(
        tools.judge, tools.judge_key, frames, truth.lip_box, truth.samples[: 640 * len(frames)], truth.audio
    )


def likeness(frames: np.ndarray, landmarks: np.ndarray, truth: Truth, tools: Tools) -> Measured:
    """Identity similarity on the frames whose truth was described."""
    if tools.recogniser is None:
        return not_measured(
            identity.recipe_of(tools.identity_name), tools.why.get("identity", "switched off (evaluate.identity: off)")
        )
    ours: list[np.ndarray | None] = []
    last: tuple[np.ndarray, np.ndarray] | None = None  # a still picture is described once
    for i in truth.descriptors:
        frame = frames[truth.landmark_frames[i]] if truth.landmark_frames[i] < len(frames) else None
        if frame is None or not np.isfinite(landmarks[i]).all():
            ours.append(None)
            continue
        if last is None or not np.array_equal(last[0], frame):
            last = frame, tools.recogniser.describe(frame, landmarks[i])
        ours.append(last[1])
    return identity.measure(tools.recogniser, ours, list(truth.descriptors.values()))


def score_truth(truth: Truth, tools: Tools) -> list[Measured]:
    """The row GT: a video against itself. What depends on the video alone (CPBD, sync) is measured; the rest is its
    recipe's value for equal videos, over the frames that could be measured."""
    n, lost = len(truth.frames), int(np.isnan(truth.landmarks).any(axis=(1, 2)).sum())
    measured = {
        m.recipe.name: m
        for m in [
            cpbd.measure(truth.frames[:: tools.picture_every]),
            *judged(truth.frames, truth, tools),
            *mouth_motion.measure(truth.landmarks, truth.landmarks),
            parallax.measure(truth.landmarks, truth.landmarks),
            *flicker.measure(truth.frames, truth.landmarks),
        ]
    }
    rows = []
    for recipe in tools.recipes():
        if recipe.name in measured:
            rows.append(measured[recipe.name])
        elif recipe.name == "lpips" and tools.network is None:
            rows.append(not_measured(recipe, tools.why.get("lpips", "no LPIPS weights")))
        elif recipe.name == "identity" and tools.recogniser is None:
            rows.append(not_measured(recipe, tools.why.get("identity", "switched off (evaluate.identity: off)")))
        elif recipe.name == "psnr":
            rows.append(not_measured(recipe, "the truth against itself: the ratio is infinite"))
        elif recipe.name in ("f_lmd", "m_lmd") and lost == len(truth.landmark_frames):
            rows.append(not_measured(recipe, lmd.NO_FRAME, failed=lost))
        else:
            of_landmarks = recipe.name in ("f_lmd", "m_lmd")
            rows.append(
                Measured(
                    recipe,
                    recipe.perfect,
                    len(truth.landmark_frames) - lost if of_landmarks else n,
                    lost if of_landmarks else 0,
                )
            )
    return rows


def as_rows(measured: list[Measured], clip: str, corpus: str, speaker: str, method: str) -> list[dict[str, Any]]:
    """Rows of ``clips.parquet``; a missing value is nan with its reason."""
    return [
        {
            "clip": clip,
            "corpus": corpus,
            "speaker": speaker,
            "method": method,
            "metric": m.recipe.name,
            "value": float("nan") if m.value is None else m.value,
            "unit": m.recipe.unit,
            "direction": m.recipe.direction,
            "version": m.recipe.version,
            "counted": m.counted,
            "failed": m.failed,
            "reason": m.reason,
        }
        for m in measured
    ]
