"""The sound of five frames, as a lip-sync network reads it: columns of the mel, or tokens of the speech backend.

``sync.audio`` decides. The mel is the paper's; tokens carry what a speech model learned of millions of hours, which a
small corpus cannot teach again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s3dnerf.speech.mel import WINDOW_COLUMNS, mel_window_start

TOKENS_PER_FRAME, FRAMES = 2, 5


@dataclass(frozen=True)
class AudioWindows:
    """How windows are cut out of a clip's sound.

    Attributes
    ----------
    kind : ``mel`` (80 columns a second) or ``tokens`` (50 a second)
    length : columns or tokens a window
    """

    kind: str
    length: int

    @property
    def part(self) -> str:
        """The part of ``speech``'s packs that holds the sound in this form."""
        return f"{self.kind}.npy"

    def start(self, frame: int) -> int:
        """First column or token of the window of five frames that begins at ``frame``."""
        return mel_window_start(frame) if self.kind == "mel" else TOKENS_PER_FRAME * frame

    def of(self, audio: np.ndarray, frame: int) -> np.ndarray:
        """The window at ``frame``: (m, k) → (length, k)."""
        first = self.start(frame)
        return audio[first : first + self.length]

    def check(self, audio: np.ndarray, windows: int) -> None:
        """Raise ValueError where the sound is too short for so many windows."""
        needed = self.start(windows - 1) + self.length
        if len(audio) < needed:
            raise ValueError(f"{self.kind}: expected at least {needed} for {windows} windows, got {len(audio)}")


MEL = AudioWindows("mel", WINDOW_COLUMNS)
TOKENS = AudioWindows("tokens", TOKENS_PER_FRAME * FRAMES)


def audio_windows(kind: str) -> AudioWindows:
    """The windows of a setting ``sync.audio``."""
    return {"mel": MEL, "tokens": TOKENS}[kind]
