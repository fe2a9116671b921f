"""A straightforward script for F-LMD, M-LMD and SSIM of two video files: nothing of this project in it.

The ffmpeg program reads (colour between its samples interpolated, as players do), dlib finds one face and 68 points a
frame, scikit-image measures. Written to be read and to be disagreed with: the tests hold the project's scorer against
it.

Run: python tests/straightforward.py generated.mp4 truth.mp4 shape_predictor_68_face_landmarks.dat
"""

from __future__ import annotations

import sys

import cv2
import dlib
import imageio_ffmpeg
import numpy as np
from skimage.metrics import structural_similarity


def frames_of(path: str) -> list[np.ndarray]:
    colour = "scale=flags=bilinear+accurate_rnd+full_chroma_int"
    reader = imageio_ffmpeg.read_frames(
        path, pix_fmt="rgb24", output_params=["-vf", colour, "-fps_mode", "passthrough"]
    )
    width, height = next(reader)["size"]
    frames = [np.frombuffer(data, np.uint8).reshape(height, width, 3) for data in reader]
    return [cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA) for frame in frames]


def measure(generated: str, truth: str, predictor_file: str, every: int = 1) -> dict[str, float]:
    detector, predictor = dlib.get_frontal_face_detector(), dlib.shape_predictor(predictor_file)

    def points(frame: np.ndarray) -> np.ndarray | None:
        faces = detector(frame, 0)
        if len(faces) != 1:
            return None
        shape = predictor(frame, faces[0])
        return np.array([[shape.part(i).x, shape.part(i).y] for i in range(68)], dtype=float)

    face, mouth, similarity, lost = [], [], [], 0
    for ours, theirs in list(zip(frames_of(generated), frames_of(truth)))[::every]:
        ours, theirs = np.ascontiguousarray(ours), np.ascontiguousarray(theirs)
        similarity.append(structural_similarity(ours, theirs, channel_axis=2))
        a, b = points(ours), points(theirs)
        if a is None or b is None:
            lost += 1
            continue
        for chosen, values in ((range(0, 68), face), (range(48, 68), mouth)):
            p, q = a[list(chosen)], b[list(chosen)]
            p, q = p - p.mean(axis=0), q - q.mean(axis=0)
            values.append(float(np.mean(np.hypot(p[:, 0] - q[:, 0], p[:, 1] - q[:, 1]))))
    return {
        "f_lmd": float(np.mean(face)),
        "m_lmd": float(np.mean(mouth)),
        "ssim": float(np.mean(similarity)),
        "lost": lost,
    }


if __name__ == "__main__":
    print(measure(*sys.argv[1:4]))
