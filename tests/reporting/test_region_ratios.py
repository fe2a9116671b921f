"""Lower face against upper: known maps, windows that lie beside the face, and the sentence."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.reporting.region_ratios import in_words, lower_to_upper

WHOLE = (0.0, 0.0, 256.0, 256.0)


def face() -> np.ndarray:
    mask = np.zeros((256, 256), bool)
    mask[64:192, 64:192] = True
    return mask


@pytest.mark.parametrize("side", [16, 64, 256])
def test_a_known_map(side: int) -> None:
    values = np.full((side, side), 2.0)
    values[side // 2 :] = 3.0
    values[: side // 8] = 99.0  # above the face: not counted
    assert lower_to_upper(values, face(), 128.0, WHOLE) == pytest.approx(1.5)
    assert lower_to_upper(np.ones((side, side)), face(), 100.0, WHOLE) == pytest.approx(1.0)


def test_cells_count_where_their_window_puts_them() -> None:
    values = np.array([[1.0, 1.0], [4.0, 8.0]])
    assert lower_to_upper(values, face(), 128.0, (64, 64, 192, 192)) == pytest.approx(6.0)
    # the right cells lie beyond the frame
    assert lower_to_upper(values, face(), 128.0, (64, 64, 320, 192)) == pytest.approx(4.0)


def test_halves_without_a_cell_and_a_still_upper_face_have_no_ratio() -> None:
    assert lower_to_upper(np.ones((8, 8)), face(), 20.0, WHOLE) is None
    assert lower_to_upper(np.ones((8, 8)), np.zeros((256, 256), bool), 128.0, WHOLE) is None
    still = np.ones((8, 8))
    still[:4] = 0
    assert lower_to_upper(still, face(), 128.0, WHOLE) is None


def test_the_sentence() -> None:
    assert in_words({}) == ""
    said = in_words(
        {
            c: {"delta": v, "delta_over_time": None, "f_cm_over_time": 2.0}
            for c, v in (("a", 1.0), ("b", 3.0), ("c", 1.25))
        }
    )
    assert (
        said
        == "Lower face against upper, median and range over 3 clips: ‖Δx‖ 1.25 (1.00 to 3.00); F_cm's deviation over time 2.00 (2.00 to 2.00)."
    )
