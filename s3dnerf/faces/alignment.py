"""From tracked faces to one similarity a clip: who speaks, which clips cannot be used, where the crop lies.

Reads frames and settings; raises :class:`FaceError` with the reason why a clip cannot be used. Pure functions beside
:func:`align_frames`, which decodes twice or keeps the frames, whichever stays within its memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from s3dnerf.faces.tracking import Track, Tracks, gaps
from s3dnerf.faces.types import RIVAL_SIZE, FaceError
from s3dnerf.faces.warping import apply
from s3dnerf.settings.schema import AlignSettings

# the crop's centre lies so far above the landmarks' centre (units of their extent): hair needs more room than the neck
RISE = 0.13
SHIFT = 0.2  # the crop may move by this share of the extent to stay in the picture
MARGIN = 0.04  # landmarks keep this share of the crop's side to its edges (5th–95th percentile over the clip)
LARGEST_GROWTH = 1.4  # the crop may grow by this factor to hold a head that moves; beyond, the face leaves the frame
# a clip is left out when so many points are out of the picture in so many of its frames
OUTSIDE_POINTS, OUTSIDE_FRAMES = (
    0.15,
    0.2,
)
PERSISTENT = 0.5  # a second face counts when it is there in this share of the main face's frames
SMOOTH_FRAMES = 0.6  # standard deviation of the landmarks' smoothing along the clip, symmetric: no lag


@dataclass(frozen=True)
class AlignedTrack:
    """The speaker's face through a clip of N frames.

    Attributes
    ----------
    landmarks : float32 (N, 68, 2), pixels of the aligned frame
    matrix : float64 (2, 3), source px (of the cropped frame) → aligned px
    scores : float32 (N,), detector score; nan where tracked
    missing : bool (N,), frames whose landmarks are interpolated
    """

    landmarks: np.ndarray
    matrix: np.ndarray
    scores: np.ndarray
    missing: np.ndarray


def speaker_of(found: Tracks) -> Track:
    """The one consistent person of a clip: large, central and there most of the time.

    Raises FaceError: ``no_face``, ``two_faces`` (another face of similar size beside it most of the time),
    ``scene_cut``.
    """
    if not found.tracks:
        raise FaceError("no_face", f"no face in {found.frames} frames")
    middle = np.array(found.size_px) / 2

    def weight(track: Track) -> float:
        centres = np.array([((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in track.boxes.values()])
        off = np.linalg.norm(np.median(centres, axis=0) - middle) / np.linalg.norm(middle)
        return len(track.boxes) * track.side_px() * (1 - 0.5 * float(off))

    main = max(found.tracks, key=weight)
    for other in found.tracks:
        together = sorted(set(other.boxes) & set(main.boxes))
        if (
            other is not main
            and len(together) >= PERSISTENT * len(main.boxes)
            and other.side_px() >= RIVAL_SIZE * main.side_px()
        ):
            raise FaceError(
                "two_faces",
                f"a second face, {other.side_px():.0f} px beside {main.side_px():.0f} px, in {len(together)} of "
                f"{found.frames} frames",
            )
    cuts = sorted({*found.cuts, *found.leaps(main)})
    if cuts:
        more = f" and {len(cuts) - 1} more" if len(cuts) > 1 else ""
        raise FaceError("scene_cut", f"another shot begins at frame {cuts[0]}{more} of {found.frames}")
    return main


def filled(track: Track, frames: int, max_missing_fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks float64 (N, 68, 2) with gaps interpolated (ends held), and which frames were missing, bool (N,).

    Raises FaceError ``face_lost`` when more than ``max_missing_fraction`` of the frames have no face.
    """
    present = np.array([i in track.landmarks for i in range(frames)])
    lost = int((~present).sum())
    if lost > max_missing_fraction * frames:
        longest = max(b - a for a, b in gaps(present))
        raise FaceError(
            "face_lost",
            f"no face in {lost} of {frames} frames, at most {max_missing_fraction:g} of them may lack it "
            f"(align.max_missing_fraction); the longest gap is {longest} frames",
        )
    at = np.flatnonzero(present)
    known = np.stack([track.landmarks[int(i)] for i in at]).astype(np.float64).reshape(len(at), -1)
    every = np.stack([np.interp(np.arange(frames), at, column) for column in known.T], axis=1)
    return every.reshape(frames, 68, 2), ~present


def clip_similarity(landmarks: np.ndarray, settings: AlignSettings, size_px: tuple[int, int]) -> np.ndarray:
    """The similarity float64 (2, 3) of a clip: upright, source px → aligned px.

    The crop's side is ``crop_factor`` times the landmarks' median extent; its centre follows their median centre. It
    grows where a moving head would leave it. Where the picture ends inside the crop, the crop moves a little and
    shrinks, down to ``crop_factor_min``: pixels beyond the picture are invented (its edge goes on).

    Parameters
    ----------
    landmarks : float (N, 68, 2), source px
    size_px : width and height of the source

    Raises
    ------
    FaceError
        ``face_leaves_frame`` when no crop of reasonable size holds the moving head.
    """
    low, high = landmarks.min(axis=1), landmarks.max(axis=1)
    extent = float(np.median((high - low).max(axis=1)))
    picture, shift = np.array(size_px, float), SHIFT * extent
    centre = np.median((low + high) / 2, axis=0) - [0, RISE * extent]
    inside = float(np.minimum(2 * np.minimum(centre, picture - centre) + 2 * shift, picture).min())
    side = np.clip(inside, settings.crop_factor_min * extent, settings.crop_factor * extent)
    wanted = np.where(picture > side, np.clip(centre, side / 2, np.maximum(picture - side / 2, side / 2)), picture / 2)
    centre = np.clip(wanted, centre - shift, centre + shift)
    reach = np.concatenate([centre - np.percentile(low, 5, axis=0), np.percentile(high, 95, axis=0) - centre]).max()
    side = max(float(side), 2 * reach / (1 - 2 * MARGIN))
    if side > LARGEST_GROWTH * settings.crop_factor * extent:
        raise FaceError(
            "face_leaves_frame",
            f"the head moves over {2 * reach:.0f} px, its extent is {extent:.0f} px: no one crop holds it",
        )
    scale = settings.size_px / side
    return np.column_stack([scale * np.eye(2), settings.size_px / 2 - scale * centre])


def check_inside(landmarks: np.ndarray, size_px: tuple[int, int]) -> None:
    """Raise FaceError ``face_leaves_frame`` when too many points lie outside the picture in too many frames."""
    outside = ((landmarks < 0) | (landmarks > np.array(size_px))).any(axis=2).mean(axis=1)
    leaving = outside > OUTSIDE_POINTS
    if leaving.mean() > OUTSIDE_FRAMES:
        raise FaceError(
            "face_leaves_frame",
            f"in {int(leaving.sum())} of {len(landmarks)} frames more than {OUTSIDE_POINTS:.0%} of the "
            "face's points are outside the picture",
        )


def too_small(side_px: float, settings: AlignSettings) -> FaceError:
    """What to say of a face that is too small."""
    return FaceError(
        "face_too_small",
        f"the face is {side_px:.0f} px, at least {settings.min_face_px} are needed (align.min_face_px)",
    )


def align_track(found: Tracks, settings: AlignSettings) -> AlignedTrack:
    """The speaker's landmarks and the clip's similarity. Raises FaceError with the reason why a clip cannot be used."""
    track = speaker_of(found)
    if track.side_px() < settings.min_face_px:
        raise too_small(track.side_px(), settings)
    landmarks, missing = filled(track, found.frames, settings.max_missing_fraction)
    check_inside(landmarks, found.size_px)
    matrix = clip_similarity(landmarks, settings, found.size_px)
    smooth = (
        gaussian_filter1d(landmarks, SMOOTH_FRAMES, axis=0, mode="nearest")
        if SMOOTH_FRAMES > 0 and len(landmarks) > 1
        else landmarks
    )
    scores = np.array([track.scores.get(i, np.nan) for i in range(found.frames)], np.float32)
    return AlignedTrack(apply(matrix, smooth).astype(np.float32), matrix, scores, missing)
