"""Following faces through a clip: detection on every n-th frame, landmarks tracked between, everything checked.

Between two detections the landmarks of a frame are looked for in the box that follows from the frame before. The frames
since the last detection wait in a short buffer: when the next detection does not find the face where the track says it
is, or a frame looks or moves unlike the one before, each waiting frame is detected in full instead. Every face of a
size that could be the speaker is followed, so that one forward pass suffices whatever turns out to be there.

Pure in its results; reads frames from an iterator and keeps at most ``detect_every`` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from s3dnerf.faces.detectors import refined_landmarks
from s3dnerf.faces.types import Face, FaceBackend

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels
MATCH_IOU = 0.35  # a detection continues a track when it overlaps the track's box at least so much
JUMP = 0.18  # a track that moves by more than this share of its box in one frame is unsure
GROWTH = 1.2  # … or grows or shrinks by more than this factor
DOUBTFUL = 0.008  # … or whose landmarks disagree with themselves by this share of the box (of real frames, 2 in 100 do)
CANDIDATE_SIZE = 0.5  # faces smaller than this share of the largest one are bystanders and not followed
CUT_THUMB = (48, 27)  # the picture that frame-to-frame change is judged on
CUT_CORRELATION = 0.7  # two frames that correlate less are different pictures …
CUT_CHANGE = 12.0  # … if they differ by more grey levels than this, on average …
CUT_STANDS_OUT = 2.5  # … and by so many times what the frames around differ by: a shaken camera is no cut
# a face that leaps by this share of its box, or grows by this factor, where the picture changes: a cut too
LEAP, LEAP_GROWTH = (
    0.35,
    1.3,
)


@dataclass
class Track:
    """One face over the clip: frame number → landmarks (68, 2), box, and detector score where it was detected."""

    landmarks: dict[int, np.ndarray] = field(default_factory=dict)
    boxes: dict[int, Box] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    doubt: float = 0.0  # what remained when its landmarks were last sought anew: glasses leave more

    def side_px(self) -> float:
        """Median side of the boxes."""
        return float(np.median([(b[2] - b[0] + b[3] - b[1]) / 2 for b in self.boxes.values()]))


@dataclass(frozen=True)
class Tracks:
    """All faces of a clip.

    Attributes
    ----------
    frames : how many
    size_px : (width, height)
    cuts : frames that begin a new shot
    stands_out : float (N,), how many times more a frame differs from the one before than the frames around it do
    """

    frames: int
    size_px: tuple[int, int]
    tracks: list[Track]
    cuts: list[int]
    stands_out: np.ndarray

    def leaps(self, track: Track) -> list[int]:
        """Frames in which a face leaps or changes size at once while the picture changes: cuts between similar
        shots.
        """
        found = []
        for at in sorted(track.boxes):
            if at - 1 in track.boxes and self.stands_out[at] > CUT_STANDS_OUT:
                a, b = np.array(track.boxes[at - 1]), np.array(track.boxes[at])
                side, growth = a[2] - a[0], (b[2] - b[0]) / (a[2] - a[0])
                if (
                    np.abs((a - b)[:2] + (a - b)[2:]).max() / 2 > LEAP * side
                    or not 1 / LEAP_GROWTH < growth < LEAP_GROWTH
                ):
                    found.append(at)
        return found


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes.

    >>> iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def thumbnail(frame: np.ndarray) -> np.ndarray:
    """A small grey picture float32 (27, 48) of a frame: what cuts are seen on."""
    step = max(frame.shape[1] // 384, 1)  # averaging every pixel of a large frame costs more than it tells
    return cv2.cvtColor(
        cv2.resize(frame[::step, ::step], CUT_THUMB, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
    ).astype(np.float32)


def looks_cut(before: np.ndarray, after: np.ndarray) -> tuple[bool, float]:
    """Whether two thumbnails could be of different shots (they do not correlate), and their mean difference in grey
    levels.
    """
    a, b = before - before.mean(), after - after.mean()
    correlation = float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-6))
    change = float(np.abs(before - after).mean())
    return correlation < CUT_CORRELATION and change > CUT_CHANGE, change


def stands_out(changes: np.ndarray, reach: int = 4) -> np.ndarray:
    """Each frame's change (N,) over the median change of the frames within ``reach``; 0 for the first frame.

    >>> stands_out(np.array([0.0, 1, 1, 9, 1, 1])).round(1).tolist()
    [0.0, 1.0, 1.0, 9.0, 1.0, 1.0]
    """
    result = np.zeros(len(changes))
    for at in range(1, len(changes)):
        low = max(at - reach, 1)
        around = np.delete(changes[low : at + reach + 1], at - low)
        result[at] = changes[at] / max(float(np.median(around)) if len(around) else 1.0, 1.0)
    return result


class Tracker:
    """Follows the faces of one clip; see the module's description.

    Parameters
    ----------
    backend : FaceBackend
    detect_every : int
        Full detection on frames 0, n, 2 n, …
    detect_px : int
        Longer side of the picture the detector sees.
    """

    def __init__(self, backend: FaceBackend, detect_every: int, detect_px: int) -> None:
        self.backend, self.every, self.detect_px = backend, detect_every, detect_px
        self.tracks: list[Track] = []
        self.breaks: list[int] = []  # where a new shot may begin
        self._live: list[Track] = []
        self.full_detections = 0

    def run(
        self, frames: Iterable[np.ndarray], settled: Callable[[np.ndarray, Box | None], None] | None = None
    ) -> Tracks:
        """Follow the faces of a clip's frames uint8 (h, w, 3), in order.

        ``settled(frame, box)`` is told of each frame in order, once it is decided: the largest face's box, or None.
        """
        waiting: list[tuple[int, np.ndarray, bool]] = []
        before, size, count, changes = None, (0, 0), 0, []
        for count, frame in enumerate(frames, start=1):
            number, thumb, size = count - 1, thumbnail(frame), (frame.shape[1], frame.shape[0])
            cut, change = looks_cut(before, thumb) if before is not None else (False, 0.0)
            before = thumb
            changes.append(change)
            if cut:
                self.breaks.append(number)
            waiting.append((number, frame, cut))
            if number % self.every == 0:
                self._settle(waiting)
                self._tell(waiting, settled)
                waiting = []
        if waiting:
            self._settle(waiting)
            self._tell(waiting, settled)
        out = stands_out(np.array(changes))
        return Tracks(count, size, self.tracks, [at for at in self.breaks if out[at] > CUT_STANDS_OUT], out)

    def _tell(
        self, waiting: list[tuple[int, np.ndarray, bool]], settled: Callable[[np.ndarray, Box | None], None] | None
    ) -> None:
        if settled is not None:
            for number, frame, _ in waiting:
                boxes = [track.boxes[number] for track in self.tracks if number in track.boxes]
                settled(frame, max(boxes, key=lambda b: b[2] - b[0], default=None))

    def _settle(self, waiting: list[tuple[int, np.ndarray, bool]]) -> None:
        """Decide the waiting frames; the last one is detected in full."""
        number, frame, _ = waiting[-1]
        faces = self._detect(frame)
        if any(cut for *_, cut in waiting) or not self._live:
            self._each(waiting[:-1])
            self._take(number, frame, faces)
            return
        trials = [(track, trial) for track in self._live if (trial := self._follow(track, waiting)) is not None]
        sure = len(trials) == len(self._live) and all(
            any(iou(t[number][1], f.box_px) >= MATCH_IOU for f in faces) for _, t in trials
        )
        if not sure:
            self._each(waiting[:-1])
            self._take(number, frame, faces)
            return
        for track, trial in trials:
            for at, (points, box) in trial.items():
                track.landmarks[at], track.boxes[at] = points, box
            match = max(faces, key=lambda f: iou(trial[number][1], f.box_px))
            track.scores[number] = match.score
        self._start(
            number, frame, [f for f in faces if all(iou(t[number][1], f.box_px) < 0.1 for _, t in trials)], faces
        )

    def _detect(self, frame: np.ndarray) -> list[Face]:
        self.full_detections += 1
        return self.backend.detect(frame, self.detect_px, weak=True)

    def _each(self, waiting: list[tuple[int, np.ndarray, bool]]) -> None:
        for number, frame, _ in waiting:
            self._take(number, frame, self._detect(frame))

    def _take(self, number: int, frame: np.ndarray, faces: list[Face]) -> None:
        """A frame by its detections alone: tracks that match go on, others rest, new faces begin."""
        free, live = list(faces), []
        for track in sorted(self._live, key=lambda t: -t.side_px()):
            box = track.boxes[max(track.boxes)]
            match = max(free, key=lambda f: iou(box, f.box_px), default=None)
            if match is not None and iou(box, match.box_px) >= MATCH_IOU:
                free.remove(match)
                self._add(track, number, frame, match)
                live.append(track)
        self._live = live + [t for t in self._live if t not in live and number - max(t.boxes) < self.every]
        self._start(number, frame, free, faces)

    def _start(self, number: int, frame: np.ndarray, new: list[Face], faces: list[Face]) -> None:
        sure = self.backend.sure_score
        largest = max((f.side_px for f in faces if f.score >= sure), default=0.0)
        for face in new:
            if face.score >= sure and face.side_px >= CANDIDATE_SIZE * largest:
                resumed = self._resumed(number, face)
                track = resumed if resumed is not None else Track()
                if resumed is None:
                    self.tracks.append(track)
                self._add(track, number, frame, face)
                self._live.append(track)

    def _resumed(self, number: int, face: Face) -> Track | None:
        """A track that rests since a while (a face turned away, a hand before it) and whose place this face takes; not
        past a cut.
        """
        resting = [
            t
            for t in self.tracks
            if t not in self._live
            and number not in t.boxes
            and not any(max(t.boxes) < cut <= number for cut in self.breaks)
        ]
        best = max(resting, key=lambda t: iou(t.boxes[max(t.boxes)], face.box_px), default=None)
        return best if best is not None and iou(best.boxes[max(best.boxes)], face.box_px) >= MATCH_IOU / 2 else None

    def _add(self, track: Track, number: int, frame: np.ndarray, face: Face) -> None:
        points, track.doubt = refined_landmarks(frame, self.backend, face)
        track.landmarks[number], track.boxes[number], track.scores[number] = (
            points,
            self.backend.track_box(points),
            face.score,
        )

    def _follow(
        self, track: Track, waiting: list[tuple[int, np.ndarray, bool]]
    ) -> dict[int, tuple[np.ndarray, tuple]] | None:
        """The track through the waiting frames, or None where a step is unsure."""
        box, trial = track.boxes[max(track.boxes)], {}
        if max(track.boxes) != waiting[0][0] - 1:
            return None  # the face is resting: it must be detected again
        doubt = 0.0
        for number, frame, _ in waiting:
            points, doubt = self.backend.landmarks_and_doubt(frame, box)
            new = self.backend.track_box(points)
            side = box[2] - box[0]
            moved = np.hypot((new[0] + new[2] - box[0] - box[2]) / 2, (new[1] + new[3] - box[1] - box[3]) / 2)
            growth = (new[2] - new[0]) / side
            if moved > JUMP * side or not 1 / GROWTH < growth < GROWTH:
                return None
            trial[number] = points, new
            box = new
        return trial if doubt < max(DOUBTFUL, 2 * track.doubt) else None


def track_faces(
    frames: Iterable[np.ndarray],
    backend: FaceBackend,
    detect_every: int,
    detect_px: int,
    settled: Callable[[np.ndarray, Box | None], None] | None = None,
) -> Tracks:
    """All faces of a clip.

    Parameters
    ----------
    frames : read once, forward
    settled : see :meth:`Tracker.run`
    """
    return Tracker(backend, detect_every, detect_px).run(frames, settled)


def gaps(present: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of False in bool (N,): start and end (exclusive).

    >>> list(gaps(np.array([False, True, False, False, True])))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[True], np.asarray(present, bool), [True]]).astype(np.int8)))
    yield from ((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2]))
