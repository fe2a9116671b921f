"""Equations 6, 7 and 8, with the errata of METHOD.md.

Eq. 7 as printed pushes positives apart and eq. 8 as printed rewards desynchrony; ε = 0 in eq. 6 divides by zero.
"""

from __future__ import annotations

import torch

from s3dnerf.core.shapes import Float, Tensor

EPSILON = 1e-8


def cosine(a: Float[Tensor, "*b e"], b: Float[Tensor, "*b e"]) -> Float[Tensor, "*b"]:
    """Eq. 6: cos(a, b) = a · b / max(‖a‖ ‖b‖, ε), ε = 1e-8, in float32; −1 … 1, and 0 for a dead embedding."""
    a, b = a.float(), b.float()
    # the root of a sum of squares has no gradient at 0: keep the argument off it, far below ε's effect
    norms = (a.square().sum(-1) * b.square().sum(-1)).clamp_min(EPSILON**2).sqrt()
    return (a * b).sum(-1) / norms


def cosine_table(a: Float[Tensor, "n e"], b: Float[Tensor, "m e"]) -> Float[Tensor, "n m"]:
    """:func:`cosine` of every row of ``a`` with every row of ``b``."""
    a, b = a.float(), b.float()
    norms = (a.square().sum(-1)[:, None] * b.square().sum(-1)).clamp_min(EPSILON**2).sqrt()
    with torch.autocast(a.device.type, enabled=False):
        return (a @ b.T) / norms


def triplet_loss(
    lips: Float[Tensor, "b e"],
    audio: Float[Tensor, "b e"],
    negative_lips: Float[Tensor, "b e"],
    negative_audio: Float[Tensor, "b e"],
    margin: float,
) -> Float[Tensor, " b"]:
    """Eq. 7, corrected, of each anchor window.

    max(0, η + cos(l, a⁻) − cos(l, a)) + max(0, η + cos(l⁻, a) − cos(l, a)): the anchor's lips and sound are each
    other's positive. 0 … 2 (η + 2); embeddings that say nothing give 2 η, which is 1.0 for the paper's η = 0.5.
    """
    positive = cosine(lips, audio)  # [b]
    by_lips = (margin + cosine(lips, negative_audio) - positive).clamp_min(0)
    by_audio = (margin + cosine(negative_lips, audio) - positive).clamp_min(0)
    return by_lips + by_audio


def expected_triplet_loss(
    lips: Float[Tensor, "b e"], audio: Float[Tensor, "b e"], chances: Float[Tensor, "b b"], margin: float
) -> Float[Tensor, ""]:
    """Mean over the anchors that have a negative of eq. 7's expectation, the negative drawn among the batch's windows.

    Each triplet is :func:`triplet_loss`'s, with one positive and one negative each way; taking all of them by their
    chance instead of drawing one costs the same two forward passes and has less noise (a few minutes on a CPU suffice
    to learn).

    Parameters
    ----------
    chances
        Chance that window j is anchor i's negative; a row sums to 1, or to 0 where there is none
        (:func:`s3dnerf.training.sync_data.negative_chances`).
    """
    table = cosine_table(lips, audio)  # [b, b] lips i, audio j
    positive = table.diagonal()[:, None]  # [b, 1]
    by_lips = (margin + table - positive).clamp_min(0)
    by_audio = (margin + table.T - positive).clamp_min(0)
    return (chances * (by_lips + by_audio)).sum() / chances.sum()


def generator_sync_loss(generated_lips: Float[Tensor, "b e"], audio: Float[Tensor, "b e"]) -> Float[Tensor, ""]:
    """Eq. 8, corrected: mean of 1 − cos(e_l^gen, e_gt); 0 … 2, 0 in step."""
    return (1 - cosine(generated_lips, audio)).mean()


def collapsed_loss(margin: float) -> float:
    """What eq. 7 gives when all embeddings are alike: 2 η."""
    return 2 * margin


def spread(embeddings: Float[Tensor, "b e"]) -> float:
    """How far apart embeddings point: 1 − mean cosine between different rows; near 0 they have collapsed. Needs two
    rows.
    """
    unit = torch.nn.functional.normalize(embeddings.detach().float(), dim=1)
    total = (unit @ unit.T).sum() - (unit * unit).sum()
    return float(1 - total / (len(unit) * (len(unit) - 1)))
