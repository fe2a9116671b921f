"""KID, FID and FVD: how far many generated videos, taken together, lie from true ones, by a feature network.

With x of m generated and y of n true pictures as features of d numbers, and k(a, b) = (aᵀb / d + 1)³,

    KID = mean over i ≠ j of k(x_i, x_j) + mean over i ≠ j of k(y_i, y_j) − 2 · mean over i, j of k(x_i, y_j)
    FID = ‖μ_x − μ_y‖² + tr(Σ_x + Σ_y − 2 (Σ_x Σ_y)^½)

FVD is FID's formula over features of windows of video. A corpus has one value of each, no clip has. Few pictures make
FID and FVD large whatever they show (their bias falls as one over the number, and below d + 1 pictures the covariances
are not even of full rank): compare those of equal numbers only. KID has no bias at any number where the two sets are
independent; pictures of the same clips are not, so that a method which equals the truth lies a little below 0. Its
standard error is a jackknife over clips (frames of a clip are alike): where it exceeds the difference of two methods,
nothing was shown.

The feature network is in the name. ``inception`` is the FID reference's Inception-v3, with which published KIDs and
FIDs are measured, and ``i3d`` the FVD reference's network (:mod:`s3dnerf.evaluation.feature_networks`). ``alexnet`` is
the network that LPIPS has, the mean over places of its fifth ReLU (256 numbers): its values do not compare with
published ones.

Source: Bińkowski et al. 2018, formula (4); Heusel et al. 2017; Unterthiner et al. 2018 (FVD). Unit: none. Range: KID
(−∞, ∞), FID and FVD [0, ∞). Less is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from s3dnerf.core.shapes import Float
from s3dnerf.metrics.result import DOWN, Recipe

_ALEXNET = "mean over places of AlexNet's fifth ReLU (not Inception: not to be compared with published values)"
_INCEPTION = "pooled features of the FID reference's Inception-v3, 299², bilinear"
_KID = "unbiased, kernel (aᵀb/d + 1)³, jackknife over clips"
_FRECHET = "Fréchet distance of two normal distributions"
KID_RECIPE = Recipe(
    "kid_alexnet", "KID (AlexNet)", "", DOWN, "kid-alexnet-1", -math.inf, math.inf, f"{_KID}; {_ALEXNET}"
)
FID_RECIPE = Recipe("fid_alexnet", "FID (AlexNet)", "", DOWN, "fid-alexnet-1", 0.0, math.inf, f"{_FRECHET}; {_ALEXNET}")
KID_INCEPTION_RECIPE = Recipe(
    "kid_inception", "KID", "", DOWN, "kid-inception-1", -math.inf, math.inf, f"{_KID}; {_INCEPTION}"
)
FID_INCEPTION_RECIPE = Recipe(
    "fid_inception", "FID", "", DOWN, "fid-inception-1", 0.0, math.inf, f"{_FRECHET}; {_INCEPTION}"
)
FVD_RECIPE = Recipe(
    "fvd_i3d", "FVD", "", DOWN, "fvd-1", 0.0, math.inf,
    f"{_FRECHET}; 400 outputs of I3D for windows of 16 frames at 25 Hz that do not overlap",
)  # fmt: skip
# feature network → KID's recipe (None: not measured with it) and that of the Fréchet distance
RECIPES: dict[str, tuple[Recipe | None, Recipe]] = {
    "alexnet": (KID_RECIPE, FID_RECIPE),
    "inception": (KID_INCEPTION_RECIPE, FID_INCEPTION_RECIPE),
    "i3d": (None, FVD_RECIPE),
}


@dataclass(frozen=True)
class Distance:
    """KID with its standard error (nan for fewer than three clips on one side, and where it is not measured with this
    network), FID or FVD, and what they rest on. ``numbers``: length of a feature.
    """

    network: str
    kid: float
    kid_error: float
    fid: float
    generated: int
    truth: int
    clips: int
    numbers: int

    def in_words(self) -> str:
        """One line."""
        kid_recipe, fid_recipe = RECIPES[self.network]
        error = "" if math.isnan(self.kid_error) else f" ± {self.kid_error:.4f}"
        kid_part = f"{kid_recipe.name} {self.kid:.4f}{error}, " if kid_recipe else ""
        enough, what = self.numbers + 1, "pictures" if kid_recipe else "windows"
        few = ""
        if min(self.generated, self.truth) < enough:
            few = f": fewer than the {enough} that {fid_recipe.title.split()[0]} asks for, biased up"
        return (
            f"{kid_part}{fid_recipe.name} {self.fid:.3f}; {self.generated} {what} of "
            f"{self.clips} {'clip' if self.clips == 1 else 'clips'} against {self.truth} true ones{few}"
        )


def kernel(a: Float[np.ndarray, "m d"], b: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "m n"]:
    """KID's kernel of every pair."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def kid(generated: Float[np.ndarray, "m d"], truth: Float[np.ndarray, "n d"]) -> float:
    """Unbiased KID of two sets of features, of two and more each (ValueError below).

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> x, y, z = random.normal(0, 1, (300, 8)), random.normal(0, 1, (300, 8)), random.normal(1, 1, (300, 8))
    >>> abs(kid(x, y)) < 0.1 < 3 < kid(x, z)
    True
    """
    m, n = len(generated), len(truth)
    if min(m, n) < 2:
        raise ValueError(f"kid: got {m} generated and {n} true pictures, expected 2 and more of each")
    xx, yy = kernel(generated, generated), kernel(truth, truth)
    within = (xx.sum() - np.trace(xx)) / (m * (m - 1)) + (yy.sum() - np.trace(yy)) / (n * (n - 1))
    return float(within - 2 * kernel(generated, truth).mean())


def fid(generated: Float[np.ndarray, "m d"], truth: Float[np.ndarray, "n d"]) -> float:
    """FID of two sets of features, of two and more each (ValueError below).

    With X and Y centred and over √(m − 1) and √(n − 1), tr (Σ_x Σ_y)^½ is the sum of the singular values of X Yᵀ: no
    square root of a matrix that few pictures leave singular. Of more pictures than features X is replaced by the
    triangle of its QR decomposition, which has the same products and is no longer than wide.
    """
    if min(len(generated), len(truth)) < 2:
        raise ValueError(
            f"fid: got {len(generated)} generated and {len(truth)} true pictures, expected 2 and more of each"
        )
    x, y = ((f - f.mean(axis=0)) / math.sqrt(len(f) - 1) for f in (generated, truth))
    apart = float(((generated.mean(axis=0) - truth.mean(axis=0)) ** 2).sum())
    x, y = map(_no_longer_than_wide, (x, y))
    cross = float(np.linalg.svd(x @ y.T, compute_uv=False).sum())
    return max(0.0, apart + float((x**2).sum() + (y**2).sum()) - 2 * cross)


def _no_longer_than_wide(f: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "k d"]:
    """A matrix with the same fᵀf and at most as many rows as columns."""
    if len(f) <= f.shape[1]:
        return f
    triangle: np.ndarray = np.linalg.qr(f, mode="r")  # type: ignore[assignment]
    return triangle


def distance(
    generated: Mapping[str, Float[np.ndarray, "_ d"]],
    truth: Mapping[str, Float[np.ndarray, "_ d"]],
    network: str = "alexnet",
) -> Distance:
    """KID and FID (or FVD) of a method's pictures against the true ones of the same clips.

    Parameters
    ----------
    generated, truth : clip → features of its pictures; the clips that only one has are left out
    network : whose features they are, a key of :data:`RECIPES`

    Raises ValueError where fewer than two pictures a side are left.
    """
    clips = sorted(generated.keys() & truth.keys())

    def both(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        x, y = ([side[c] for c in names] or [np.zeros((0, 1))] for side in (generated, truth))
        return np.concatenate(x), np.concatenate(y)

    x, y = both(clips)
    value, error, g = math.nan, math.nan, len(clips)
    if RECIPES[network][0] is not None:
        value = kid(x, y)
        if g >= 3:
            without = np.array([kid(*both([c for c in clips if c != left])) for left in clips])
            error = math.sqrt((g - 1) / g * float(((without - without.mean()) ** 2).sum()))
    return Distance(network, value, error, fid(x, y), len(x), len(y), g, x.shape[1])
