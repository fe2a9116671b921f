"""Both backends on real pixels; and plain words where files are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from s3dnerf.core.errors import MissingWeights
from s3dnerf.corpora.synthetic.truth import Truth
from s3dnerf.faces.detectors import face_backend, refined_landmarks
from s3dnerf.faces.dlib_files import dlib_data
from s3dnerf.faces.insightface_backend import InsightFaceBackend
from s3dnerf.faces.types import Face, main_face
from s3dnerf.settings.schema import AlignSettings
from s3dnerf.video.reading import read_frames
from tests.faces.drawn_clips import box_at, points_in
from tests.faces.tiny_models import write_landmark_model

DLIB = AlignSettings(backend="dlib", model_dir=None)


def test_dlib_finds_the_synthetic_face_where_it_is(talking: tuple[np.ndarray, Truth]) -> None:
    frames, truth = talking
    backend = face_backend(DLIB)
    for i in (0, 12, 24):
        (face,) = backend.detect(frames[i], 240)
        points = backend.landmarks(frames[i], face.box_px)
        points = backend.landmarks(frames[i], backend.track_box(points))
        assert points.shape == (68, 2) and points.dtype == np.float32
        width = np.ptp(truth.landmarks[i][:17, 0])
        assert np.linalg.norm(points - truth.landmarks[i], axis=1).mean() < 0.04 * width
        assert main_face([face])[1] == 1 and face.score > 0


def test_landmarks_do_not_depend_on_the_picture_s_scale(talking: tuple[np.ndarray, Truth]) -> None:
    frame = talking[0][5]
    large = np.kron(frame, np.ones((3, 3, 1), np.uint8))
    backend = face_backend(DLIB)
    (face,) = backend.detect(frame)
    small_points = backend.landmarks(frame, face.box_px)
    large_points = backend.landmarks(large, tuple(3 * v for v in face.box_px))
    assert np.abs(large_points / 3 - small_points).mean() < 0.4


def test_a_small_face_is_found_by_searching_again_at_twice_the_size(talking: tuple[np.ndarray, Truth]) -> None:
    frame, truth = talking[0][0], talking[1]
    wide = np.full((480, 640, 3), frame[2, 2], np.uint8)
    wide[100:340, 200:460] = frame
    backend = face_backend(DLIB)
    assert backend._search(wide, 160 / 640) == []  # at 160 px the face is too small for the detector's window
    faces = backend.detect(wide, 160)
    assert len(faces) == 1
    assert np.abs(np.array(faces[0].centre_px) - truth.landmarks[0].mean(axis=0) - [200, 100]).max() < 25


def test_plain_landmarks_are_dlib_s_own_whole_pixels(talking: tuple[np.ndarray, Truth]) -> None:
    import dlib

    frame = np.ascontiguousarray(talking[0][8])
    boxes, _, _ = dlib.get_frontal_face_detector().run(frame, 0, 0.0)
    shape = dlib.shape_predictor(str(dlib_data("landmarks")))(frame, boxes[0])
    backend = face_backend(DLIB)
    (face,) = backend.detect(frame)
    found = backend.plain_landmarks(frame, face.box_px)
    assert np.array_equal(found - 0.5, [(p.x, p.y) for p in shape.parts()])  # pixel i's centre is i + 0.5
    assert np.linalg.norm(found - backend.landmarks(frame, face.box_px), axis=1).mean() < 3


def test_nothing_is_found_where_nothing_is() -> None:
    assert face_backend(DLIB).detect(np.full((120, 120, 3), 90, np.uint8)) == []


def test_a_thread_loads_its_backend_once() -> None:
    assert face_backend(DLIB) is face_backend(AlignSettings(backend="dlib", model_dir=None, detect_every=3))


def test_dlib_s_files_are_found_without_importing_their_package() -> None:
    code = "import sys; from s3dnerf.faces.dlib_files import dlib_data; print(dlib_data('recogniser').name, 'face_recognition_models' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).resolve().parents[2])])}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    ).stdout.split()
    assert out == ["dlib_face_recognition_resnet_model_v1.dat", "False"]
    assert dlib_data("landmarks").stat().st_size > 50e6
    with pytest.raises(MissingWeights, match="face-recognition-models"):
        dlib_data("no_such_file.dat")


@pytest.mark.parametrize("folder", [None, "nowhere", "empty"])
def test_a_missing_insightface_pack_is_said_plainly(folder: str | None, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingWeights) as error:
        face_backend(AlignSettings(backend="insightface", model_dir=None if folder is None else str(tmp_path / folder)))
    text = str(error.value)
    assert "align.model_dir" in text and "buffalo_l" in text and "licence" in text and "align.backend: dlib" in text


def test_insightface_detects_real_faces_and_names_the_missing_landmark_model(shared: Path) -> None:
    backend = InsightFaceBackend(shared / "weights")
    dlib = face_backend(DLIB)
    for clip in ("RD_Radio8_000", "EX_May_000"):
        (frame,) = read_frames(shared / "corpora/HDTF/clips" / f"{clip}.mp4", np.array([40]))
        (face,) = backend.detect(frame, 320)
        (other,) = dlib.detect(frame, 320)
        assert face.score > 0.6 and np.hypot(*np.subtract(face.centre_px, other.centre_px)) < 0.25 * other.side_px
        tracked = backend.track_box(dlib.landmarks(frame, other.box_px))
        assert np.abs(np.subtract(tracked, face.box_px)).max() < 0.25 * face.side_px
    with pytest.raises(MissingWeights, match="1k3d68.onnx"):
        backend.landmarks(frame, face.box_px)


def test_insightface_s_68_points_are_used_when_the_pack_has_them(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "det.onnx").write_bytes((shared / "weights/scrfd_500m_bnkps.onnx").read_bytes())
    wanted = np.random.default_rng(0).uniform(-0.6, 0.6, (68, 2)).astype(np.float32)
    write_landmark_model(tmp_path / "1k3d68.onnx", wanted)
    backend = InsightFaceBackend(tmp_path)
    box = (40.0, 50.0, 140.0, 150.0)
    points = backend.landmarks(np.zeros((200, 200, 3), np.uint8), box)
    # the model sees 1.5 times the box, its answers are −1 … 1 of that
    assert np.allclose(points, wanted * 75 + [90, 100] + 0.5, atol=0.05)


def test_main_face_counts_rivals() -> None:
    large, near, small = Face((0, 0, 100, 100), 1.0), Face((200, 0, 290, 90), 1.0), Face((400, 0, 430, 30), 1.0)
    assert (
        main_face([small, large]) == (large, 1)
        and main_face([near, large, small]) == (large, 2)
        and main_face([]) == (None, 0)
    )


@pytest.mark.slow
def test_a_box_that_puts_the_lips_on_the_nostrils_is_left_for_a_better_one() -> None:
    class Nostrils:
        """Believes itself only in a box that reaches the chin; in a higher one it answers too high, and disagrees."""

        def landmarks(self, image: np.ndarray, box_px: tuple) -> np.ndarray:
            return points_in(true if box_px[3] > 145 else box_at(100, 90, 70))

        def track_box(self, landmarks: np.ndarray) -> tuple:
            low, high = landmarks.min(axis=0), landmarks.max(axis=0)
            return float(low[0]), float(low[1]), float(high[0]), float(high[1] + 5)

        def landmarks_and_doubt(self, image: np.ndarray, box_px: tuple) -> tuple[np.ndarray, float]:
            points = self.landmarks(image, box_px)
            return points, 0.002 if np.allclose(points, points_in(true)) else 0.007

    true = box_at(100, 120, 100)
    found, doubt = refined_landmarks(np.zeros((2, 2, 3), np.uint8), Nostrils(), Face(box_at(100, 95, 70), 1.0))
    assert np.allclose(found, points_in(true)) and doubt == 0.002


def test_landmarks_are_within_pixels_of_the_truth(talking: tuple[np.ndarray, Truth]) -> None:
    frames, truth = talking
    backend = face_backend(AlignSettings(backend="dlib", model_dir=None))
    found = np.stack([refined_landmarks(frame, backend, backend.detect(frame)[0])[0] for frame in frames[::6]])
    true = truth.landmarks[::6]
    scale = 100 / np.ptp(true[:, :17, 0], axis=1)  # as if the face were 100 px wide
    off = np.linalg.norm(found - true, axis=2) * scale[:, None]
    assert off.mean() < 4 and off[:, 48:].mean() < 3
