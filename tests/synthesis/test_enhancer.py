"""A face enhancer of the user's own: where it acts, what of it is refused, and one out of an ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3dnerf.core.errors import SettingsError
from s3dnerf.synthesis.enhancer import detail_of, enhanced
from s3dnerf.synthesis.onnx_enhancer import onnx_enhancer
from s3dnerf.synthesis.synthesizer import Synthesizer, load_card, load_generator
from s3dnerf.synthesis.whole_picture import WholePicture
from tests.synthesis.test_synthesizer import _driven, _portrait, _write_generator
from tests.synthesis.test_whole_picture import depth_in_square, photo, square


@pytest.fixture(scope="module")
def synthesizer(tmp_path_factory: pytest.TempPathFactory) -> Synthesizer:
    folder = tmp_path_factory.mktemp("generator")
    _write_generator(folder)
    return Synthesizer(load_generator(folder), load_card(folder))


def twice(frame: np.ndarray) -> np.ndarray:
    """Doubled, and less red by 20 levels."""
    large = np.repeat(np.repeat(frame, 2, 0), 2, 1).astype(int)
    large[..., 0] -= 20
    return np.clip(large, 0, 255).astype(np.uint8)


def write_network(path: Path, side: int = 512, factor: float = 0.5, channels: int = 3) -> None:
    """An ONNX file that multiplies what it is given."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, side, side]) for name in ("given", "made")
    ]
    node = helper.make_node("Mul", ["given", "factor"], ["made"])
    factors = numpy_helper.from_array(np.array(factor, np.float32), "factor")
    graph = helper.make_graph([node], "enhancer", ends[:1], ends[1:], [factors])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))


def test_each_frame_of_the_face_alone_goes_through_it(synthesizer: Synthesizer) -> None:
    identity, driven = _portrait(synthesizer), _driven(3)
    plain = list(synthesizer.frames(identity, *driven, batch=2))
    better = list(synthesizer.frames(identity, *driven, batch=2, enhancer=twice))
    assert len(better) == 3
    for frame, large in zip(plain, better):
        np.testing.assert_array_equal(large, twice(frame))


def test_in_the_whole_picture_what_it_adds_is_added_inside_the_square(synthesizer: Synthesizer) -> None:
    picture, matrix = photo(), square()
    around = WholePicture(picture, matrix, np.full((68, 2), 128.0))
    identity, driven = _portrait(synthesizer), _driven(2)
    plain = np.stack(list(synthesizer.frames(identity, *driven, around=around))).astype(int)
    better = np.stack(list(synthesizer.frames(identity, *driven, around=around, enhancer=twice))).astype(int)
    inside, added = depth_in_square(picture, matrix), (better - plain)[0]
    assert np.median(added[inside > 60][:, 0]) == pytest.approx(-20, abs=2)
    assert abs(np.median(added[inside > 60][:, 1])) <= 1 and not added[inside < 2].any()
    same = list(synthesizer.frames(identity, *driven, around=around, enhancer=lambda frame: frame))
    np.testing.assert_array_equal(np.stack(same), plain)


@pytest.mark.parametrize(
    "made", [np.zeros((256, 256, 3)), np.zeros((128, 128, 3), np.uint8), np.zeros((512, 256, 3), np.uint8), None]
)
def test_what_is_no_picture_is_refused(made: object) -> None:
    with pytest.raises(SettingsError, match=r"^the enhancer made .*: expected uint8 \(s, s, 3\), s ≥ 256"):
        enhanced(lambda frame: made, np.zeros((256, 256, 3), np.uint8))  # type: ignore[arg-type,return-value]


def test_nothing_is_added_where_a_frame_is_only_enlarged() -> None:
    import cv2

    frame = photo()[:256, :256]
    large = cv2.resize(frame, (512, 512), interpolation=cv2.INTER_CUBIC)
    assert not detail_of(frame, large).any() and not detail_of(frame, frame).any()


def test_a_network_out_of_a_file(tmp_path: Path) -> None:
    write_network(tmp_path / "half.onnx")
    frame = np.full((256, 256, 3), 255, np.uint8)
    made = enhanced(onnx_enhancer(tmp_path / "half.onnx"), frame)
    assert made.shape == (512, 512, 3) and np.unique(made).tolist() == [191]  # 1 in −1 … 1 becomes 0.5


def test_other_files_are_refused_by_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^--enhancer: .*gone\.onnx: no such file"):
        onnx_enhancer(tmp_path / "gone.onnx", "--enhancer")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(SettingsError, match=r"text\.onnx: not an ONNX network"):
        onnx_enhancer(tmp_path / "text.onnx")
    for name, named in (("small", {"side": 64}), ("grey", {"channels": 1})):
        write_network(tmp_path / f"{name}.onnx", **named)
        with pytest.raises(SettingsError, match=rf"{name}\.onnx: got given .* accepted: one input and one output"):
            onnx_enhancer(tmp_path / f"{name}.onnx")
