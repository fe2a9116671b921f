"""An hour of speech: does memory stay flat, and the person the same?

    python -m benchmarks.hour                        # an hour, every frame of it: hours on a small machine
    python -m benchmarks.hour --minutes 8            # shorter, every frame
    python -m benchmarks.hour --ends                 # an hour, of which the network makes the first and the last minute

One portrait speaks real recordings, one after the other and again, the face alone (``--crop``), through
``TalkingHead.animate`` and ``Animation.write`` as anyone would call them. With ``--ends`` everything else is done for
each frame between as well, sound, tokens, poses, blinks, encoding; but the network is not asked, and the picture made
last is held: so memory in the middle lacks the network's own, which the two ends show.

Memory is the resident set of this process, looked at once a second of speech: the most of each minute; that of its
children (ffmpeg, the decoder) beside it. Identity is the similarity of a face recogniser's descriptions
(:mod:`s3dnerf.metrics.identity`) of one frame in two seconds, of the first and of the last minute, with the portrait's.
Writes benchmarks/results/hour.json (or ``--name``) and prints it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from benchmarks.record import origin, write
from s3dnerf import TalkingHead
from s3dnerf.core.cores import usable_cores
from s3dnerf.core.rates import FPS_HZ, RATE_HZ
from s3dnerf.faces.detectors import face_backend, refined_landmarks
from s3dnerf.faces.types import main_face
from s3dnerf.metrics.identity import Recogniser, load_recogniser
from s3dnerf.settings.loading import preset_settings
from s3dnerf.speech.audio import read_audio, wav_bytes
from s3dnerf.synthesis.portrait import prepare_portrait
from s3dnerf.video.pictures import read_picture

MINUTE = 60 * FPS_HZ  # frames
LOOKED_AT = 2 * FPS_HZ  # identity: one frame in so many
FLAT = 1.02, 0.02  # what is called flat: memory's growth at most; identity's change at most


class Watch:
    """Looks at frames on their way into the video: memory, and the frames kept for identity.

    Parameters
    ----------
    count : frames in all
    """

    def __init__(self, count: int) -> None:
        self.count, self.process = count, psutil.Process()
        self.own_mb: list[float] = []  # the most of each minute
        self.children_mb: list[float] = []
        self.first: list[np.ndarray] = []
        self.last: list[np.ndarray] = []

    def over(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Pass frames on."""
        for number, frame in enumerate(frames):
            if number % MINUTE == 0:
                self.own_mb.append(0.0)
                self.children_mb.append(0.0)
            if number % FPS_HZ == 0:
                self._look()
            if number % LOOKED_AT == 0:
                if number < MINUTE:
                    self.first.append(frame)
                if number >= self.count - MINUTE:
                    self.last.append(frame)
            yield frame

    def _look(self) -> None:
        self.own_mb[-1] = max(self.own_mb[-1], self.process.memory_info().rss / 1e6)
        children = 0.0
        for child in self.process.children(recursive=True):
            try:
                children += child.memory_info().rss / 1e6
            except psutil.Error:  # it ended meanwhile
                continue
        self.children_mb[-1] = max(self.children_mb[-1], children)


class EndsAlone:
    """The generator's ``render``, asked in the first and the last minute; between, what it made last.

    Parameters
    ----------
    render : the generator's own
    count : frames in all
    """

    def __init__(self, render: Any, count: int) -> None:
        self.render, self.count, self.done, self.held = render, count, 0, None

    def __call__(self, identity: Any, windows: torch.Tensor, camera: Any, **named: Any) -> Any:
        first, self.done = self.done, self.done + len(windows)
        if self.held is None or first < MINUTE or self.done > self.count - MINUTE:
            self.held = self.render(identity, windows, camera, **named)
        return self.held


def long_speech(recordings: Path, minutes: float, path: Path) -> int:
    """Write so many minutes of the recordings in a folder (or of one file), one after the other and again, as WAV.
    Returns the number of recordings.
    """
    files = sorted(recordings.glob("EX_*.mp4")) if recordings.is_dir() else [recordings]
    if not files:
        raise SystemExit(f"{recordings}: no recordings EX_*.mp4 in there — expected some, or a file")
    wanted = round(minutes * 60 * RATE_HZ)
    parts, length = [], 0
    for file in files:
        parts.append(read_audio(file))
        length += len(parts[-1])
        if length >= wanted:
            break
    path.write_bytes(wav_bytes(np.resize(np.concatenate(parts), wanted)))
    return len(parts)


def similarities(head: TalkingHead, portrait: Path, frames: list[np.ndarray], recogniser: Recogniser) -> list[float]:
    """Of each frame's face to the portrait's; a frame in which no face is found is left out."""
    settings = head.settings
    backend = face_backend(settings.align)
    face = prepare_portrait(read_picture(portrait), settings)
    own, found = recogniser.describe(face.frame, face.landmarks), []
    for frame in frames:
        seen, _ = main_face(backend.detect(frame, settings.align.detect_px))
        if seen is not None:
            points = refined_landmarks(frame, backend, seen)[0]
            found.append(recogniser.similarity(own, recogniser.describe(frame, np.asarray(points, np.float64))))
    return found


def measured(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Make the video and say how memory and identity went."""
    recordings = long_speech(given.speech, given.minutes, folder / "speech.wav")
    head = TalkingHead.load(given.model, "cpu")
    chosen = preset_settings(given.preset)
    recogniser = load_recogniser(chosen.evaluate.identity, chosen.align.model_dir)
    if recogniser is None:
        raise SystemExit(f"{given.preset}: evaluate.identity is off — expected a preset with dlib or insightface")
    said = head.animate(given.portrait, folder / "speech.wav", crop=True)
    render = head.synthesizer.generator.render
    if given.ends:
        head.synthesizer.generator.render = EndsAlone(render, len(said))  # type: ignore[assignment, method-assign]
    watch = Watch(len(said))
    frames = said.write(folder / "said.mp4", watch.over)
    first, last = (similarities(head, given.portrait, kept, recogniser) for kept in (watch.first, watch.last))
    settled = watch.own_mb[1:] or watch.own_mb
    change = float(np.mean(last) - np.mean(first))
    return {
        "minutes": given.minutes,
        "network": "first and last minute; the picture is held between" if given.ends else "every frame",
        "frames": frames,
        "recordings": recordings,
        "memory_mb_by_minute": [round(mb) for mb in watch.own_mb],
        "children_mb_by_minute": [round(mb) for mb in watch.children_mb],
        "memory_last_minute_to_second": round(settled[-1] / settled[0], 4),
        "memory_is_flat": settled[-1] <= FLAT[0] * settled[0],
        "samples_mb": round(said.samples.nbytes / 1e6),
        "identity": recogniser.recipe.version,
        "identity_first_minute": round(float(np.mean(first)), 4),
        "identity_last_minute": round(float(np.mean(last)), 4),
        "identity_change": round(change, 4),
        "identity_is_kept": abs(change) <= FLAT[1],
        "identity_frames": [len(first), len(last)],
        "video_mb": round((folder / "said.mp4").stat().st_size / 1e6, 1),
    }


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hour", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--ends", action="store_true", help="the network makes the first and the last minute alone")
    parser.add_argument("--portrait", type=Path, default=Path("../shared/inputs/may.jpg"))
    parser.add_argument("--speech", type=Path, default=Path("../shared/corpora/HDTF/clips"))
    parser.add_argument("--model", type=Path, help="a generator's folder; without it the one in the package")
    parser.add_argument("--preset", default="mini", help="whose face recogniser measures identity")
    parser.add_argument("--name", default="hour", help="of the result's file")
    given = parser.parse_args()
    if given.minutes < 2:
        parser.error(f"--minutes: got {given.minutes:g} — expected 2 or more: a first and a last")
    torch.set_num_threads(usable_cores())
    with tempfile.TemporaryDirectory(prefix="s3dnerf-hour-") as folder:
        found = measured(given, Path(folder))
    command = " ".join(["python -m benchmarks.hour", *sys.argv[1:]])
    print(write(given.name, {**origin(command, "git", "hardware"), **found}))


if __name__ == "__main__":
    main()
