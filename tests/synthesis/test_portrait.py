"""One photograph, ready for the model, or the reason why not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from s3dnerf.core.errors import SettingsError
from s3dnerf.corpora.synthetic.truth import Truth
from s3dnerf.faces import camera
from s3dnerf.faces.detectors import face_backend
from s3dnerf.faces.recon.morphable import own_model
from s3dnerf.faces.types import Face, FaceError
from s3dnerf.faces.warping import apply
from s3dnerf.settings.loading import preset_settings
from s3dnerf.synthesis.photo_faces import faces_in
from s3dnerf.synthesis.portrait import check_which, chosen_face, prepare_portrait
from s3dnerf.video.reading import read_frames
from tests.faces.drawn_clips import ScriptedBackend, box_at, frames_of
from tests.small_corpus import BOX, INTRINSICS, turn

SETTINGS = preset_settings("sample")


class OneView(ScriptedBackend):
    """A scripted detector that knows a picture as it is, and finds nothing in it turned or at another size."""

    def __init__(self, picture: np.ndarray, boxes: list[tuple]) -> None:
        super().__init__([boxes])
        self.picture = picture

    def detect(self, image: np.ndarray, max_px: int | None = None, weak: bool = False) -> list[Face]:
        return super().detect(image, max_px, weak) if image is self.picture else []


def check(portrait, image: np.ndarray) -> None:
    assert portrait.frame.shape == (256, 256, 3) and portrait.frame.dtype == np.uint8
    assert portrait.mask.shape == (256, 256) and portrait.mask.dtype == bool and 0.08 < portrait.mask.mean() < 0.35
    assert (
        portrait.world_to_camera.shape == (3, 4) and portrait.intrinsics.shape == (3, 3) and portrait.box.shape == (4,)
    )
    centre = portrait.landmarks[17:].mean(axis=0).astype(int)
    assert portrait.mask[centre[1], centre[0]]
    # the head's cube, seen by the camera, holds the mask
    model = own_model()
    pixels = camera.project(model.mean[model.keypoints], portrait.world_to_camera, portrait.intrinsics)
    assert np.linalg.norm(pixels - portrait.landmarks, axis=1)[17:].mean() < 6


def test_a_synthetic_portrait_of_any_size(talking: tuple[np.ndarray, Truth]) -> None:
    frames, truth = talking
    image = np.kron(frames[3], np.ones((2, 2, 1), np.uint8))
    portrait = prepare_portrait(image, SETTINGS)
    check(portrait, image)
    assert np.linalg.norm(portrait.landmarks - apply(portrait.matrix, truth.landmarks[3] * 2), axis=1).mean() < 4


def test_a_real_portrait(shared: Path) -> None:
    (image,) = read_frames(shared / "corpora/HDTF/clips/WDA_EdMarkey0_000.mp4", np.array([10]))
    check(prepare_portrait(image, SETTINGS), image)


def test_no_face_several_faces_a_small_one_and_no_picture() -> None:
    image = frames_of(1)[0]

    def reason(*boxes: tuple) -> str:
        with pytest.raises(FaceError) as error:
            prepare_portrait(image, SETTINGS, OneView(image, list(boxes)))
        return error.value.reason

    def chosen(which: str, *boxes: tuple) -> float:
        found = [Face(box, 1.0) for box in boxes]
        return chosen_face(found, which, (300, 200)).centre_px[0]

    row = box_at(220, 100, 75), box_at(90, 100, 80), box_at(150, 100, 70), box_at(20, 100, 20)  # the last: far away
    assert [chosen(which, *row) for which in ("largest", "left", "right", "1", "2", "3")] == [90, 90, 220, 90, 150, 220]
    assert chosen("only", row[1], row[3]) == 90
    with pytest.raises(
        FaceError, match=r"face 4 was asked for and 3 .* \(1: 80 px at \(90, 100\), 2: 70 px at \(150, "
    ):
        chosen("4", *row)
    for wrong in ("first", "0", "-1", "1.5", ""):
        with pytest.raises(SettingsError, match="--face: got"):
            check_which(wrong, "--")
    assert reason() == "no_face" and reason(box_at(90, 100, 80), box_at(220, 100, 75)) == "several_faces"
    assert reason(box_at(90, 100, 20)) == "face_too_small" and reason(box_at(5, 100, 90)) == "face_leaves_frame"
    with pytest.raises(ValueError, match="uint8"):
        prepare_portrait(np.zeros((20, 20)), SETTINGS)


def test_a_badge_that_a_detector_half_believes_in_is_no_second_person() -> None:
    """Found in this picture: a patch on the suit, of the face's size, score 0.05, whose landmarks agree on nothing."""
    import cv2
    from skimage.data import astronaut

    y, x = np.mgrid[:2000, :3000]
    picture = np.stack([120 + 40 * np.sin(x / 200), 110 + 30 * np.cos(y / 150), 100 + 20 * np.sin((x + y) / 90)], -1)
    picture = picture.astype(np.uint8)
    picture[:, 500:2500] = cv2.resize(astronaut(), (2000, 2000), interpolation=cv2.INTER_CUBIC)
    backend = face_backend(SETTINGS.align)
    assert len(backend.detect(picture, SETTINGS.align.detect_px)) == 2
    (face,) = faces_in(picture, backend, SETTINGS.align)
    assert np.hypot(*np.subtract(face.centre_px, (1395, 495))) < 60


def test_a_face_turned_away_is_refused(talking: tuple[np.ndarray, Truth]) -> None:
    frames, _ = talking

    def seen(yaw: float) -> None:
        found = SimpleNamespace(
            world_to_camera=turn(yaw)[None], mask=np.ones((1, 256, 256), bool), intrinsics=INTRINSICS[None], box=BOX
        )
        prepare_portrait(frames[3], SETTINGS, recon=SimpleNamespace(run=lambda landmarks, pictures: found))

    seen(0.7)
    with pytest.raises(FaceError, match="turned_away: the face is turned by 52° to the side and 0° up or down"):
        seen(0.9)
