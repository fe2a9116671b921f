"""Who a synthetic person is: the numbers that shape a head, colour it, dress it and give it a voice, drawn from the
name.

The same seed and name are the same person in every corpus, process and order.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from s3dnerf.corpora.synthetic.speech import ACCENTS, FEMALE, MALE, Voice

SKINS = (
    (241, 206, 182),
    (232, 190, 160),
    (224, 176, 146),
    (206, 156, 122),
    (182, 130, 96),
    (156, 110, 82),
    (134, 92, 69),
    (118, 81, 62),
)
HAIRS = (
    (28, 22, 20),
    (48, 34, 26),
    (74, 50, 34),
    (104, 72, 46),
    (150, 112, 70),
    (196, 162, 110),
    (126, 62, 34),
    (128, 124, 122),
    (196, 192, 188),
)
EYES = ((92, 60, 36), (66, 44, 30), (110, 84, 44), (84, 106, 72), (86, 116, 142), (104, 132, 150), (70, 86, 98))
CLOTHES = (
    (38, 44, 66),
    (30, 30, 34),
    (92, 36, 40),
    (54, 78, 62),
    (70, 92, 128),
    (122, 118, 112),
    (196, 196, 198),
    (118, 82, 60),
    (64, 52, 84),
    (148, 64, 52),
)
STYLES_MALE = ("short", "short", "side", "crop", "receding", "curly", "bald")
STYLES_FEMALE = ("long", "bob", "long", "bun", "side", "curly")


@dataclass(frozen=True)
class Person:
    """One synthetic person.

    Shape numbers are factors about 1 or offsets in head units (1 unit = 10 cm); colours are sRGB 0–255.
    """

    name: str
    seed: int
    female: bool
    voice: Voice
    # shape
    width: float
    length: float
    jaw_width: float
    chin: float
    forehead: float
    cheekbones: float
    cheeks: float
    nose_length: float
    nose_width: float
    nose_height: float
    nose_hump: float
    brow_ridge: float
    eye_spacing: float
    eye_size: float
    eye_height: float
    eye_tilt: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    mouth_width: float
    lip_upper: float
    lip_lower: float
    lip_forward: float
    asymmetry: float
    ears: float
    # colour
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    eye: tuple[float, float, float]
    lips_red: float
    freckles: float
    wrinkles: float
    stubble: float
    moustache: bool
    beard: bool
    style: str
    glasses: bool
    clothes: tuple[float, float, float]
    shirt: tuple[float, float, float]
    collar: str
    # behaviour
    articulate: float
    liveliness: float
    smile: float


def _colour(rgb: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = np.clip(rgb, 8, 250).tolist()
    return red, green, blue


def make_person(name: str, seed: int, sex: bool | None = None) -> Person:
    """The person of that name under that seed.

    Parameters
    ----------
    sex : True for a woman, False for a man, None as it falls
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])

    def about(centre: float, spread: float) -> float:
        return float(centre + spread * np.clip(rng.standard_normal(), -1.8, 1.8))

    female = bool(rng.random() < 0.5) if sex is None else sex
    tone = int(rng.integers(len(SKINS)))
    skin = _colour(np.array(SKINS[tone]) + rng.normal(0, 5, 3))
    dark = tone >= 4
    old = rng.random() < 0.25
    hairs = range(0, 3) if dark else range(0, 7)
    hair_index = int(rng.choice([7, 8])) if old else int(rng.choice(list(hairs)))
    hair = _colour(np.array(HAIRS[hair_index]) * rng.uniform(0.85, 1.15) + rng.normal(0, 2, 3))
    eye = EYES[int(rng.integers(0, 2 if dark else len(EYES)))]
    variants = FEMALE if female else MALE
    voice = Voice(
        f"{ACCENTS[int(rng.integers(len(ACCENTS)))]}+{variants[int(rng.integers(len(variants)))]}",
        pitch=int(rng.integers(38, 66)),
        range=int(rng.integers(35, 75)),
        rate_wpm=int(rng.integers(148, 186)),
    )
    styles = STYLES_FEMALE if female else STYLES_MALE
    bearded = not female and rng.random() < 0.15
    return Person(
        name=name,
        seed=int(rng.integers(2**31)),
        female=female,
        voice=voice,
        width=about(0.97 if female else 1.0, 0.04),
        length=about(0.98 if female else 1.01, 0.03),
        jaw_width=about(0.93 if female else 1.03, 0.06),
        chin=about(0.0, 0.035),
        forehead=about(1.0, 0.05),
        cheekbones=about(1.0, 0.4),
        cheeks=about(0.0, 0.025),
        nose_length=about(0.0, 0.03),
        nose_width=about(0.95 if female else 1.05, 0.11),
        nose_height=about(0.95 if female else 1.03, 0.12),
        nose_hump=about(0.0, 0.02),
        brow_ridge=about(0.5 if female else 1.1, 0.3),
        eye_spacing=about(1.0, 0.035),
        eye_size=about(1.06 if female else 0.97, 0.06),
        eye_height=about(1.05, 0.12),
        eye_tilt=about(0.006, 0.010),
        brow_height=about(0.015 if female else 0.0, 0.016),
        brow_thickness=about(0.72 if female else 1.1, 0.16),
        brow_arch=about(1.2 if female else 0.8, 0.3),
        mouth_width=about(1.0, 0.06),
        lip_upper=about(1.10 if female else 0.95, 0.14),
        lip_lower=about(1.10 if female else 1.0, 0.13),
        lip_forward=about(1.0, 0.2),
        asymmetry=about(0.0, 0.008),
        ears=about(1.0, 0.1),
        skin=skin,
        hair=hair,
        eye=eye,
        lips_red=about(1.15 if female else 0.95, 0.15),
        freckles=float(rng.random() ** 2 * (0.35 if dark else 1.0)),
        wrinkles=float(0.8 if old else 0.15 + 0.25 * rng.random()),
        stubble=0.0 if female else float(rng.random() * 0.8),
        moustache=not female and rng.random() < (0.5 if bearded else 0.08),
        beard=bearded,
        style=str(styles[int(rng.integers(len(styles)))]),
        glasses=bool(rng.random() < 0.15),
        clothes=CLOTHES[int(rng.integers(len(CLOTHES)))],
        shirt=((236, 236, 238), (206, 216, 232), (226, 208, 206), (60, 62, 70))[int(rng.integers(4))],
        collar=str(rng.choice(["suit", "suit", "round", "vee"])),
        articulate=about(1.0, 0.08),
        liveliness=about(1.0, 0.12),
        smile=about(0.24, 0.12),
    )
