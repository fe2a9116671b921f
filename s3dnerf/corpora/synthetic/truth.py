"""What is known exactly of a synthetic video, kept apart from it: written beside the raw folder, read by tests and the
command ``python -m s3dnerf.faces.ground_truth_errors``.

``data/<preset>/sample/truth/<corpus>/<path of the video in its corpus>.npz``
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from s3dnerf.video.packs import write_atomic

MASK_EVERY = 5


@dataclass
class Truth:
    """The truth of one video of T frames in source pixels (pixel i covers [i, i + 1)).

    Attributes
    ----------
    time_s : (T,) presentation time of each frame
    valid : (T,) bool, false where no person is in the picture (title cards)
    angles_deg : (T, 3) yaw (+: towards the right of the picture), pitch (+: chin up), roll (+: leaning right)
    world_to_camera : (T, 3, 4) OpenCV camera of the head's frame (x right, y up, z out of the face; 1 unit = 10 cm)
    intrinsics : (T, 3, 3) source pixels
    landmarks : (T, 68, 2) iBUG order
    mouth_opening : (T,) gap between the inner lips in head units · mouth_width : (T,)
    blink : (T,) 0 open – 1 closed
    mask_frames : (K,) frames with a mask · masks : (K, H, W) bool, visible inner face with the mouth filled
    visemes : list of (viseme, phoneme, start_s, end_s) · words : list of (word, start_s, end_s)
    """

    time_s: np.ndarray
    valid: np.ndarray
    angles_deg: np.ndarray
    world_to_camera: np.ndarray
    intrinsics: np.ndarray
    landmarks: np.ndarray
    mouth_opening: np.ndarray
    mouth_width: np.ndarray
    blink: np.ndarray
    mask_frames: np.ndarray
    masks: np.ndarray
    visemes: list[tuple[str, str, float, float]]
    words: list[tuple[str, float, float]]


_ARRAYS = (
    "time_s",
    "valid",
    "angles_deg",
    "world_to_camera",
    "intrinsics",
    "landmarks",
    "mouth_opening",
    "mouth_width",
    "blink",
    "mask_frames",
)


def truth_path(sample_folder: str | Path, corpus: str, video: str) -> Path:
    """Where the truth of a video lies.

    Parameters
    ----------
    video : path of the video relative to the corpus's raw folder

    Examples
    --------
    >>> truth_path("data/tiny/sample", "hdtf", "videos/Ames.mp4").as_posix()
    'data/tiny/sample/truth/hdtf/videos/Ames.npz'
    """
    return Path(sample_folder) / "truth" / corpus / PurePosixPath(video).with_suffix(".npz")


def write_truth(path: str | Path, truth: Truth) -> None:
    """Write one video's truth, whole or not at all. Masks are packed to bits."""
    buffer = io.BytesIO()
    seen = [list(column) for column in zip(*truth.visemes, strict=True)] if truth.visemes else [[], [], [], []]
    said = [list(column) for column in zip(*truth.words, strict=True)] if truth.words else [[], [], []]
    np.savez_compressed(
        buffer,
        **{name: getattr(truth, name) for name in _ARRAYS},
        masks=np.packbits(truth.masks, axis=-1),
        mask_width=truth.masks.shape[-1],
        visemes=np.array(seen[0], "U16"),
        phonemes=np.array(seen[1], "U16"),
        viseme_times_s=np.array(seen[2:], np.float64),
        words=np.array(said[0], "U40"),
        word_times_s=np.array(said[1:], np.float64),
    )
    write_atomic(path, buffer.getvalue())


def load_truth(path: str | Path) -> Truth:
    """Read one video's truth. Raises FileNotFoundError when the video is not a synthetic one."""
    with np.load(path, allow_pickle=False) as held:
        masks = np.unpackbits(held["masks"], axis=-1, count=int(held["mask_width"])).astype(bool)
        start, end = held["viseme_times_s"]
        visemes = [
            (str(v), str(p), float(a), float(b))
            for v, p, a, b in zip(held["visemes"], held["phonemes"], start, end, strict=True)
        ]
        start, end = held["word_times_s"]
        words = [(str(w), float(a), float(b)) for w, a, b in zip(held["words"], start, end, strict=True)]
        return Truth(**{name: held[name] for name in _ARRAYS}, masks=masks, visemes=visemes, words=words)
