"""The networks whose features KID, FID and FVD are computed from, each as one function from a video to its features.

``alexnet`` is there wherever LPIPS is. ``inception`` (the FID reference's Inception-v3) and ``i3d`` (FVD's) need files
that the settings ``evaluate.fid_weights`` and ``evaluate.fvd_weights`` name; without them KID and FID are AlexNet's
alone, under its name, and FVD is not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from s3dnerf.core.devices import chosen_device
from s3dnerf.core.rates import FPS_HZ
from s3dnerf.evaluation import i3d, inception
from s3dnerf.metrics import lpips
from s3dnerf.metrics.lpips import LPIPS
from s3dnerf.settings.schema import EvaluateSettings

# a video's frames, uint8 (n, 256, 256, 3) at 25 Hz → features float64 (m, d): of one frame a second, or of each window
Features = Callable[[np.ndarray], np.ndarray]


def one_a_second(of_pictures: Features) -> Features:
    """Features of one frame a second of a video, a frame that repeats the one before (a still picture) once."""

    def of_video(frames: np.ndarray) -> np.ndarray:
        chosen = frames[::FPS_HZ]
        new = np.array([i == 0 or not np.array_equal(chosen[i], chosen[i - 1]) for i in range(len(chosen))], bool)
        return of_pictures(chosen[new])[np.cumsum(new) - 1]

    return of_video


def of_alexnet(network: LPIPS) -> Features:
    """AlexNet's features of one frame a second."""
    return one_a_second(lambda pictures: lpips.features(network, pictures))


def feature_networks(
    settings: EvaluateSettings, alexnet: LPIPS | None, why_no_alexnet: str
) -> tuple[dict[str, Features], dict[str, str]]:
    """Name of a network (a key of :data:`s3dnerf.metrics.distribution.RECIPES`) → its function; and of what is not
    here, the reason.
    """
    found: dict[str, Features] = {}
    why: dict[str, str] = {}
    if alexnet is None:
        why["alexnet"] = why_no_alexnet
    else:
        found["alexnet"] = of_alexnet(alexnet)
    try:
        if settings.fid == "inception":
            network = inception.load_inception(settings.fid_weights or "").to(chosen_device())
            found["inception"] = one_a_second(lambda pictures: inception.features(network, pictures))
        else:
            why["inception"] = "switched off (evaluate.fid: off): no Inception-v3 weights"
    except inception.FeatureWeightsError as missing:
        why["inception"] = str(missing)
    try:
        if settings.fvd == "i3d":
            program = i3d.load_i3d(settings.fvd_weights or "").to(chosen_device())
            found["i3d"] = lambda frames: i3d.features(program, frames)
        else:
            why["i3d"] = "switched off (evaluate.fvd: off): no I3D program"
    except inception.FeatureWeightsError as missing:
        why["i3d"] = str(missing)
    return found, why


def features_of(networks: Mapping[str, Features], frames: np.ndarray) -> dict[str, np.ndarray]:
    """Network → features of one video, float32; without those that the video is too short for."""
    found = {name: of(frames).astype(np.float32) for name, of in sorted(networks.items())}
    return {name: values for name, values in found.items() if len(values)}
