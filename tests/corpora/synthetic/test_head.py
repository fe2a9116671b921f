"""The head: lips that meet and part, lids, landmarks in place, people who differ and stay themselves; how it projects."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from s3dnerf.corpora.synthetic.deform import FIELDS, field_amplitudes
from s3dnerf.corpora.synthetic.head import Head, Light
from s3dnerf.corpora.synthetic.identity import Person, make_person
from s3dnerf.corpora.synthetic.motion import make_motion, rotation
from s3dnerf.corpora.synthetic.scene import Camera, Shot, project, world_to_camera
from s3dnerf.corpora.synthetic.surface import head_grid
from s3dnerf.corpora.synthetic.visemes import CHANNELS, VISEMES


@pytest.fixture(scope="module")
def head() -> Head:
    return Head(make_person("hdtf/Ames", 0), 60.0)


def amplitudes(person: Person, viseme: str, blink: float = 0.0) -> np.ndarray:
    curve = np.array([[getattr(VISEMES[viseme], channel) for channel in CHANNELS]])
    return field_amplitudes(curve, person, np.array([blink]), np.zeros(1), {})[0]


def marks(head: Head, viseme: str, blink: float = 0.0) -> np.ndarray:
    return head.landmarks(head.shape(amplitudes(head.person, viseme, blink), 0.0, (0.0, 0.0))[0])


@pytest.mark.parametrize("name", ["hdtf/Ames", "hdtf/Boone", "lrs2/x", "mead/W009"])
def test_lips_meet_on_p_and_part_on_vowels(name: str) -> None:
    head = Head(make_person(name, 0), 60.0)
    gaps = {
        v: np.linalg.norm(marks(head, v)[[61, 62, 63]] - marks(head, v)[[67, 66, 65]], axis=1)
        for v in ("p", "aa", "iy")
    }
    assert gaps["p"].max() < 1e-3
    assert gaps["aa"].min() > 0.10 and 0.02 < gaps["iy"].mean() < gaps["aa"].mean()
    # whatever the jaw does at that moment
    closed = field_amplitudes(
        np.array([[0.9, 0.5, 0.4, 0.4, 0.0, 0.0, 1.0, 0.0]]), head.person, np.zeros(1), np.zeros(1), {}
    )[0]
    points = head.landmarks(head.shape(closed, 0.0, (0.0, 0.0))[0])
    assert np.linalg.norm(points[62] - points[66]) < 1e-3


def test_round_and_wide_mouths_differ_and_f_brings_the_lip_to_the_teeth(head: Head) -> None:
    width = {v: np.linalg.norm(marks(head, v)[54] - marks(head, v)[48]) for v in ("uw", "rest", "iy")}
    assert width["uw"] < width["rest"] - 0.05 < width["iy"] - 0.1
    rest, f = marks(head, "rest"), marks(head, "f")
    assert f[66, 2] < rest[66, 2] - 0.02 and np.linalg.norm(f[62] - f[66]) < 0.06


def test_jaw_takes_the_chin_and_leaves_the_nose(head: Head) -> None:
    rest, wide = marks(head, "rest"), marks(head, "aa")
    assert wide[8, 1] < rest[8, 1] - 0.08
    assert np.abs(wide[27:36] - rest[27:36]).max() < 0.015 and np.abs(wide[0] - rest[0]).max() < 0.02


def test_a_blink_closes_the_lids(head: Head) -> None:
    opened, shut = marks(head, "rest", 0.0), marks(head, "rest", 1.0)
    gap = [np.linalg.norm(m[[37, 38, 43, 44]] - m[[41, 40, 47, 46]], axis=1) for m in (opened, shut)]
    assert gap[0].min() > 0.05 and gap[1].max() < 0.012


def test_landmarks_stand_in_ibug_order(head: Head) -> None:
    m = marks(head, "rest")
    assert m.shape == (68, 3) and np.isfinite(m).all()
    x, y, z = m.T
    assert (np.diff(x[0:17]) > -0.02).all() and y[8] == y[:17].min()
    assert (np.diff(x[17:27]) > 0).all() and (y[17:27] > y[36:48].max()).all()
    assert (np.diff(y[27:31]) < 0).all() and z[30] == z.max()
    assert x[36] < x[39] < 0 < x[42] < x[45] and x[48] < x[51] < x[54] and y[51] > y[62] > y[57]
    assert 1.3 < y[17:27].max() - y[8] < 1.7  # units of 10 cm


def test_the_same_name_is_the_same_person_and_people_differ() -> None:
    one, again, other = make_person("hdtf/Ames", 0), make_person("hdtf/Ames", 0), make_person("hdtf/Boone", 0)
    assert one == again and one != other and make_person("hdtf/Ames", 1) != one
    assert make_person("x", 0, sex=True).female and not make_person("x", 0, sex=False).female
    assert np.array_equal(Head(one, 40.0).atlas.image, Head(again, 40.0).atlas.image)
    people = [make_person(f"p{i}", 0) for i in range(40)]
    assert 10 < sum(p.female for p in people) < 30 and len({p.style for p in people}) > 6
    assert all(np.isfinite(v).all() for p in people[:3] for v in (Head(p, 40.0).rest,))


def test_no_triangle_joins_the_lips_or_the_lids() -> None:
    grid = head_grid()
    sides = grid.side[grid.triangles]
    assert not ((sides.max(1) > 0) & (sides.min(1) < 0)).any()
    assert (grid.side > 0).sum() == (grid.side < 0).sum() > 10


def test_rotation_signs() -> None:
    face = np.array([0.0, 0.0, 1.0])
    assert (rotation(np.array([20.0, 0, 0])) @ face)[0] > 0.3  # yaw: to the right of the picture
    assert (rotation(np.array([0, 20.0, 0])) @ face)[1] > 0.3  # pitch: chin up
    assert (rotation(np.array([0, 0, 20.0])) @ np.array([0, 1.0, 0]))[0] > 0.3  # roll: leans right
    turn = rotation(np.array([12.0, -7.0, 4.0]))
    assert np.allclose(turn @ turn.T, np.eye(3)) and np.linalg.det(turn) == pytest.approx(1)


def test_camera_projects_as_the_contract_says() -> None:
    camera = Camera(800.0, (101.0, 52.0), (200, 200), 10.0)
    extrinsics = world_to_camera(np.eye(3), np.zeros(3), camera)
    pixels = project(np.array([[0.0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0.5, 0.0, 2.0]]), extrinsics, camera)
    assert np.allclose(pixels, [[101, 52], [141, 52], [101, 12], [151, 52]])
    by_hand = camera.intrinsics @ (extrinsics @ np.array([0.5, 0.0, 2.0, 1.0]))
    assert np.allclose(by_hand[:2] / by_hand[2], [151, 52])


def test_a_frame_shows_what_its_truth_says() -> None:
    person = dataclasses.replace(
        make_person("hdtf/Boone", 0), skin=(236.0, 196.0, 170.0), glasses=False, beard=False, stubble=0.0
    )
    head = Head(person, 120.0)
    camera = Camera(700.0, (80.0, 85.0), (160, 160), 10.0)
    light = Light(np.array([0.3, 0.4, 0.86]))
    shot = Shot(head, camera, light, np.random.default_rng(0), over=2.0)

    def frame(viseme: str, turn: np.ndarray):  # noqa: ANN202
        return shot.frame(amplitudes(person, viseme), 0.1, (0.0, 0.0), turn, np.zeros(3), True)

    rest, wide = frame("p", np.eye(3)), frame("aa", np.eye(3))
    assert rest.image.shape == (160, 160, 3) and rest.mask is not None and wide.mask is not None
    inside = wide.landmarks_px[[62, 66]].mean(0).astype(int)
    assert wide.image[inside[1], inside[0]].mean() < 0.6 * rest.image[inside[1] - 20, inside[0]].mean()  # a dark mouth
    assert wide.mask[inside[1], inside[0]]  # … which the mask fills
    eyes = rest.landmarks_px[[36, 39, 42, 45]].astype(int)
    assert all(rest.mask[y, x] for x, y in eyes) and not rest.mask[5, 80] and not rest.mask[155, 80]
    chin, brow = rest.landmarks_px[8], rest.landmarks_px[17:27].mean(0)
    rows = np.flatnonzero(rest.mask.any(1))
    assert abs(rows[-1] - chin[1]) < 6 and rows[0] < brow[1]
    left, right = frame("p", rotation(np.array([-20.0, 0, 0]))), frame("p", rotation(np.array([20.0, 0, 0])))
    assert right.landmarks_px[30, 0] > rest.landmarks_px[30, 0] + 5 > left.landmarks_px[30, 0] + 10
    assert np.abs(right.image.astype(int) - rest.image).mean() > 1
    assert np.array_equal(frame("p", np.eye(3)).image, rest.image)


def test_motion_is_smooth_alive_and_blinks() -> None:
    times = np.arange(0, 30, 0.04)
    motion = make_motion(times, np.clip(np.sin(2.1 * times), 0, 1), 1.0, np.random.default_rng(4))
    assert 2 < motion.angles_deg[:, 0].std() < 10 and 0.8 < motion.angles_deg[:, 1].std() < 6
    assert np.abs(np.diff(motion.angles_deg, axis=0)).max() < 2.5  # degrees a frame
    starts = times[1:][(motion.blink[1:] > 0.5) & (motion.blink[:-1] <= 0.5)]
    assert 5 <= len(starts) <= 15 and (np.diff(starts) > 1.9).all() and motion.blink.max() > 0.99
    assert field_amplitudes(np.zeros((2, len(CHANNELS))), make_person("a", 0), np.zeros(2), np.zeros(2), {}).shape == (
        2,
        len(FIELDS),
    )
