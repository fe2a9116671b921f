"""A shot: a person before a background under a light, seen by a pinhole camera; frames and their truth come out."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from s3dnerf.corpora.synthetic import parts
from s3dnerf.corpora.synthetic.head import Head, Light, part_normals
from s3dnerf.corpora.synthetic.identity import Person
from s3dnerf.corpora.synthetic.paint import noise
from s3dnerf.corpora.synthetic.raster import rasterize
from s3dnerf.corpora.synthetic.surface import smoothstep

FLIP = np.diag([1.0, -1.0, -1.0])
"""The head's frame (y up, z towards the camera) in the camera's (y down, z away from it)."""


@dataclass(frozen=True)
class Camera:
    """Pinhole camera of a source video: focal length and centre in its pixels, ``size`` = (height, width)."""

    focal_px: float
    centre_px: tuple[float, float]
    size: tuple[int, int]
    distance: float

    @property
    def intrinsics(self) -> np.ndarray:
        """The camera matrix float64 (3, 3), in pixels of the source video."""
        return np.array([[self.focal_px, 0, self.centre_px[0]], [0, self.focal_px, self.centre_px[1]], [0, 0, 1.0]])


def world_to_camera(turn: np.ndarray, translation: np.ndarray, camera: Camera) -> np.ndarray:
    """[R | t] (3, 4), OpenCV style, of a head turned by ``turn`` and moved by ``translation`` (head units) from the
    axis.
    """
    return np.concatenate([FLIP @ turn, (FLIP @ translation + np.array([0, 0, camera.distance]))[:, None]], 1)


def project(points: np.ndarray, extrinsics: np.ndarray, camera: Camera) -> np.ndarray:
    """Pixels (N, 2) of points (N, 3) in the head's frame; pixel i covers [i, i + 1)."""
    seen = points @ extrinsics[:, :3].T + extrinsics[:, 3]
    return seen[:, :2] / seen[:, 2:] * camera.focal_px + np.array(camera.centre_px)


def _muted(rng: np.random.Generator) -> np.ndarray:
    """A colour as walls and things in rooms have it."""
    grey = rng.uniform(35, 205)
    return np.clip(grey + rng.normal(0, 16, 3) + np.array([8.0, 0.0, -8.0]) * rng.normal(0, 1.2), 10, 240)


def background(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A wall, a gradient, blurred shapes or a bookshelf out of focus, uint8 (H, W, 3)."""
    height, width = size
    base = _muted(rng)
    down = np.linspace(-1, 1, height)[:, None]
    across = np.linspace(-1, 1, width)[None, :]
    slope = rng.uniform(-0.25, 0.25, 2)
    image = base * (1 + slope[0] * down + slope[1] * across)[..., None]
    kind = int(rng.integers(4))
    if kind == 1:
        for _ in range(int(rng.integers(5, 12))):
            colour = [float(c) for c in _muted(rng)]
            centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
            if rng.random() < 0.5:
                cv2.circle(image, centre, int(rng.uniform(0.04, 0.2) * height), colour, -1)
            else:
                cv2.rectangle(
                    image,
                    centre,
                    (centre[0] + int(rng.uniform(0.1, 0.4) * width), centre[1] + int(rng.uniform(0.1, 0.6) * height)),
                    colour,
                    -1,
                )
        image = cv2.GaussianBlur(image, (0, 0), 0.035 * height)
    elif kind == 2:
        x = 0
        while x < width:
            step = int(rng.uniform(0.02, 0.06) * width) + 1
            for shelf in range(3):
                y0 = int((shelf / 3 + rng.uniform(0.01, 0.08)) * height)
                cv2.rectangle(
                    image,
                    (x, y0),
                    (x + step - 1, int((shelf + 1) / 3 * height) - 4),
                    [float(c) for c in _muted(rng)],
                    -1,
                )
            x += step
        image = cv2.GaussianBlur(image, (0, 0), 0.016 * height)
    elif kind == 3:
        for _ in range(3):
            x = int(rng.uniform(0, width))
            cv2.line(
                image,
                (x, 0),
                (x + int(rng.uniform(-0.1, 0.1) * width), height),
                [float(c) for c in base * rng.uniform(0.6, 1.35)],
                int(rng.uniform(0.08, 0.25) * width),
            )
        image = cv2.GaussianBlur(image, (0, 0), 0.02 * height)
    image = image * (1 + 0.015 * noise(size, (height / 3, width / 3), rng))[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


def clothes(person: Person, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Texture of the torso part: cloth with folds, and a neckline with shirt and collar, uint8 (H, W, 3)."""
    height, width = size
    s = ((np.arange(height) + 0.5) / height)[:, None]
    x = (((np.arange(width) + 0.5) / width * 2 - 1) * 3.2)[None, :]
    depth = 2.4 * s
    cloth = (
        np.array(person.clothes, np.float32)
        * (1 + 0.05 * noise(size, (8, 24), rng) + 0.03 * noise(size, (height / 2, width / 2), rng))[..., None]
    )
    skin = np.array(person.skin, np.float32) * 0.90

    def lay(colour: np.ndarray, where: np.ndarray) -> None:
        nonlocal cloth
        share = np.clip(where, 0, 1)[..., None].astype(np.float32)
        cloth = cloth * (1 - share) + share * np.asarray(colour, np.float32)

    opening = (
        np.abs(x) - (0.50 - 0.95 * (depth - 0.10)) if person.collar != "round" else np.hypot(x / 0.56, depth / 0.36) - 1
    )
    if person.collar == "suit":
        lay(np.array(person.shirt), smoothstep(np.abs(x) - (0.62 - 0.36 * depth), 0.02, -0.02))
        lay(np.array(person.shirt) * 0.72, np.exp(-0.5 * ((np.abs(x) - (0.62 - 0.36 * depth)) / 0.02) ** 2))
        if not person.female:
            tie = np.array([110, 30, 40]) if sum(person.clothes) < 330 else np.array([40, 46, 80])
            lay(tie, smoothstep(np.abs(x) - (0.07 + 0.03 * depth), 0.015, -0.015) * smoothstep(depth, 0.36, 0.40))
        lay(skin, smoothstep(opening + 0.16, 0.02, -0.02) * smoothstep(depth, 0.40, 0.33))
        lay(
            np.array(person.clothes) * 0.7,
            np.exp(-0.5 * ((np.abs(x) - (0.80 - 0.34 * depth)) / 0.016) ** 2) * (depth > 0.2),
        )
    else:
        lay(skin, smoothstep(opening, 0.03, -0.03))
        lay(np.array(person.clothes) * 0.72, np.exp(-0.5 * (opening / 0.035) ** 2) * 0.8)
    return np.clip(cloth, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Frame:
    """A frame and its truth: ``image`` (H, W, 3) uint8 RGB, ``world_to_camera`` (3, 4), ``landmarks`` (68, 3) in the
    head's frame, ``landmarks_px`` (68, 2) source pixels, ``mask`` (H, W) bool of the visible inner face (or None)."""

    image: np.ndarray
    world_to_camera: np.ndarray
    landmarks: np.ndarray
    landmarks_px: np.ndarray
    mask: np.ndarray | None


class Shot:
    """One camera set-up of one person. Body and background do not move: they are drawn once.

    Parameters
    ----------
    over : supersampling, 1.5 or 2 (frame sides must be even)
    """

    def __init__(
        self,
        head: Head,
        camera: Camera,
        light: Light,
        rng: np.random.Generator,
        over: float = 1.5,
        body_yaw_deg: float = 0.0,
    ) -> None:
        from s3dnerf.corpora.synthetic.motion import rotation

        self.head, self.camera, self.light, self.over = head, camera, light, over
        self.body_turn = rotation(np.array([body_yaw_deg, 0.0, 0.0]))
        height, width = camera.size
        self.gain = self._gain_table()
        plate = cv2.resize(
            background(camera.size, rng), (round(width * over), round(height * over)), interpolation=cv2.INTER_LINEAR
        )
        self.plate, self.depth = self._draw_torso(plate, rng)
        self.still = cv2.resize(self.plate, (width, height), interpolation=cv2.INTER_AREA)

    def _gain_table(self) -> np.ndarray:
        """Brightness (in hundredths) to the three channels' gain (128: 1): shadows of skin are warmer than lights."""
        shade = np.arange(256) / 100.0
        gain = np.stack([shade**0.92, shade, shade**1.05], -1) * np.array(self.light.warm)
        return np.clip(gain * 128, 0, 255).astype(np.uint8)[None]

    def _paint(self, values: np.ndarray, texture: np.ndarray, plate: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Texture times light where something was drawn, the plate elsewhere."""
        u, v = values[..., 0] - np.float32(0.5), values[..., 1] - np.float32(0.5)
        colour = cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        shade = cv2.convertScaleAbs(values[..., 2], alpha=100.0)
        lit = cv2.multiply(colour, cv2.LUT(cv2.merge([shade, shade, shade]), self.gain), scale=1 / 128)
        out = plate.copy()
        cv2.copyTo(lit, drawn, out)
        return out

    def _camera_points(self, points: np.ndarray, extrinsics: np.ndarray) -> np.ndarray:
        """Vertices in the camera's frame; neck and long hair bend between head and body."""
        seen = points @ extrinsics[:, :3].T.astype(np.float32) + extrinsics[:, 3].astype(np.float32)
        bent = self.head.body > 0
        rest = world_to_camera(self.body_turn, np.zeros(3), self.camera)
        still = points[bent] @ rest[:, :3].T.astype(np.float32) + rest[:, 3].astype(np.float32)
        share = self.head.body[bent, None]
        seen[bent] = (1 - share) * seen[bent] + share * still
        return seen

    def _draw_torso(self, plate: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        body = parts.torso(self.head.person)
        texture = clothes(self.head.person, (160, 426), rng)
        extrinsics = world_to_camera(self.body_turn, np.zeros(3), self.camera)
        seen = body.vertices @ extrinsics[:, :3].T + extrinsics[:, 3]
        normals = part_normals(body) @ self.body_turn.T
        normals *= np.sign(normals[:, 2].mean())
        bright = self.light.ambient + self.light.key * np.maximum(normals @ self.light.direction + 0.2, 0) / 1.2
        below_chin = np.exp(-((body.vertices[:, 0] / 0.55) ** 2) - ((body.vertices[:, 1] + 1.45) / 0.30) ** 2)
        values = np.concatenate([body.uv * np.array([425, 159]) + 0.5, (bright * (1 - 0.25 * below_chin))[:, None]], 1)
        over, (cx, cy) = self.over, self.camera.centre_px
        values, depth = rasterize(
            seen, body.triangles, values, self.camera.focal_px * over, (cx * over, cy * over), plate.shape[:2]
        )
        return self._paint(values, texture, plate, (depth < 1).astype(np.uint8)), depth

    def frame(
        self,
        amplitudes: np.ndarray,
        tongue: float,
        gaze: tuple[float, float],
        turn: np.ndarray,
        translation: np.ndarray,
        want_mask: bool = False,
    ) -> Frame:
        """One frame: field amplitudes (see ``deform``), tongue 0–1, gaze, head rotation (3, 3) and translation (3,) in
        head units.
        """
        head, camera, over = self.head, self.camera, self.over
        extrinsics = world_to_camera(turn, translation, camera)
        points, texels = head.shape(amplitudes, tongue, gaze)
        bright = head.shade(points, self.light, turn)
        seen = self._camera_points(points, extrinsics)
        pixels = seen[:, :2] / seen[:, 2:] * camera.focal_px + np.array(camera.centre_px, np.float32)
        low = np.maximum(np.floor(pixels.min(0) / 2).astype(int) * 2 - 2, 0)
        high = np.minimum(np.ceil(pixels.max(0) / 2).astype(int) * 2 + 2, np.array(camera.size[::-1]))
        (x0, y0), (x1, y1) = low, high
        sx0, sy0, sx1, sy1 = (round(v * over) for v in (x0, y0, x1, y1))
        before = self.depth[sy0:sy1, sx0:sx1].copy()
        values, _ = rasterize(
            seen,
            head.triangles,
            np.concatenate([texels, bright[:, None]], 1),
            camera.focal_px * over,
            (camera.centre_px[0] * over - sx0, camera.centre_px[1] * over - sy0),
            (sy1 - sy0, sx1 - sx0),
            before,
        )
        drawn = (values[..., 2] > 0).astype(np.uint8)
        lit = self._paint(values, head.atlas.image, self.plate[sy0:sy1, sx0:sx1], drawn)
        image = self.still.copy()
        image[y0:y1, x0:x1] = cv2.resize(lit, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        mask = None
        if want_mask:
            inner = head.atlas.inner_face
            column = np.clip(values[..., 0].astype(int), 0, inner.shape[1] - 1)
            row = np.clip(values[..., 1].astype(int), 0, inner.shape[0] - 1)
            part = (inner[row, column] & (drawn > 0)).astype(np.float32)
            mask = np.zeros(camera.size, bool)
            mask[y0:y1, x0:x1] = cv2.resize(part, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA) > 0.5
        marks = head.landmarks(points)
        return Frame(image, extrinsics, marks, project(marks, extrinsics, camera), mask)
