"""Triangles to pixels: a z-buffer that gives, at every pixel, what its front-most triangle carries.

OpenCV's software rasteriser does the inner loop (a frame's 13,000 triangles in about 2 ms); :func:`rasterize_reference`
is the same in plain numpy, and a test holds the two together.
"""

from __future__ import annotations

import cv2
import numpy as np

NEAR, FAR = 1.0, 60.0


def rasterize(
    camera_points: np.ndarray,
    triangles: np.ndarray,
    values: np.ndarray,
    focal_px: float,
    centre_px: tuple[float, float],
    size: tuple[int, int],
    depth: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Perspective-correct values and depth of the front-most triangle at each pixel's centre.

    Parameters
    ----------
    camera_points : (V, 3)
        OpenCV camera frame: x right, y down, z forward; 1 < z < 60.
    triangles : (F, 3) int32, either winding
    values : (V, 3)
        Any three numbers a vertex.
    focal_px, centre_px : pinhole camera; pixel i covers [i, i + 1)
    size : (height, width)
    depth : (height, width) float32, optional
        A z-buffer of :func:`rasterize` with what stands there already (it is changed).

    Returns
    -------
    values : (height, width, 3) float32, 0 where nothing was drawn
    depth : (height, width) float32 inverse depth in [0, 1], 1 where nothing was drawn
    """
    height, width = size
    points = np.empty((len(camera_points), 3), np.float32)
    z = camera_points[:, 2]
    # the rasteriser's optical axis goes through the middle of the picture: a shear moves it to the real centre
    points[:, 0] = camera_points[:, 0] + (centre_px[0] - 0.5 * width) / focal_px * z
    points[:, 1] = -camera_points[:, 1] - (centre_px[1] - 0.5 * height) / focal_px * z  # its y points up
    points[:, 2] = -z
    out = np.zeros((height, width, 3), np.float32)
    if depth is None:
        depth = np.ones((height, width), np.float32)
    settings = cv2.TriangleRasterizeSettings()
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    settings.setCullingMode(cv2.RASTERIZE_CULLING_NONE)
    settings.setGlCompatibleMode(cv2.RASTERIZE_COMPAT_INVDEPTH)
    field = float(2 * np.arctan(0.5 * height / focal_px))
    cv2.triangleRasterize(
        points[None],
        np.ascontiguousarray(triangles, np.int32)[None],
        np.ascontiguousarray(values, np.float32)[None],
        out,
        depth,
        np.eye(4, dtype=np.float32),
        field,
        NEAR,
        FAR,
        settings,
    )
    return out, depth


def rasterize_reference(
    camera_points: np.ndarray,
    triangles: np.ndarray,
    values: np.ndarray,
    focal_px: float,
    centre_px: tuple[float, float],
    size: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """What :func:`rasterize` computes, one triangle after the other; depth is z in head units (inf where nothing
    is).
    """
    height, width = size
    out, depth = np.zeros((height, width, 3)), np.full((height, width), np.inf)
    z = camera_points[:, 2]
    x = camera_points[:, 0] / z * focal_px + centre_px[0]
    y = camera_points[:, 1] / z * focal_px + centre_px[1]
    for a, b, c in triangles:
        area = (x[b] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[b] - y[a])
        if area == 0:
            continue
        x0, x1 = int(max(np.floor(min(x[a], x[b], x[c])), 0)), int(min(np.ceil(max(x[a], x[b], x[c])), width))
        y0, y1 = int(max(np.floor(min(y[a], y[b], y[c])), 0)), int(min(np.ceil(max(y[a], y[b], y[c])), height))
        for row in range(y0, y1):
            for column in range(x0, x1):
                px, py = column + 0.5, row + 0.5
                wb = ((px - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (py - y[a])) / area
                wc = ((x[b] - x[a]) * (py - y[a]) - (px - x[a]) * (y[b] - y[a])) / area
                wa = 1 - wb - wc
                if min(wa, wb, wc) < 0:
                    continue
                inverse = wa / z[a] + wb / z[b] + wc / z[c]
                if 1 / inverse < depth[row, column]:
                    depth[row, column] = 1 / inverse
                    out[row, column] = (wa * values[a] / z[a] + wb * values[b] / z[b] + wc * values[c] / z[c]) / inverse
    return out, depth
