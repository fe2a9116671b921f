"""AED from landmarks: against a slow literal least squares and the fit of preprocessing, and known cases."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.faces.camera import intrinsics, project, rotation, world_to_camera
from s3dnerf.faces.recon.fit import fit_landmarks
from s3dnerf.faces.recon.morphable import EXP, ID, own_model
from s3dnerf.metrics import expression
from s3dnerf.metrics.expression import NOISE_PX, WEIGHTS, coefficients, measure
from s3dnerf.metrics.head_pose import views

PX = 90.0


def person(seed: int) -> np.ndarray:
    """A person's neutral landmarks (68, 3)."""
    model = own_model()
    return (model.mean + model.id_base @ np.random.default_rng(seed).normal(0, 0.7, ID))[model.keypoints]


def moved(seed: int, frames: int, size: float = 0.6) -> np.ndarray:
    """Expressions (frames, 64)."""
    return np.random.default_rng(seed).normal(0, size, (frames, EXP))


def seen(neutral: np.ndarray, expressions: np.ndarray, degrees: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Landmarks (n, 68, 2) without perspective."""
    basis = own_model().exp_base[own_model().keypoints]
    turned = neutral + np.einsum("kim,nm->nki", basis, expressions)
    return 128 + PX * (turned @ rotation(np.radians([degrees])).swapaxes(1, 2))[..., :2] * [1, -1]


def test_by_a_slow_literal_least_squares() -> None:
    mean, basis = expression._basis()
    faces = seen(person(0), moved(1, 5), (4.0, -9.0, 3.0)) + np.random.default_rng(2).normal(0, 1, (5, 68, 2))
    for face, found in zip(faces, coefficients(faces)):
        rows, scale, shift = (part[0] for part in views(face[None] * (1.0, -1.0)))
        left, right = [], []
        for i in range(68):
            for axis in range(2):
                w = np.sqrt(WEIGHTS[i]) / NOISE_PX
                left.append(w * scale[()] * (rows[axis] @ basis[i]))
                right.append(w * (face[i, axis] * (1, -1)[axis] - scale * (rows[axis] @ mean[i]) - shift[axis]))
        for k in range(EXP):  # the prior
            left.append(np.eye(EXP)[k])
            right.append(0.0)
        assert np.allclose(found, np.linalg.lstsq(np.array(left), np.array(right), rcond=None)[0], atol=1e-8)


def test_known_cases() -> None:
    still, lively = seen(person(0), np.zeros((12, EXP))), seen(person(0), moved(3, 12))
    assert measure(lively, lively).value == 0.0
    assert measure(lively + (7.0, -3.0), lively).value < 1e-9  # place is no expression
    some = seen(person(0), 0.5 * moved(3, 12))
    assert 0 < measure(some, lively).value < measure(still, lively).value
    # a part of what was put in: the prior and 51 points in two dimensions do not show all of it
    found, put = coefficients(lively) - coefficients(still), moved(3, 12)
    assert np.corrcoef(found.ravel(), put.ravel())[0, 1] > 0.4
    lost = lively.copy()
    lost[2, 60, 0] = np.nan
    found_lost = measure(lost, lively)
    assert (found_lost.counted, found_lost.failed, found_lost.value) == (11, 1, 0.0)
    nothing = measure(np.full_like(lively, np.nan), lively)
    assert nothing.value is None and nothing.failed == 12


def test_a_turned_head_and_another_person_change_it_less_than_another_expression() -> None:
    """The same expressions on the same person, seen 10° from the side; and the same difference on somebody else."""
    put, other = moved(4, 20), moved(5, 20)
    frontal, turned = seen(person(0), put), seen(person(0), put, (0.0, 10.0, 0.0))
    assert measure(turned, frontal).value < 0.5 * measure(seen(person(0), other), frontal).value
    values = [measure(seen(person(p), other), seen(person(p), put)).value for p in range(4)]
    assert np.ptp(values) < 0.1 * np.mean(values)


@pytest.mark.parametrize("people", [(6, 7, 8)])
def test_it_orders_videos_as_the_fit_of_preprocessing_does(people: tuple[int, ...]) -> None:
    """Seen by a camera with perspective, noise on the landmarks, nine pairs: the fit with identity and pose solved
    together (twenty times slower) gives nearly the same distances."""
    model, frames = own_model(), 12
    k = intrinsics(np.array([224 / 256, 128.0, 128.0]), 256)
    fast, slow = [], []
    for number in people:
        random = np.random.default_rng(number)
        camera = world_to_camera(random.normal(0, 0.05, (frames, 3)), random.normal(0, 0.02, (frames, 3)))
        basis = model.exp_base[model.keypoints]
        truth = moved(number, frames)

        def video(expressions: np.ndarray, camera=camera, basis=basis, random=random, number=number) -> np.ndarray:
            points = person(number) + np.einsum("kim,nm->nki", basis, expressions)
            drawn = [project(p, c[None], k)[0] for p, c in zip(points, camera)]
            return np.stack(drawn) + random.normal(0, 0.5, (frames, 68, 2))

        target = video(truth)
        for share in (0.9, 0.5, 0.0):
            made = video(share * truth)
            fast.append(measure(made, target).value)
            fits = [fit_landmarks(v, model, 256.0, "fixed").expression for v in (made, target)]
            slow.append(np.abs(fits[0] - fits[1]).mean())
    assert np.corrcoef(fast, slow)[0, 1] > 0.95
    assert np.allclose(fast, slow, rtol=0.4)
