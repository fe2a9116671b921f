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
from s3dnerf.metrics import (
    cpbd,
    expression,
    face_dynamics,
    flicker,
    head_pose,
    identity,
    keypoints,
    lmd,
    lpips_files,
    mouth_blur,
    mouth_motion,
    mouth_sound,
    parallax,
    psnr,
    silent_lips,
    ssim,
    sync,
)
from s3dnerf.metrics.lmd import metric_landmarks
from s3dnerf.metrics.result import Measured, Recipe, not_measured
from s3dnerf.settings.schema import LipsSettings

SIZE_PX = 256
# of one video and its sound, from landmarks alone
MOTION = (
    head_pose.DYNAMICS_RECIPE, head_pose.DEVIATION_RECIPE, *face_dynamics.RECIPES, silent_lips.RECIPE,
    *mouth_sound.RECIPES,
)  # fmt: skip
# what is computed from landmarks has other numbers with another landmark finder: its version names the finder
OF_LANDMARKS = frozenset(
    recipe.name
    for recipe in (
        lmd.FACE_RECIPE, lmd.MOUTH_RECIPE, mouth_motion.DEVIATION_RECIPE, mouth_motion.CORRELATION_RECIPE,
        parallax.RECIPE, keypoints.RECIPE, head_pose.APD_RECIPE, expression.RECIPE, *MOTION,
    )
)  # fmt: skip
WITHOUT_TRUTH = "compares with a truth, and none was given"
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


def every_recipe(judge_key: str, identity_name: str) -> list[Recipe]:
    """Every metric in the order of the tables, whatever landmark finder there is."""
    likeness, *likeness_in_time = identity.recipes_of(identity_name)
    return [
        ssim.RECIPE, psnr.RECIPE, lpips_files.RECIPE, lmd.FACE_RECIPE, lmd.MOUTH_RECIPE, cpbd.RECIPE,
        *sync.recipes_of(judge_key), likeness, mouth_motion.DEVIATION_RECIPE, mouth_motion.CORRELATION_RECIPE,
        parallax.RECIPE, flicker.FACE_RECIPE, flicker.BACKGROUND_RECIPE, keypoints.RECIPE, head_pose.APD_RECIPE,
        expression.RECIPE, *MOTION, *likeness_in_time, mouth_blur.RECIPE,
    ]  # fmt: skip


@dataclass
class Tools:
    """What measures: backends that were loaded once, and for each missing one the reason.

    Attributes
    ----------
    faces : FaceBackend
    judge, network, recogniser : the sync judge, the LPIPS network, the face recogniser, or None
    networks : name → features of a video, for what is measured over a whole corpus
        (:mod:`s3dnerf.evaluation.feature_networks`)
    why : what is None → the reason that its metrics carry (keys ``judge``, ``lpips``, ``identity``); of a feature
        network that is not here likewise (``alexnet``, ``inception``, ``i3d``)
    judge_key, identity_name : what the recipes' versions carry even where nothing was measured
    landmark_every, picture_every : landmark metrics, and SSIM, PSNR, LPIPS and CPBD, look at every n-th frame
    identity_frames : frames of a clip that the recogniser sees
    lips : how lip boxes are made where nobody made them before
    """

    faces: FaceBackend
    judge: Any = None
    network: Any = None
    recogniser: Any = None
    networks: dict[str, Any] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    judge_key: str = "none"
    identity_name: str = "dlib"
    landmark_every: int = 1
    picture_every: int = 1
    identity_frames: int = 5
    lips: LipsSettings = field(default_factory=LipsSettings)

    def versioned(self, recipe: Recipe) -> Recipe:
        """The recipe; where it is computed from landmarks, with the landmark finder in its version."""
        if recipe.name not in OF_LANDMARKS:
            return recipe
        return replace(recipe, version=f"{recipe.version}-{self.faces.name if self.faces else 'none'}")

    def recipes(self) -> list[Recipe]:
        """Every metric in the order of the tables, with the versions that these tools give it."""
        return [self.versioned(recipe) for recipe in every_recipe(self.judge_key, self.identity_name)]

    def in_order(self, measured: list[Measured], reason: str) -> list[Measured]:
        """Measurements in the tables' order, their versions with the landmark finder; of what is not among them, that
        it was not measured, with the reason (ValueError where that is empty).
        """
        found = {m.recipe.name: replace(m, recipe=self.versioned(m.recipe)) for m in measured}
        return [found.get(r.name) or not_measured(r, reason) for r in self.recipes()]


@dataclass
class Truth:
    """The truth of one clip with what is measured on it once, whatever the number of methods.

    Attributes
    ----------
    frames, lip_box, samples, audio : as :func:`prepare_truth` takes them
    landmark_frames : (l,), numbers of the frames whose landmarks were sought
    landmarks : (l, 68, 2), nan where they failed
    descriptors : position in ``landmark_frames`` → description of the face
    features : LPIPS's features of these frames, kept by its first video for the others (:func:`lpips.measure`)
    """

    frames: np.ndarray
    lip_box: np.ndarray | None
    samples: np.ndarray | None
    audio: np.ndarray | None
    landmark_frames: np.ndarray
    landmarks: np.ndarray
    descriptors: dict[int, np.ndarray]
    features: dict[tuple[int, int], Any] = field(default_factory=dict, repr=False)


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
    ours, theirs = generated[:: tools.picture_every], truth.frames[: paired : tools.picture_every]
    if tools.network is None:
        perceptual = lpips_files.absent(tools.why.get("lpips", ""))
    else:
        from s3dnerf.metrics import lpips  # here: it imports torch, which the protocol itself does without

        perceptual = lpips.measure(tools.network, ours, theirs, kept=truth.features)
    pictures = [ssim.measure(ours, theirs), psnr.measure(ours, theirs), perceptual]
    described = describe(generated, landmarks, truth, tools)
    measured = [
        *pictures,
        *lmd.measure(*pair),
        *likeness(described, truth, tools),
        *mouth_motion.measure(*pair),
        parallax.measure(*pair),
        keypoints.measure(*pair),
        head_pose.measure(*pair),
        expression.measure(*pair),
        *of_one_video(generated, pair[0], described, truth, tools),
    ]
    return _with_lengths(tools.in_order(measured, ""), lengths, missing), landmarks


def of_one_video(
    frames: np.ndarray, landmarks: np.ndarray, described: list[np.ndarray | None], truth: Truth, tools: Tools
) -> list[Measured]:
    """What a video and the sound say without another video: sharpness, sync, flicker, motion, identity over time.

    Parameters
    ----------
    frames : uint8 (m, 256, 256, 3)
    landmarks : (k, 68, 2), of the first k of ``truth.landmark_frames``
    described : descriptions of its face, None where it was not found
    truth : whose sound, lip box and face region are taken: the truth, or the video itself
    """
    samples = None if truth.samples is None else truth.samples[: 640 * len(frames)]
    distinct, places = _unique_frames(frames[:: tools.picture_every])
    blur = cpbd.over_frames(cpbd.RECIPE, cpbd.cpbd(distinct)[places], "no frames")
    at = truth.landmark_frames[: len(landmarks)]
    looked_at = at % tools.picture_every == 0
    if tools.recogniser is None:
        over_time = _unrecognised(tools)[3]
    else:
        over_time = identity.measure_alone(tools.recogniser, described)
    return [
        blur,
        *judged(frames, truth, tools),
        *flicker.measure(frames, truth.landmarks),
        *head_pose.measure_motion(landmarks, tools.landmark_every),
        *face_dynamics.measure(landmarks, tools.landmark_every),
        silent_lips.measure(landmarks, samples, tools.landmark_every),
        *mouth_sound.measure(landmarks, samples, tools.landmark_every),
        mouth_blur.measure(frames[at[looked_at]], landmarks[looked_at]),
        over_time,
    ]


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
        return sync.unjudged(tools.judge_key, silent_lips.NO_SOUND)
    return sync.measure(
        tools.judge, tools.judge_key, frames, truth.lip_box, truth.samples[: 640 * len(frames)], truth.audio
    )


def _unrecognised(tools: Tools) -> list[Measured]:
    """The four measures of identity without a value."""
    why = tools.why.get("identity", "switched off (evaluate.identity: off)")
    return [not_measured(recipe, why) for recipe in identity.recipes_of(tools.identity_name)]


def describe(frames: np.ndarray, landmarks: np.ndarray, truth: Truth, tools: Tools) -> list[np.ndarray | None]:
    """Descriptions of a video's face in the frames whose truth was described; None where it was not found."""
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
    return ours


def likeness(described: list[np.ndarray | None], truth: Truth, tools: Tools) -> list[Measured]:
    """Identity similarity, its least and its deviation, on the frames whose truth was described."""
    if tools.recogniser is None:
        return _unrecognised(tools)[:3]
    return list(identity.measure(tools.recogniser, described, list(truth.descriptors.values())))


def score_truth(truth: Truth, tools: Tools) -> list[Measured]:
    """The row GT: a video against itself. What depends on the video alone (CPBD, sync) is measured; the rest is its
    recipe's value for equal videos, over the frames that could be measured."""
    lost = int(np.isnan(truth.landmarks).any(axis=(1, 2)).sum())
    found = len(truth.landmarks) - lost
    described: list[np.ndarray | None] = list(truth.descriptors.values())
    measured = [
        Measured(ssim.RECIPE, ssim.RECIPE.perfect, len(truth.frames)),
        not_measured(psnr.RECIPE, "the truth against itself: the ratio is infinite"),
        *likeness(described, truth, tools),
        *mouth_motion.measure(truth.landmarks, truth.landmarks),
        parallax.measure(truth.landmarks, truth.landmarks),
        *of_one_video(truth.frames, truth.landmarks, described, truth, tools),
    ]
    if tools.network is None:
        measured.append(lpips_files.absent(tools.why.get("lpips", "")))
    else:
        measured.append(Measured(lpips_files.RECIPE, lpips_files.RECIPE.perfect, len(truth.frames)))
    for recipe in (lmd.FACE_RECIPE, lmd.MOUTH_RECIPE, keypoints.RECIPE, head_pose.APD_RECIPE, expression.RECIPE):
        equal = Measured(recipe, recipe.perfect, found, lost)
        measured.append(equal if found else not_measured(recipe, lmd.NO_FRAME, failed=lost))
    return tools.in_order(measured, "")


def score_alone(video: Truth, tools: Tools) -> list[Measured]:
    """A video without a truth: what it and its sound say; the rest is not measured, and says so.

    Parameters
    ----------
    video : the video, prepared by :func:`prepare_truth` with its own sound
    """
    described: list[np.ndarray | None] = list(video.descriptors.values())
    measured = of_one_video(video.frames, video.landmarks, described, video, tools)
    return tools.in_order(measured, WITHOUT_TRUTH)


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
