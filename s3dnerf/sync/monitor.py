"""Whether a lip-sync network learns, and if not, why: each finding is a code and a sentence for a person.

The known ways to fail: the loss stays at 2 η (1.0 for η = 0.5: all embeddings alike), the crops hold no moving lips,
the sound is shifted against the picture, there are too few speakers to learn more than their faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from s3dnerf.sync.losses import collapsed_loss

STUCK_SHARE = 0.97  # of 2 η: a network that has begun to learn is below
COLLAPSED_SPREAD = 0.02
STILL_LIPS = 1.5  # grey levels (0–255) between frames 0.2 s apart in the middle of the crop
FLAT_CROP = 4.0  # grey levels of standard deviation within a crop
FEW_SPEAKERS = 5
OVERFIT_GAP = 0.2
CLEAR_EXTREME = 0.02  # of the curve's median: a shallower minimum says nothing about an offset


@dataclass(frozen=True)
class Finding:
    """Something that a person should know about a training.

    Attributes
    ----------
    code : snake_case
    message : what was seen, what it means, what to do
    """

    code: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """The fields as plain Python, for a card."""
        return {"code": self.code, "message": self.message}


@dataclass
class SyncMonitor:
    """Watches one training.

    Attributes
    ----------
    margin : float, η
    patience : int, steps of which the mean loss is judged
    losses : the last ``patience`` losses (part of a checkpoint)
    """

    margin: float
    patience: int
    losses: list[float] = field(default_factory=list)

    def step(self, loss: float) -> None:
        """Note a step's loss."""
        self.losses = [*self.losses, float(loss)][-self.patience :]

    def learning(self, spread: float) -> list[Finding]:
        """Findings of the loss: not finite, or stuck at 2 η; ``spread`` of the visual embeddings tells collapse from
        slowness.
        """
        if not self.losses:
            return []
        bad = collapsed_loss(self.margin)
        mean = float(np.mean(self.losses))
        if not np.isfinite(mean):
            return [
                Finding("loss_not_finite", "the loss is not a finite number: lower sync.lr, or sync.precision: fp32")
            ]
        if len(self.losses) < self.patience or mean < STUCK_SHARE * bad:
            return []
        cause = (
            "all embeddings point the same way: lower sync.lr"
            if spread < COLLAPSED_SPREAD
            else "embeddings differ, but not with the sound: look at the crops and the sound's offset, or train longer"
        )
        return [
            Finding(
                "loss_stuck",
                f"the mean loss of the last {len(self.losses)} steps is {mean:.3f}, and {bad:g} (2η) is what "
                f"embeddings that know nothing give; {cause}",
            )
        ]


def crop_findings(clips: Sequence[tuple[str, np.ndarray]]) -> list[Finding]:
    """Findings of the crops: ``clips`` are names and uint8 (n, 3, p, p). Clips without moving lips in them are
    named.
    """
    flat, still = [], []
    for name, lips in clips:
        side = lips.shape[-1]
        # [n, p/2, p/2]
        middle = lips[:, :, side // 4 : -(side // 4), side // 4 : -(side // 4)].astype(np.float32).mean(axis=1)
        if float(middle.std(axis=(1, 2)).mean()) < FLAT_CROP:
            flat.append(name)
        elif len(middle) > 5 and float(np.abs(middle[5:] - middle[:-5]).mean()) < STILL_LIPS:
            still.append(name)
    found = []
    for code, names, what in (("crops_flat", flat, "show one even colour"), ("crops_still", still, "do not move")):
        if names and len(names) >= max(1, 0.1 * len(clips)):
            found.append(
                Finding(
                    code,
                    f"no lips in the crops: {len(names)} of {len(clips)} clips' crops {what}, for example "
                    f"{', '.join(names[:3])}; look at data/<preset>/lips and align",
                )
            )
    return found


def offset_findings(curve: Sequence[float]) -> list[Finding]:
    """Findings of the offset curve (31 mean distances, entry j is offset 15 − j): a clear minimum elsewhere than 0."""
    values = np.asarray(curve, dtype=float)
    middle, where = len(values) // 2, int(values.argmin())
    median = float(np.median(values))
    if where == middle or median - values[where] < CLEAR_EXTREME * median:
        return []
    offset = middle - where
    side = "early" if offset > 0 else "late"
    return [
        Finding(
            "audio_shifted",
            f"the offset curve's extreme is at {offset:+d} frames, not at 0: the sound is {side} against the "
            "lips; look at the resampling of the corpora",
        )
    ]


def speaker_findings(speakers: int, train_accuracy: float, held_out_accuracy: float) -> list[Finding]:
    """Findings of the speakers: so few, or a network that knows those it was trained on and no others."""
    gap = train_accuracy - held_out_accuracy
    if gap > OVERFIT_GAP:
        return [
            Finding(
                "too_few_speakers",
                f"right in {train_accuracy:.2f} of trials on the {speakers} training speakers but "
                f"{held_out_accuracy:.2f} on unseen ones: more speakers are needed, not more steps",
            )
        ]
    if speakers < FEW_SPEAKERS:
        return [Finding("too_few_speakers", f"{speakers} training speakers: too few to learn lips rather than faces")]
    return []
