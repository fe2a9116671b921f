"""KID and FID of AlexNet's features: how far the pictures of many generated videos, taken together, lie from true ones.

A picture's features are the mean over places of AlexNet's fifth ReLU (256 numbers), of the network that LPIPS has. With
x of m generated and y of n true pictures, and k(a, b) = (aᵀb / 256 + 1)³,

    KID = mean over i ≠ j of k(x_i, x_j) + mean over i ≠ j of k(y_i, y_j) − 2 · mean over i, j of k(x_i, y_j)
    FID = ‖μ_x − μ_y‖² + tr(Σ_x + Σ_y − 2 (Σ_x Σ_y)^½)

A corpus has one value of each, no clip has. Few pictures make FID large whatever they show (its bias falls as one over
their number, and below 257 pictures the covariances are not even of full rank): compare FIDs of equal numbers only. KID
has no bias at any number where the two sets are independent; pictures of the same clips are not, so that a method which
equals the truth lies a little below 0. Its standard error is a jackknife over clips (frames of a clip are alike): where
it exceeds the difference of two methods, nothing was shown. The names say the network: published KIDs and FIDs are
Inception-v3's and do not compare with these. FVD needs a video network, and there is none here: it is not measured.

Source: Bińkowski et al. 2018, formula (4); Heusel et al. 2017. Unit: none. Range: KID (−∞, ∞), FID [0, ∞). Less is
better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from s3dnerf.core.shapes import Float, UInt8
from s3dnerf.metrics.lpips import LPIPS, as_input
from s3dnerf.metrics.result import DOWN, Recipe

_FEATURES = "mean over places of AlexNet's fifth ReLU (not Inception: not to be compared with published values)"
KID_RECIPE = Recipe(
    "kid_alexnet", "KID (AlexNet)", "", DOWN, "kid-alexnet-1", -math.inf, math.inf,
    f"unbiased, kernel (aᵀb/256 + 1)³, jackknife over clips; {_FEATURES}",
)  # fmt: skip
FID_RECIPE = Recipe(
    "fid_alexnet", "FID (AlexNet)", "", DOWN, "fid-alexnet-1", 0.0, math.inf,
    f"Fréchet distance of two normal distributions; {_FEATURES}",
)  # fmt: skip


@dataclass(frozen=True)
class Distance:
    """KID with its standard error (nan for fewer than three clips on one side), FID, and what they rest on."""

    kid: float
    kid_error: float
    fid: float
    generated: int
    truth: int
    clips: int

    def in_words(self) -> str:
        """One line."""
        error = "" if math.isnan(self.kid_error) else f" ± {self.kid_error:.4f}"
        few = ": fewer than the 257 that FID asks for, biased up" if min(self.generated, self.truth) < 257 else ""
        return (
            f"{KID_RECIPE.name} {self.kid:.4f}{error}, {FID_RECIPE.name} {self.fid:.3f}; {self.generated} pictures of "
            f"{self.clips} {'clip' if self.clips == 1 else 'clips'} against {self.truth} true ones{few}"
        )


def features(network: LPIPS, frames: UInt8[np.ndarray, "n h w 3"], batch: int = 16) -> Float[np.ndarray, "n 256"]:
    """AlexNet's features of pictures of any size from 64 pixels on: float64 (n, 256)."""
    found = []
    with torch.inference_mode():
        for i in range(0, len(frames), batch):
            x = (as_input(frames[i : i + batch]).to(network.shift.device) - network.shift) / network.scale
            found.append(network.features(x).mean(dim=(2, 3)).double().cpu().numpy())
    return np.concatenate(found) if found else np.zeros((0, 256))


def _kernel(a: Float[np.ndarray, "m d"], b: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "m n"]:
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
    xx, yy = _kernel(generated, generated), _kernel(truth, truth)
    within = (xx.sum() - np.trace(xx)) / (m * (m - 1)) + (yy.sum() - np.trace(yy)) / (n * (n - 1))
    return float(within - 2 * _kernel(generated, truth).mean())


def fid(generated: Float[np.ndarray, "m d"], truth: Float[np.ndarray, "n d"]) -> float:
    """FID of two sets of features, of two and more each (ValueError below).

    With X and Y centred and over √(m − 1) and √(n − 1), tr (Σ_x Σ_y)^½ is the sum of the singular values of X Yᵀ: no
    square root of a matrix that few pictures leave singular.
    """
    if min(len(generated), len(truth)) < 2:
        raise ValueError(
            f"fid: got {len(generated)} generated and {len(truth)} true pictures, expected 2 and more of each"
        )
    x, y = ((f - f.mean(axis=0)) / math.sqrt(len(f) - 1) for f in (generated, truth))
    apart = float(((generated.mean(axis=0) - truth.mean(axis=0)) ** 2).sum())
    cross = float(np.linalg.svd(x @ y.T, compute_uv=False).sum())
    return max(0.0, apart + float((x**2).sum() + (y**2).sum()) - 2 * cross)


def distance(
    generated: Mapping[str, Float[np.ndarray, "_ d"]], truth: Mapping[str, Float[np.ndarray, "_ d"]]
) -> Distance:
    """KID and FID of a method's pictures against the true ones of the same clips.

    Parameters
    ----------
    generated, truth : clip → features of its pictures; the clips that only one has are left out

    Raises ValueError where fewer than two pictures a side are left.
    """
    clips = sorted(generated.keys() & truth.keys())

    def both(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        x, y = ([side[c] for c in names] or [np.zeros((0, 1))] for side in (generated, truth))
        return np.concatenate(x), np.concatenate(y)

    x, y = both(clips)
    value, error, g = kid(x, y), math.nan, len(clips)
    if g >= 3:
        without = np.array([kid(*both([c for c in clips if c != left])) for left in clips])
        error = math.sqrt((g - 1) / g * float(((without - without.mean()) ** 2).sum()))
    return Distance(value, error, fid(x, y), len(x), len(y), g)
