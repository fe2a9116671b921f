"""Which windows have speech in them, from the mel alone."""

from __future__ import annotations

import numpy as np

from s3dnerf.speech.mel import FLOOR_DB, REFERENCE_DB, SCALE, WINDOW_COLUMNS, mel_window_start

BELOW_LOUD_DB = 25.0  # a column this far below the clip's loud ones is taken for a pause
NEVER_BELOW_DB = -70.0  # room noise alone is no speech, however even it is


def column_level_db(mel: np.ndarray) -> np.ndarray:
    """Level of each column: (m, 80) → (m,) dB, mean power over the bins."""
    decibels = (np.asarray(mel, dtype=np.float64) + SCALE) / (2 * SCALE) * -FLOOR_DB + FLOOR_DB + REFERENCE_DB
    return 10 * np.log10(np.mean(10 ** (decibels / 10), axis=1))


def speech_columns(mel: np.ndarray) -> np.ndarray:
    """Whether each column is speech: within 25 dB of the clip's loud columns (95th percentile) and above −70 dB: bool
    (m,).
    """
    level = column_level_db(mel)
    return level > max(np.percentile(level, 95) - BELOW_LOUD_DB, NEVER_BELOW_DB)


def windows_with_speech(mel: np.ndarray, windows: int, share: float = 0.5) -> np.ndarray:
    """Whether at least ``share`` of the 16 columns of each of the first ``windows`` windows are speech: bool
    (windows,).
    """
    active = np.concatenate([[0], np.cumsum(speech_columns(mel))])
    starts = np.array([mel_window_start(f) for f in range(windows)], dtype=int)
    if windows and starts[-1] + WINDOW_COLUMNS > len(mel):
        raise ValueError(
            f"mel: expected at least {starts[-1] + WINDOW_COLUMNS} columns for {windows} windows, got {len(mel)}"
        )
    return active[starts + WINDOW_COLUMNS] - active[starts] >= share * WINDOW_COLUMNS
