"""Identity: dlib's recogniser against dlib's own call, an ArcFace-shaped network against its formula, and the choice of
frames.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3dnerf.core.errors import MissingWeights
from s3dnerf.faces.dlib_files import dlib_data
from s3dnerf.metrics import identity


@pytest.mark.slow
def test_dlib_is_dlibs_own_descriptor(shared) -> None:
    import decord
    import dlib

    clips = shared / "corpora/HDTF/clips"
    video = decord.VideoReader(str(clips / "RD_Radio8_000.mp4"))
    frames = [
        video[100].asnumpy(),
        video[101].asnumpy(),
        decord.VideoReader(str(clips / "WDA_KatieHill_000.mp4"))[50].asnumpy(),
    ]
    detector, predictor = dlib.get_frontal_face_detector(), dlib.shape_predictor(str(dlib_data("landmarks")))
    network = dlib.face_recognition_model_v1(str(dlib_data("recogniser")))
    recogniser = identity.load_recogniser("dlib", None)
    ours, theirs = [], []
    for frame in frames:
        shape = predictor(frame, detector(frame, 0)[0])
        theirs.append(np.array(network.compute_face_descriptor(frame, shape)))
        ours.append(recogniser.describe(frame, np.array([(p.x, p.y) for p in shape.parts()], np.float32) + 0.5))
    assert np.allclose(ours, theirs, atol=1e-6)
    same, other = recogniser.similarity(ours[0], ours[1]), recogniser.similarity(ours[0], ours[2])
    assert same == pytest.approx(1 - np.linalg.norm(theirs[0] - theirs[1]))
    assert same > 0.7 > 0.4 > other
    measured, *_ = identity.measure(recogniser, [ours[1], None], [ours[0], ours[0]])
    assert measured.value == pytest.approx(same) and (measured.counted, measured.failed) == (1, 1)


def _tiny_arcface(path: Path) -> None:
    """An ONNX network of the recogniser's form that averages its input over 28×28 tiles."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("AveragePool", ["data"], ["pooled"], kernel_shape=[28, 28], strides=[28, 28]),
        helper.make_node("Flatten", ["pooled"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 48])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)


def test_arcface_crops_by_five_points(tmp_path: Path) -> None:
    _tiny_arcface(tmp_path / "w600k_r50.onnx")
    recogniser = identity.load_recogniser("insightface", str(tmp_path))
    frame = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    landmarks = np.zeros((68, 2))
    for part, point in zip((slice(36, 42), slice(42, 48), 30, 48, 54), identity.ARCFACE_POINTS):
        landmarks[part] = point
    expected = (
        ((frame.astype(np.float64) - 127.5) / 127.5).reshape(4, 28, 4, 28, 3).mean((1, 3)).transpose(2, 0, 1).ravel()
    )
    # the points stand where the crop wants them
    assert np.allclose(recogniser.describe(frame, landmarks), expected, atol=1e-5)
    assert recogniser.similarity(np.array([1.0, 0]), np.array([2.0, 0])) == pytest.approx(1)
    assert recogniser.similarity(np.array([1.0, 0]), np.array([0, 3.0])) == pytest.approx(0)
    assert recogniser.recipe.version != identity.DLIB_RECIPE.version and recogniser.real


def test_a_missing_model_pack_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="w600k_r50.onnx"):
        identity.load_recogniser("insightface", str(tmp_path))


def test_frames_are_spread() -> None:
    assert identity.spread(np.ones(250, bool), 5) == [0, 62, 124, 187, 249]
    assert identity.spread(np.zeros(9, bool), 5) == []
    only = np.zeros(9, bool)
    only[[3, 7]] = True
    assert identity.spread(only, 5) == [3, 7]


class Numbers:
    """A recogniser whose descriptions are single numbers."""

    name, real, recipe = "dlib", False, identity.DLIB_RECIPE

    def describe(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        return frame.mean(keepdims=True)

    def similarity(self, a: np.ndarray, b: np.ndarray) -> float:
        return 1.0 - float(abs(a - b).max())


def described(*numbers: float | None) -> list[np.ndarray | None]:
    return [None if n is None else np.array([n]) for n in numbers]


def test_identity_over_the_frames() -> None:
    mean, least, deviation = identity.measure(Numbers(), described(0.1, 0.5, None, 0.2), described(0.0, 0.0, 0.0, None))
    assert [m.value for m in (mean, least, deviation)] == pytest.approx([0.7, 0.5, np.std([0.9, 0.5])])
    assert all((m.counted, m.failed) == (2, 2) for m in (mean, least, deviation))
    one = identity.measure(Numbers(), described(0.1, None), described(0.0, 0.0))
    assert one[1].value == pytest.approx(0.9) and "expected 2" in one[2].reason
    assert {m.reason for m in identity.measure(Numbers(), described(None), described(0.0))} == {identity.NO_FRAME}


def test_identity_over_time_is_of_one_video() -> None:
    found = identity.measure_alone(Numbers(), described(None, 0.2, 0.3, None, 0.5))
    assert found.value == pytest.approx(np.mean([0.9, 0.7])) and (found.counted, found.failed) == (3, 2)
    assert identity.measure_alone(Numbers(), described(0.2, None)).reason == "1 frames with a face: expected 2"


def test_each_recogniser_has_its_own_versions() -> None:
    both = [r for name in ("dlib", "insightface") for r in identity.recipes_of(name)]
    assert len({r.version for r in both}) == 8 and len({r.name for r in both}) == 4
