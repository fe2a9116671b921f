"""The face in its photo: what moves, what stays to the last bit, and what does not fit."""

import numpy as np
import pytest

from s3dnerf.faces.warping import apply
from s3dnerf.synthesis.whole_picture import MOST_PX, WholePicture, fitting

NOTHING = np.zeros((256, 256, 3), np.float32)


def photo(height: int = 600, width: int = 800) -> np.ndarray:
    """Smooth colours with a texture, so that half a pixel of motion is seen."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + k) + np.sin(y / 7 - k) + 0.5 * np.sin((x + y) / 23) for k in range(3)]
    return np.clip(128 + 40 * np.stack(waves, -1), 0, 255).astype(np.uint8)


def square(scale: float = 0.7, degrees: float = 12.0, centre: tuple[float, float] = (420.0, 290.0)) -> np.ndarray:
    """Photo px → aligned px of a face at ``centre``, its square 256 / ``scale`` px wide and turned."""
    angle = np.radians(degrees)
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, 128.0 - turn @ centre])


def whole(picture: np.ndarray, matrix: np.ndarray) -> WholePicture:
    return WholePicture(picture, matrix, np.full((68, 2), 128.0))


def depth_in_square(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """How far inside the aligned square each pixel of the photo lies, aligned px; negative outside."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    at = apply(matrix, np.stack([x, y], -1) + 0.5)
    return np.minimum(at, 256.0 - at).min(-1)


@pytest.mark.parametrize("centre", [(420.0, 290.0), (60.0, 80.0)])  # the second's square leaves the photo
def test_where_nothing_moves_the_photo_stays_to_the_last_bit(centre: tuple[float, float]) -> None:
    picture, still = photo(), np.zeros((2, 8, 8), np.float32)
    around = whole(picture, square(centre=centre))
    assert np.array_equal(around.frame(still, NOTHING), picture)
    assert np.array_equal(around.frame(None, NOTHING), picture)


def test_outside_the_aligned_square_nothing_changes_whatever_moves() -> None:
    picture, matrix, rng = photo(), square(), np.random.default_rng(0)
    made = whole(picture, matrix).frame(
        rng.normal(0, 8, (2, 8, 8)).astype(np.float32), rng.normal(0, 0.3, (256, 256, 3)).astype(np.float32)
    )
    inside = depth_in_square(picture, matrix)
    changed = (made != picture).any(-1)
    assert changed[inside > 60].mean() > 0.95 and not changed[inside < 2].any()


def test_the_photo_itself_is_moved_the_way_that_the_model_says() -> None:
    picture, matrix = photo(), square()
    way = np.array([6.0, -3.0])  # of the aligned square: what is seen at a place stands so far from it
    made = whole(picture, matrix).frame(np.tile(way[:, None, None], (1, 8, 8)).astype(np.float32), NOTHING)
    deep = depth_in_square(picture, matrix) > 60
    shift = np.linalg.inv(matrix[:, :2]) @ way  # in the photo's own pixels: it is turned and larger
    y, x = np.nonzero(deep)
    at = np.stack([x, y], 1) + shift
    low, part = np.floor(at).astype(int), at - np.floor(at)
    corners = sum(
        picture[low[:, 1] + b, low[:, 0] + a].astype(float)
        * (np.where(a, part[:, 0], 1 - part[:, 0]) * np.where(b, part[:, 1], 1 - part[:, 1]))[:, None]
        for a in (0, 1)
        for b in (0, 1)
    )
    assert np.abs(made[deep] - corners).mean() < 1.5 < 10 < np.abs(made[deep].astype(float) - picture[deep]).mean()


def test_there_is_no_seam() -> None:
    """Of a plain photo whose square is painted and moved, no two neighbours differ by more than the paint allows."""
    picture = np.full((600, 800, 3), 128, np.uint8)
    made = whole(picture, square()).frame(np.full((2, 8, 8), 9.0, np.float32), NOTHING + 0.2).astype(int)
    assert made.max() == 128 + 51
    # 51 levels over 40 aligned pixels, or 57 of the photo's: 1.5 times the mean slope at the steepest
    assert np.abs(np.diff(made, axis=0)).max() <= 2 and np.abs(np.diff(made, axis=1)).max() <= 2


def test_paint_lies_where_the_model_put_it() -> None:
    picture, matrix, painted = np.full((600, 800, 3), 100, np.uint8), square(), NOTHING.copy()
    painted[150:170, 120:140, 0] = 0.5
    made = whole(picture, matrix).frame(None, painted)
    y, x = np.nonzero(made[..., 0] > 160)
    at = apply(matrix, np.stack([x, y], 1) + 0.5)
    assert np.abs(at.mean(0) - [130.0, 160.0]).max() < 0.5 and (made[..., 1:] == 100).all()
    assert np.abs(at - [130.0, 160.0]).max() < 11


def test_eyes_close_in_the_photo() -> None:
    from tests.synthesis.test_blinks import blue, face

    small, landmarks = face()
    picture = (np.kron(small, np.ones((2, 2, 1))) * 255).astype(np.uint8)
    around = WholePicture(picture, np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]), landmarks)
    shut = around.frame(None, NOTHING, 1.0)
    assert blue(shut / 255.0) < 0.25 * blue(picture / 255.0)
    assert np.array_equal(shut[300:], picture[300:])


@pytest.mark.parametrize(
    ("size", "fits"),
    [((600, 800), (600, 800)), ((601, 799), (602, 800)), ((2000, 3000), (2000, 3000)), ((6000, 4500), (4096, 3072))],
)
def test_sides_are_even_and_at_most_what_players_take(size: tuple[int, int], fits: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    picture[-1] = 200
    found = fitting(picture)
    assert found.shape[:2] == fits and max(found.shape) <= MOST_PX
    if max(size) <= MOST_PX:
        assert np.array_equal(found[: size[0], : size[1]], picture) and (found[-1] == 200).all()
