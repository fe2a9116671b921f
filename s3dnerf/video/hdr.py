"""High dynamic range (HLG and PQ) and wide colour brought to what an ordinary screen shows: BT.709 primaries, BT.1886.

Sources: ITU-R BT.2100-2 (the two curves, HLG's system gamma of 1.2 at 1,000 cd/m²), BT.2408-7 (white of graphics and
faces' surroundings at 203 cd/m², shown as full white of an ordinary screen), BT.1886 (an ordinary screen's curve, taken
as a power of 2.4), BT.2087 (primaries). Up to :data:`KNEE` of the screen's signal nothing but the curve changes, so
that a face is shown as the same recording in ordinary range would be; highlights above are pressed in between there and
white, all three colours by one factor, so that hues stay.
"""

from __future__ import annotations

import functools

import numpy as np

WHITE_NITS, PEAK_NITS = 203.0, 1000.0
SYSTEM_GAMMA, SCREEN_GAMMA = 1.2, 2.4
KNEE = 0.95
LUMINANCE_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
# linear light of other primaries (D65) → linear light of BT.709's
TO_709 = {
    "bt2020": np.array(
        [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]],
        np.float32,
    ),
    "p3": np.array(
        [[1.224940, -0.224940, 0.0], [-0.042057, 1.042057, 0.0], [-0.019638, -0.078636, 1.098274]], np.float32
    ),
}
STEPS = 1 << 16


@functools.cache
def light_of_signal(curve: str) -> np.ndarray:
    """Linear light of each 16-bit signal, float32 (65536,).

    ``curve``: ``hlg`` (scene light, 0 … 1), ``pq`` (cd/m² over white's 203) or ``sdr`` (screen light, 0 … 1).
    """
    signal = np.arange(STEPS) / (STEPS - 1)
    if curve == "hlg":  # BT.2100, table 5: inverse of the camera's curve
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    elif curve == "pq":  # BT.2100, table 4
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        power = signal ** (1 / m2)
        light = 10000 / WHITE_NITS * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    elif curve == "sdr":
        light = signal**SCREEN_GAMMA
    else:
        raise ValueError(f"curve {curve!r}: expected hlg, pq or sdr")
    return light.astype(np.float32)


def shown(rgb: np.ndarray, curve: str, primaries: str) -> np.ndarray:
    """A picture as an ordinary screen shows it.

    Parameters
    ----------
    rgb : uint16 (h, w, 3), full range, R′G′B′ of ``primaries`` on ``curve``
    curve : ``hlg``, ``pq`` or ``sdr``
    primaries : ``bt2020``, ``p3`` or ``bt709``

    Returns
    -------
    uint8 (h, w, 3) RGB for BT.709 and a power of 2.4
    """
    light = light_of_signal(curve)[rgb]
    if curve == "hlg":  # BT.2100, table 5: the display's light of the scene's, on a display of 1,000 cd/m²
        luminance = (light @ LUMINANCE_2020)[..., None]
        light = light * (PEAK_NITS / WHITE_NITS * np.maximum(luminance, 1e-9) ** (SYSTEM_GAMMA - 1))
    if primaries in TO_709:
        light = light @ TO_709[primaries].T
    light = np.maximum(light, 0)
    if curve != "sdr":
        light = _pressed(light)
    return np.rint(255 * np.minimum(light, 1) ** (1 / SCREEN_GAMMA)).astype(np.uint8)


def _pressed(light: np.ndarray) -> np.ndarray:
    """Light above the knee pressed in between there and white: float32 (h, w, 3), 1 is white.

    The signal s of the brightest colour becomes ``knee + (1 − knee) · x / (1 + x)``, x = (s − knee) / (1 − knee): slope
    1 at the knee, white for endless light.
    """
    brightest = light.max(axis=-1, keepdims=True)
    over = brightest > KNEE**SCREEN_GAMMA
    if not over.any():
        return light
    signal = np.where(over, brightest, 1) ** (1 / SCREEN_GAMMA)
    beyond = (signal - KNEE) / (1 - KNEE)
    pressed = KNEE + (1 - KNEE) * beyond / (1 + beyond)
    return np.where(over, light * (pressed / signal) ** SCREEN_GAMMA, light)
