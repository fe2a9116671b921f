"""CPBD: cumulative probability of blur detection, a sharpness of single frames that needs no reference.

Edges are found, each edge's width is measured along its row (Marziliano), and the probability that a viewer notices its
blur is

    P = 1 − exp(−(width / w_JNB)^3.6),  w_JNB = 5 px where the 64² block's contrast is ≤ 50, else 3 px

CPBD is the share of edges with P ≤ 0.63 (in whole per cent), over blocks with more than 0.2 % edge pixels.

Source: Narvekar & Karam 2011, in the version of 0x64746b/python-cpbd (release 1.0.7): Canny (scikit-image, σ = 1,
thresholds 0.1 and 0.2) decides which blocks count, a thinned vertical Sobel (Octave's) which pixels are edges; the
frame is grey by ITU-R 601 as Pillow rounds it. The authors' MATLAB differs from the port (0.1353 against 0.1120 on one
image): values compare within this version alone. The port loops over pixels in Python; here widths come from run
lengths of all pixels at once, with equal results (``tests/metrics/test_cpbd.py`` holds a literal version). Unit: none.
Range: [0, 1]. More is sharper.
"""

from __future__ import annotations

import math

import numpy as np

from s3dnerf.core.shapes import Float, UInt8
from s3dnerf.metrics.result import UP, Measured, Recipe, over_frames

BLOCK = 64
EDGE_SHARE = 0.002
BETA = 3.6
TAN_22_5 = math.sqrt(2) - 1
LONGEST = 100  # the port stops following an edge after so many pixels
JUST_NOTICEABLE = 63  # per cent
RECIPE = Recipe("cpbd", "CPBD", "", UP, "cpbd-1", 0.0, 1.0, "python-cpbd 1.0.7 (Narvekar & Karam), vectorised")


def grey(frames: UInt8[np.ndarray, "*b h w 3"]) -> np.ndarray:
    """ITU-R 601 luma as Pillow's ``convert("L")`` rounds it: uint8 (…, h, w)."""
    r, g, b = (frames[..., c].astype(np.uint32) for c in range(3))
    return ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16).astype(np.uint8)


def sobel_edges(image: Float[np.ndarray, "h w"]) -> np.ndarray:
    """Thinned horizontal-gradient edges, bool (h, w). The threshold is applied to the squared strength, as the port
    does.
    """
    from scipy.ndimage import convolve

    kernel = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]) / 8
    strength = np.square(convolve(image, kernel))
    strength[strength <= 2 * np.sqrt(np.mean(strength))] = 0
    padded = np.pad(strength, 1)
    along_row = (strength > padded[1:-1, :-2]) & (strength > padded[1:-1, 2:])
    along_column = (strength > padded[:-2, 1:-1]) & (strength > padded[2:, 1:-1])
    return along_row | along_column


def _steps_left(rises: np.ndarray) -> np.ndarray:
    """For each column c, how many steps to the left in a row satisfy the condition, beginning with the step c → c − 1.

    ``rises`` bool (h, w − 1): whether the step from column c + 1 to c satisfies it. Returns (h, w).
    """
    columns = np.arange(rises.shape[1] + 1, dtype=np.int16)
    broken = np.zeros((rises.shape[0], len(columns)), np.int16)
    np.multiply(~rises, columns[1:], out=broken[:, 1:])
    return columns - np.maximum.accumulate(broken, axis=1)


def edge_widths(edges: np.ndarray, image: UInt8[np.ndarray, "h w"]) -> np.ndarray:
    """Width of each edge along its row in pixels, 0 where there is none: int16 (h, w).

    From an edge pixel the intensity is followed to both sides while it keeps falling (or rising) away from it, at most
    100 pixels. Only gradients within 22.5° of the row count; a pixel without horizontal gradient counts as 0°, as in
    the port.

    Parameters
    ----------
    edges : bool (h, w)
    """
    widths = np.zeros(image.shape, np.int16)
    gradient_y, gradient_x = np.gradient(image.astype(np.float32))  # halves of whole numbers: exact
    if not ((gradient_x < 0) | ((gradient_x != 0) & (gradient_y != 0))).any():
        return widths  # the port gives up where every angle is 0
    along_row = (np.abs(gradient_y) < TAN_22_5 * np.abs(gradient_x)) | (gradient_x == 0)
    inside = edges & along_row
    inside[[0, -1]] = inside[:, [0, -1]] = False
    rising, falling = inside & (gradient_x >= 0), inside & (gradient_x < 0)
    for chosen, step in ((rising, image[:, :-1] < image[:, 1:]), (falling, image[:, :-1] > image[:, 1:])):
        rows, columns = np.nonzero(chosen)
        to_left = _steps_left(step)[rows, columns - 1]
        to_right = _steps_left(step[:, ::-1])[:, ::-1][rows, columns + 1]  # the same steps, walked the other way
        widths[rows, columns] = np.minimum(to_left, LONGEST) + 1 + np.minimum(to_right, LONGEST) + 1
    return widths


def cpbd_of_grey(image: UInt8[np.ndarray, "h w"]) -> float:
    """CPBD of one grey frame, h and w at least 64; 0 when no block has an edge (as in the port)."""
    from skimage.feature import canny

    exact = image.astype(np.float64)
    marks = canny(exact)
    widths = edge_widths(sobel_edges(exact), image)
    rows, columns = image.shape[0] // BLOCK, image.shape[1] // BLOCK

    def blocks(pixels: np.ndarray) -> np.ndarray:  # (h, w) → (blocks, BLOCK²)
        cut = pixels[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
        return cut.swapaxes(1, 2).reshape(rows * columns, BLOCK * BLOCK)

    grey_blocks, width_blocks = blocks(image).astype(np.int16), blocks(widths)
    counts = blocks(marks).sum(axis=1) > BLOCK * BLOCK * EDGE_SHARE
    contrast = grey_blocks.max(axis=1) - grey_blocks.min(axis=1)
    noticeable = np.where(contrast <= 50, 5.0, 3.0)
    chosen = counts[:, None] & (width_blocks != 0)
    if not chosen.any():
        return 0.0
    probability = 1 - np.exp(-((width_blocks / noticeable[:, None])[chosen] ** BETA))
    return float(np.mean(np.round(probability * 100) <= JUST_NOTICEABLE))


def cpbd(frames: UInt8[np.ndarray, "n h w 3"]) -> np.ndarray:
    """CPBD of each frame, float64 (n,), in [0, 1].

    Parameters
    ----------
    frames : uint8 (n, h, w, 3), RGB, h and w at least 64 (ValueError below)

    Examples
    --------
    >>> import numpy as np
    >>> random = np.random.default_rng(0)
    >>> sharp = random.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    >>> round(float(cpbd(sharp)[0]), 3), float(cpbd(np.zeros_like(sharp))[0])
    (0.914, 0.0)
    """
    if min(frames.shape[1:3]) < BLOCK:
        raise ValueError(
            f"cpbd: frames of at least {BLOCK}×{BLOCK} pixels expected, got {frames.shape[2]}×{frames.shape[1]}"
        )
    return np.array([cpbd_of_grey(image) for image in grey(frames)], dtype=np.float64)


def measure(frames: np.ndarray) -> Measured:
    """Mean CPBD over the frames of a clip."""
    return over_frames(RECIPE, cpbd(frames), "no frames")
