"""What the page does with a portrait and speech: looks at each when it comes, and makes the video. Everything that
makes a video goes through :class:`s3dnerf.synthesis.talking_head.TalkingHead`.

Whatever a visitor can put right comes as :class:`Refused`, one sentence in words of the page.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TypeVar

import numpy as np

from flows.page.folder import Visits
from flows.page.portrait_view import PortraitView, portrait_view, refusal
from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.file_names import shown
from s3dnerf.core.rates import RATE_HZ
from s3dnerf.faces.types import FaceError
from s3dnerf.synthesis.talking_head import TalkingHead

logger = logging.getLogger(__name__)

T = TypeVar("T")
CHOOSE = "the photo shows several faces: choose the one that is to speak"


class Refused(S3DNeRFError, ValueError):
    """Something that a visitor gave cannot be used; the message is one sentence."""


class Stopped(S3DNeRFError, RuntimeError):
    """The visitor, or the end of the server, stopped the rendering."""


@dataclass(frozen=True)
class Wish:
    """What a visitor set besides portrait and speech; see :meth:`TalkingHead.animate`."""

    face: str = "only"
    motion: str = "gentle"
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    blinks: bool = True
    crop: bool = False
    mark: bool = False


class Studio:
    """A talking head for visitors.

    Parameters
    ----------
    head : the generator
    visits : whose files are whose
    most_s : the longest speech, seconds
    """

    def __init__(self, head: TalkingHead, visits: Visits, most_s: float) -> None:
        self.head, self.visits, self.most_s = head, visits, most_s
        # one at a time, in one thread: detectors belong to a thread, and what reads JPEG borrows the process's stderr
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="look")

    def close(self) -> None:
        """Begin nothing more."""
        self._looking.shutdown(wait=False, cancel_futures=True)

    def look(self, session: str, portrait: str, which: str) -> PortraitView:
        """The face of a portrait that was uploaded, or why there is none to be used."""
        from s3dnerf.video.pictures import read_picture

        def view() -> PortraitView:
            path = self._file(session, portrait, "photo")
            return portrait_view(read_picture(path), which, self.head.settings)

        try:
            return self._in_words(view, portrait)
        except Refused as refused:
            return PortraitView(refusal(str(refused)), 0, usable=False)

    def listen(self, session: str, speech: str) -> float:
        """How long a recording is, seconds; at most so much of it is read as is accepted. Raises Refused."""
        from s3dnerf.speech.audio import read_sound
        from s3dnerf.synthesis.synthesizer import whole_frames

        def duration_s() -> float:
            path = self._file(session, speech, "recording")
            samples = read_sound(path, end_s=self.most_s + 1).samples
            if len(samples) > self.most_s * RATE_HZ:
                raise Refused(f"the speech is longer than {self.most_s:g} seconds, the most that is accepted here")
            whole_frames(samples)  # raises where it is silent
            return len(samples) / RATE_HZ

        return self._in_words(duration_s, speech)

    def render(
        self, session: str, portrait: str, speech: str, wish: Wish, progress: Callable[[int, int], None]
    ) -> tuple[Path, str]:
        """The video, and a sentence about it.

        Parameters
        ----------
        progress : called with the frames done and their number, at the start and after each

        Raises Refused, and Stopped where the visitor stopped it or closed the page.
        """
        stop = self.visits.begin(session)
        self.listen(session, speech)

        def work() -> tuple[Path, str]:
            said = self._looking.submit(
                self.head.animate,
                self._file(session, portrait, "photo"),
                self._file(session, speech, "recording"),
                motion=wish.motion,
                yaw_deg=wish.yaw_deg,
                pitch_deg=wish.pitch_deg,
                blinks=wish.blinks,
                crop=wish.crop,
                mark=wish.mark,
                face=wish.face,
            ).result()
            video = self.visits.new_video(session)
            try:
                count = said.write(video, lambda frames: _counted(frames, len(said), stop, progress))
                if stop.is_set():  # while the last of it was written: whoever closed the page does not want it
                    raise Stopped("stopped")
            except BaseException:
                self.visits.drop(session, video)
                raise
            what = "the whole picture" if said.whole else "the face alone"
            note = f" Of the recording: {said.note}." if said.note else ""
            return video, f"Done: {what}, {count} frames, {count / 25:.1f} seconds.{note}"

        return self._in_words(work, portrait, speech)

    def _file(self, session: str, path: str, what: str) -> Path:
        """An upload, which from now on is the visitor's. Raises Refused where it is gone."""
        held = self.visits.hold(session, path)
        if not held.is_file():
            raise Refused(f"the {what} is no longer on the server, which keeps files for a while only: choose it again")
        return held

    def _in_words(self, work: Callable[[], T], *paths: str) -> T:
        """What work gives; its errors as Refused, in which files are called as the visitor calls them."""
        try:
            return work()
        except (Refused, Stopped):
            raise
        except FaceError as error:
            several = error.reason == "several_faces"  # its message names an option of the command line
            raise Refused(CHOOSE if several else error.detail) from error
        except S3DNeRFError as error:
            text = str(error)
            for path in paths:
                for spelt in {path, str(Path(path).resolve())}:
                    text = text.replace(shown(spelt), shown(Path(path).name)).replace(spelt, shown(Path(path).name))
            raise Refused(text) from error
        except Exception as error:
            logger.exception("the page: unexpected error")
            raise Refused("something went wrong on the server, and its log says what: try again later") from error


def _counted(
    frames: Iterable[np.ndarray], count: int, stop: Event, progress: Callable[[int, int], None]
) -> Iterator[np.ndarray]:
    """Frames as they pass, each of them reported, until ``stop``."""
    progress(0, count)
    for done, frame in enumerate(frames, 1):
        if stop.is_set():
            raise Stopped("stopped")
        yield frame
        progress(done, count)
