"""A portrait's blinks: speech moves no eyelids, and a face whose eyes never close looks dead.

:func:`blinking` says when, :func:`close_eyes` closes the portrait's eyes before its frames are made: they move with the
head as everything in the portrait does. (The deformation could learn it only from landmarks that see lids close; dlib's
do not.)

Times are those of people in conversation (Bentivoglio et al., 1997: 26 blinks a minute in the median; VanderWerf et
al., 2003: lids fall in about 0.1 s and rise in twice that).
"""

from __future__ import annotations

import numpy as np

from s3dnerf.core.rates import FPS_HZ
from s3dnerf.faces.types import BROWS, EYES

MEDIAN_S, SPREAD, LEAST_S = 2.3, 0.5, 0.8  # from one blink to the next: log-normal, never less than the least
FALL_S, SHUT_S, RISE_S = 0.10, 0.04, 0.20
LASHES, MEET, SKIN = 0.05, 1.05, 0.75  # of the eye's height: lashes; where the lids meet; of the way to the brow: lid


def blinking(frames: int, seed: int = 0, fps_hz: float = FPS_HZ) -> np.ndarray:
    """How far the eyes are closed, 0 open … 1 shut: float32 (frames,). The first frame is open.

    Parameters
    ----------
    seed : of the times between blinks
    """
    rng = np.random.default_rng([seed, 11])
    shut, start = np.zeros(frames), 0.0
    while True:
        start += max(MEDIAN_S * float(np.exp(SPREAD * rng.standard_normal())), LEAST_S)
        if start * fps_hz >= frames:
            return (shut * shut * (3.0 - 2.0 * shut)).astype(np.float32)
        fallen = start + FALL_S
        first, last = int(start * fps_hz), int((fallen + SHUT_S + RISE_S) * fps_hz) + 1
        t, during = np.arange(first, min(last + 1, frames)) / fps_hz, slice(first, last + 1)
        closing, opening = (t - start) / FALL_S, 1.0 - (t - fallen - SHUT_S) / RISE_S
        shut[during] = np.maximum(shut[during], np.clip(np.minimum(closing, opening), 0.0, 1.0))


def close_eyes(picture: np.ndarray, landmarks: np.ndarray, shut: float) -> np.ndarray:
    """A portrait whose upper lids have come down over its eyes: the skin below the brow is stretched over them.

    Parameters
    ----------
    picture : float (h, w, 3)
    landmarks : (68, 2), pixels of the picture, eyes open
    shut : 0 as they are, 1 shut
    """
    import cv2

    if shut <= 0:
        return picture
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32) + 0.5
    eyes = landmarks[EYES].reshape(2, 6, 2).astype(np.float64)
    brows = landmarks[BROWS].reshape(2, 5, 2).astype(np.float64)
    map_x, map_y, covered = x.copy(), y.copy(), np.zeros_like(x)
    for eye, brow in zip(eyes, brows):
        centre, width = (eye[0] + eye[3]) / 2, float(np.linalg.norm(eye[3] - eye[0]))
        along = (eye[3] - eye[0]) / max(width, 1e-3)
        down = np.array([-along[1], along[0]])
        if width < 4 or (eye[[4, 5]].mean(0) - eye[[1, 2]].mean(0)) @ down <= 1.0:
            continue  # too small to see, or shut already
        u, v = ((x - centre[0]) * d[0] + (y - centre[1]) * d[1] for d in (along, down))
        # lids as parabolas through the corners; landmarks stand a third of the width apart
        bow = np.clip(1.0 - (2.0 * u / (1.1 * width)) ** 2, 0.0, None)
        upper, lower = (float((eye[i] - centre).mean(0) @ down) / 0.9 for i in ([1, 2], [4, 5]))
        height = lower - upper
        edge = (upper + LASHES * height) * bow
        top = edge + SKIN * (float((brow[1:4] - centre).mean(0) @ down) - upper)
        lid = edge + shut * ((upper + MEET * height) * bow - edge)
        over = (bow > 0) & (v > top) & (v < lid + 0.5)
        # skin is stretched; the lashes at its edge come down as they are
        lashes = 2 * LASHES * height * bow
        skin = top + (v - top) * (edge - lashes - top) / np.maximum(lid - lashes - top, 1e-3)
        read = np.where(v > lid - lashes, edge - (lid - v), skin)
        map_x += np.where(over, (read - v) * down[0], 0.0).astype(np.float32)
        map_y += np.where(over, (read - v) * down[1], 0.0).astype(np.float32)
        covered = np.maximum(covered, np.where(over, np.clip(lid + 0.5 - v, 0.0, 1.0), 0.0))
    moved = cv2.remap(picture, map_x - 0.5, map_y - 0.5, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return (picture + covered[..., None] * (moved - picture)).astype(picture.dtype)
