"""LPIPS by name: its recipe and the files of its weights, for whoever measures nothing.

Apart from the network (:mod:`s3dnerf.metrics.lpips`), so that the auditor, the doctor and ``s3dnerf fetch`` need not
import torch.
"""

from __future__ import annotations

import math

from s3dnerf.metrics.result import DOWN, Measured, Recipe, not_measured

RECIPE = Recipe(
    "lpips", "LPIPS", "", DOWN, "lpips-1", 0.0, math.inf, "LPIPS 0.1, AlexNet, inputs in [−1, 1], 256²", perfect=0.0
)
BACKBONE, HEADS = "alexnet.pth", "lpips_alex.pth"
OWN_NAMES = {BACKBONE: "alexnet-owt-7be5be79.pth", HEADS: "alex.pth"}
CONVERTED = ("alexnet.safetensors", "lpips_alex.safetensors")


def absent(reason: str = "") -> Measured:
    """LPIPS where there is no network, with the reason."""
    return not_measured(RECIPE, reason or "no LPIPS weights")
