"""How a head moves while it speaks, from the loudness of the speech alone.

People who speak move their heads nearly all the time and hold them nearly still in pauses (Hadar et al. 1983); the
movement goes with the speech's loudness and pitch (Kuratate et al. 1999; Yehia et al. 2002), and stressed syllables are
underlined by nods (Graf et al. 2002; Munhall et al. 2004). So here:

- **sway**: yaw, pitch and roll wander smoothly and without a period; how fast they do follows the loudness within a
  fifth of a second, how far within two seconds;
- **nods**: the chin goes down where the loudness rises above that of the second around it.

Measured on six clips of HDTF (200 to 750 frames; energy smoothed by 0.2 s): angular speed correlates with energy by
0.25 to 0.56, where sines that know nothing of the speech have −0.55 to 0.21. In these people themselves it is −0.12 to
0.25: they speak with few pauses, move for other reasons too, and faster (3 to 22° a second; here 1.6 to 2.2).

Everything is a function of the speech, looked at in windows of 20 s: the same speech gives the same movement, a quieter
recording of it as well, and an hour is as the first minute. Numpy and scipy; pure functions; time and memory grow with
the number of frames, not faster.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from s3dnerf.core.rates import FPS_HZ, SAMPLES_PER_FRAME

LIMIT_DEG = (3.0, 2.0, 1.0)  # yaw, pitch, roll: never beyond
SWAY_DEG = (5.0, 2.6, 1.8)  # reach of the wandering before the limit
KNOT_S = (0.45, 0.4, 0.5)  # from one place that the head wanders to, to the next, at full loudness
NOD_SPEED_DEG, RISE_S = 15.0, 0.5  # degrees a second that the chin falls at full stress; time in which it rises again
QUIET_PACE, QUIET_REACH = 0.1, 0.3  # of a silent head's wandering: pace and reach, as shares of a loud one's
EASE_S = 1.0  # from the portrait's own pose into the nods

WINDOW_S = 20.0  # what "loud" and "quiet" are measured against
LOUD, QUIET = 95, 10  # percentiles of the levels in the window
RANGE_DB = (10.0, 30.0)  # from quiet to loud: at least and at most
LOUDEST_DB = 20.0  # a window's "loud" is at most so far below the loudest moment of all: noise is not speech
FLOOR_DB = -70.0  # of levels, against the loudest


def levels_db(samples: np.ndarray, frames: int) -> np.ndarray:
    """Level of each frame in dB, float64 (frames,): ``10 log10(mean of x²)`` of the 80 ms around the frame's middle.

    Parameters
    ----------
    samples : (n,), 16 kHz; silence beyond its ends

    Nothing is below the loudest frame by more than 70 dB. Silence throughout gives −inf everywhere.
    """
    half = SAMPLES_PER_FRAME // 2
    whole = np.asarray(samples, np.float32)[: frames * SAMPLES_PER_FRAME]
    blocks = whole[: len(whole) // half * half].reshape(-1, half)  # 20 ms each
    power = np.zeros(2 * frames + 2)
    power[1 : len(blocks) + 1] = np.einsum("ij,ij->i", blocks, blocks, dtype=np.float64)
    rest = whole[blocks.size :].astype(np.float64)
    power[1 + len(blocks)] += rest @ rest
    around = np.lib.stride_tricks.sliding_window_view(power, 4)[::2].sum(axis=1) / (4 * half)  # [frames]
    loudest = around.max(initial=0.0)
    if loudest <= 0.0:
        return np.full(frames, -np.inf)
    return 10 * np.log10(np.maximum(around, loudest * 10 ** (FLOOR_DB / 10)))


def energy_of(samples: np.ndarray, frames: int) -> np.ndarray:
    """The speech's energy, 0 (a pause) … 1 (a loud syllable), float64 (frames,).

        energy = clip((level − low) / (loud − low), 0, 1)

    where ``level`` is that of :func:`levels_db`, ``low`` the 10th percentile of the levels within 10 s to either side,
    + 3 dB, and ``loud`` their 95th percentile; but ``loud`` is at least the loudest level of all − 20 dB, ``low`` at
    least ``loud`` − 30 dB, and ``loud`` at least ``low`` + 10 dB: a steady noise is a pause. A gain changes nothing.
    Silence throughout has no energy.

    Parameters
    ----------
    samples : (n,), 16 kHz; silence beyond its ends
    frames : 25 a second
    """
    levels = levels_db(samples, frames)
    if not frames or np.isneginf(levels[0]):
        return np.zeros(frames)
    every, reach = round(FPS_HZ), round(WINDOW_S * FPS_HZ / 2)
    at = np.arange(0, frames + every - 1, every)
    found = [np.percentile(levels[max(0, middle - reach) : middle + reach + 1], (QUIET, LOUD)) for middle in at]
    quiet, loud = (np.interp(np.arange(frames), at, column) for column in np.transpose(found))
    loud = np.maximum(loud, levels.max() - LOUDEST_DB)
    low = np.maximum(quiet + 3.0, loud - RANGE_DB[1])
    loud = np.maximum(loud, low + RANGE_DB[0])
    return np.clip((levels - low) / (loud - low), 0.0, 1.0)


def wandering(at: np.ndarray, seed: int) -> np.ndarray:
    """A smooth random function, −1 … 1, at places ``at`` (n,) ≥ 0 in any order; float64 (n,).

    A cubic B-spline whose coefficients are random: twice continuously differentiable, never beyond ±1, of slope at most
    2; at 0 it is 0, and level. Each eight coefficients that belong together (0 … 7, 8 … 15, …) lie in eight different
    eighths of −1 … 1, in random order: the mean over a while is near 0, and nothing repeats.
    """
    rng = np.random.default_rng([seed, 25])
    blocks = int(at.max(initial=0.0) + 4) // 8 + 1
    drawn = rng.random((blocks, 16))  # row by row: a longer speech begins as a shorter one
    knots = ((np.argsort(drawn[:, :8], axis=1) + drawn[:, 8:]) / 4 - 1).ravel()
    knots[:3] = 0.0
    first = np.floor(at).astype(int)
    u = at - first
    weights = ((1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3)
    return np.sum([weight * knots[first + i] for i, weight in enumerate(weights)], axis=0) / 6


def gentle_degrees(energy: np.ndarray) -> np.ndarray:
    """Yaw, pitch and roll (frames, 3) in degrees, beginning at 0: within ±3, ±2 and ±1.

    Parameters
    ----------
    energy : (frames,), 0 … 1, as :func:`energy_of` gives it, 25 a second
    """
    energy = np.asarray(energy, np.float64)
    if not len(energy):
        return np.zeros((0, 3))

    def smooth(seconds: float) -> np.ndarray:
        return gaussian_filter1d(energy, seconds * FPS_HZ, mode="nearest")

    pace = QUIET_PACE + (1 - QUIET_PACE) * smooth(0.25) ** 2
    reach = QUIET_REACH + (1 - QUIET_REACH) * np.sqrt(smooth(2.0))
    time = (np.cumsum(pace) - pace[0]) / FPS_HZ  # of the wandering: it goes on as fast as the speech is loud
    degrees = np.stack(
        [by * reach * wandering(time / knot, axis) for axis, (by, knot) in enumerate(zip(SWAY_DEG, KNOT_S))], axis=1
    )
    stressed = np.clip(smooth(0.12) - smooth(1.0), 0.0, None)
    lowered = lfilter([NOD_SPEED_DEG / FPS_HZ], [1.0, -np.exp(-1 / (RISE_S * FPS_HZ))], stressed)
    nods = gaussian_filter1d(lowered, 0.08 * FPS_HZ, mode="nearest")
    nods -= gaussian_filter1d(nods, 2.0 * FPS_HZ, mode="nearest")
    begun = np.minimum(np.arange(len(energy)) / (EASE_S * FPS_HZ), 1.0)
    degrees[:, 1] += begun**2 * (3 - 2 * begun) * nods
    limit = np.array(LIMIT_DEG)
    return limit * np.tanh(degrees / limit)
