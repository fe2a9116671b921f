"""The features of a folder of videos taken together: a method against the truth of the same clips.

:func:`s3dnerf.evaluation.folders.score_folders` hands its frames here; nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from s3dnerf.evaluation.feature_networks import Features, features_of
from s3dnerf.metrics import distribution


class PictureSets:
    """Features of every video, of one frame a second or of windows, by each network.

    Parameters
    ----------
    networks : mapping
        Name → function (:mod:`s3dnerf.evaluation.feature_networks`).
    why : mapping
        Of a network that is not here, the reason.
    """

    def __init__(self, networks: Mapping[str, Features], why: Mapping[str, str]) -> None:
        self.networks, self.why = networks, why
        # network → method (None: the truth) → clip → features
        self._kept: dict[str, dict[str | None, dict[str, np.ndarray]]] = {}

    def add(self, method: str | None, clip: str, frames: np.ndarray) -> None:
        """Keep a video's features: uint8 (n, 256, 256, 3) at 25 Hz; ``method`` None is the truth."""
        for network, values in features_of(self.networks, frames).items():
            self._kept.setdefault(network, {}).setdefault(method, {})[clip] = values

    def distances(self, network: str) -> dict[str, distribution.Distance]:
        """Method → KID and FID (or FVD), of those that have two pictures (windows) and more."""
        kept = self._kept.get(network, {})
        truth, found = kept.get(None, {}), {}
        for method in sorted(name for name in kept if name is not None):
            clips = {clip: values.astype(np.float64) for clip, values in kept[method].items()}
            if sum(len(clips[c]) for c in clips.keys() & truth.keys()) >= 2:
                found[method] = distribution.distance(
                    clips, {clip: values.astype(np.float64) for clip, values in truth.items()}, network
                )
        return found

    def lines(self) -> list[str]:
        """A line a method and network, or why there is none."""
        lines = []
        for network, recipes in distribution.RECIPES.items():
            names = ", ".join(recipe.name for recipe in recipes if recipe)
            if network not in self.networks:
                lines.append(f"{names}: not measured: {self.why.get(network, 'no network')}")
                continue
            found = self.distances(network)
            lines += [f"{method}: {d.in_words()}" for method, d in found.items()] or [
                f"{names}: not measured: no method has two pictures of clips with a truth"
            ]
        return lines
