"""A clip's offset between picture and sound without any network: the mouth's opening against the loudness of its
speech.

Three openings (outer lips, lower lip and chin below the nose, chin below the brows) and three levels of the sound (all
of it, two bands of the voice) lose what is slower than six frames, the head's motion and the sentence's loudness among
it; where the mean of their nine correlations is highest, the two belong together. How often a known shift is found
again is measured by ``benchmarks/sync.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from s3dnerf.core.rates import FPS_HZ, REACH_FRAMES
from s3dnerf.speech.mel import MEL_HZ
from s3dnerf.sync.speech_activity import column_level_db

# standard deviations of the band-pass: syllables stay, head motion and landmark noise go
FAST_FRAMES, SLOW_FRAMES = (
    0.5,
    6.0,
)
SOUND_COLUMNS = 1.3  # the mel is smoothed over a little more than a column before it is read at 25 Hz
LEAST_FRAMES = 40  # fewer leave fewer than 25 pairs at the far offsets
FRAMES_A_SYLLABLE = 4.0  # neighbouring frames hang together: N frames are about N / 4 independent ones
QUIET_DB = -60.0  # room noise has no syllables: levels below count as this
VOICE_BANDS = ((8, 40), (12, 30))  # mel bins, about 0.35–2.4 kHz and 0.5–1.6 kHz: what an open mouth lets out
NOSE, CHIN, BROWS, LOWER_LIP = 33, 8, 27, 57


@dataclass(frozen=True)
class MouthOffset:
    """What the correlation says.

    Attributes
    ----------
    offset_frames : int, −15 … 15; > 0: the sound is early (SyncNet's sign)
    confidence : float ≥ 0, how far the extreme stands above the curve's median, in standard deviations that chance has;
        0 where the extreme lies at the end of the range (no extreme at all) or the clip is too short
    curve : float64 (31,), mean correlation; entry j is offset 15 − j
    frames : int, frames it rests on
    """

    offset_frames: int
    confidence: float
    curve: np.ndarray
    frames: int


def _band(signal: np.ndarray) -> np.ndarray:
    return gaussian_filter1d(signal, FAST_FRAMES, axis=0, mode="nearest") - gaussian_filter1d(
        signal, SLOW_FRAMES, axis=0, mode="nearest"
    )


def mouth_signals(landmarks: np.ndarray) -> np.ndarray:
    """Openings in units of the distance between the eyes' outer corners: (N, 68, 2) → float64 (N, 3), without what is
    slow.
    """
    points = np.asarray(landmarks, dtype=np.float64)

    def apart(a: int, b: int) -> np.ndarray:
        return np.linalg.norm(points[:, a] - points[:, b], axis=-1)

    outer = apart(50, 58) + apart(51, 57) + apart(52, 56)
    below_nose = apart(LOWER_LIP, NOSE) + apart(CHIN, NOSE)
    raw = np.stack([outer, below_nose, apart(CHIN, BROWS)], axis=1) / apart(36, 45).mean()
    return _band(raw)


def sound_signals(mel: np.ndarray, frames: int) -> np.ndarray:
    """Levels of the sound at each frame's middle: mel (≥ int(80 N / 25), 80) → float64 (N, 3), without what is slow.

    Raises ValueError for a mel that ends before the frames do.
    """
    if len(mel) < int(MEL_HZ * frames / FPS_HZ):
        raise ValueError(
            f"mel: expected at least {int(MEL_HZ * frames / FPS_HZ)} columns for {frames} frames, got {len(mel)}"
        )
    mel = np.asarray(mel, dtype=np.float64)
    level = np.maximum(column_level_db(mel), QUIET_DB) / 10
    columns = np.stack([level, *(mel[:, low:high].mean(axis=1) for low, high in VOICE_BANDS)], axis=1)
    columns = gaussian_filter1d(columns, SOUND_COLUMNS, axis=0, mode="nearest")
    at = (np.arange(frames) + 0.5) * MEL_HZ / FPS_HZ
    return _band(np.stack([np.interp(at, np.arange(len(columns)), column) for column in columns.T], axis=1))


def correlation_curve(mouth: np.ndarray, sound: np.ndarray, reach: int = REACH_FRAMES) -> np.ndarray:
    """Mean correlation of every opening with every level at each offset: (N, p), (N, q) → float64 (2 reach + 1,).

    Entry j pairs the mouth of frame f with the sound of frame f + j − reach, which is offset reach − j. A signal that
    stands still correlates with nothing: 0.
    """
    n, curve = len(mouth), np.zeros(2 * reach + 1)
    for j in range(2 * reach + 1):
        f = np.arange(max(0, reach - j), min(n, n + reach - j))
        a, b = mouth[f] - mouth[f].mean(axis=0), sound[f + j - reach] - sound[f + j - reach].mean(axis=0)
        norms = np.sqrt((a * a).sum(axis=0)[:, None] * (b * b).sum(axis=0))  # [p, q]
        curve[j] = ((a.T @ b) / np.maximum(norms, 1e-9)).mean()
    return curve


def read_curve(curve: np.ndarray, frames: int) -> MouthOffset:
    """Offset and confidence of a curve that rests on ``frames`` frames."""
    where, middle = int(curve.argmax()), len(curve) // 2
    at_the_end = where in (0, len(curve) - 1)
    height = float((curve[where] - np.median(curve)) * np.sqrt(frames / FRAMES_A_SYLLABLE))
    return MouthOffset(middle - where, 0.0 if at_the_end else max(0.0, height), curve, frames)


def mouth_offset(landmarks: np.ndarray, mel: np.ndarray) -> MouthOffset:
    """The offset of one clip.

    Parameters
    ----------
    landmarks : float (N, 68, 2), any unit
    mel : float (≥ int(80 N / 25), 80), :func:`s3dnerf.speech.mel.clip_mel`'s

    Returns
    -------
    MouthOffset; offset 0 with confidence 0 for fewer than 40 frames.
    """
    n = len(landmarks)
    if n < LEAST_FRAMES:
        return MouthOffset(0, 0.0, np.zeros(2 * REACH_FRAMES + 1), n)
    return read_curve(correlation_curve(mouth_signals(landmarks), sound_signals(mel, n)), n)


def pooled_offset(clips: Sequence[MouthOffset]) -> MouthOffset:
    """The offset of several clips of one recording, which are out of step together: their curves' mean, weighted by
    frames.

    Clips too short to have a curve are left out; none left: offset 0 with confidence 0.
    """
    long = [clip for clip in clips if clip.frames >= LEAST_FRAMES]
    frames = sum(clip.frames for clip in long)
    if not long:
        return MouthOffset(0, 0.0, np.zeros(2 * REACH_FRAMES + 1), 0)
    return read_curve(np.average([clip.curve for clip in long], axis=0, weights=[clip.frames for clip in long]), frames)
