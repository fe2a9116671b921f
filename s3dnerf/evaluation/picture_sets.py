"""The pictures of a folder of videos taken together: features a second, a method against the truth of the same clips.

:func:`s3dnerf.evaluation.folders.score_folders` hands its frames here; nothing is read or written.
"""

from __future__ import annotations

import numpy as np

from s3dnerf.core.rates import FPS_HZ
from s3dnerf.metrics import distribution
from s3dnerf.metrics.lpips import LPIPS


class PictureSets:
    """AlexNet's features of one frame a second of every video.

    Parameters
    ----------
    network : LPIPS or None
        Whose AlexNet is taken; without it nothing is kept.
    why : str
        Why there is no network.
    """

    def __init__(self, network: LPIPS | None, why: str = "") -> None:
        self.network, self.why = network, why
        self._truth: dict[str, np.ndarray] = {}
        self._generated: dict[str, dict[str, np.ndarray]] = {}

    def add(self, method: str | None, clip: str, frames: np.ndarray) -> None:
        """Keep a video's features: uint8 (n, 256, 256, 3) at 25 Hz; ``method`` None is the truth."""
        if self.network is None:
            return
        kept = self._truth if method is None else self._generated.setdefault(method, {})
        kept[clip] = distribution.features(self.network, frames[::FPS_HZ])

    def distances(self) -> dict[str, distribution.Distance]:
        """Method → KID and FID, of those that have two pictures and more."""
        found = {}
        for method, clips in sorted(self._generated.items()):
            pictures = sum(len(clips[c]) for c in clips.keys() & self._truth.keys())
            if pictures >= 2:
                found[method] = distribution.distance(clips, self._truth)
        return found

    def lines(self) -> list[str]:
        """A line a method, or why there is none."""
        names = f"{distribution.KID_RECIPE.name}, {distribution.FID_RECIPE.name}"
        if self.network is None:
            return [f"{names}: not measured: {self.why}"]
        found = self.distances()
        return [f"{method}: {d.in_words()}" for method, d in found.items()] or [
            f"{names}: not measured: no method has two pictures of clips with a truth"
        ]
