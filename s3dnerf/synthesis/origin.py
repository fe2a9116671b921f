"""Where a made video comes from: which network with which settings. Its metadata and its Content Credentials say so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STATEMENT = "Synthetic: this person did not say this."


@dataclass(frozen=True)
class Origin:
    """What a video was made by. Nothing of the portrait or the speech is in it: both are a person's.

    Attributes
    ----------
    variant : of the model, such as ``full``
    model_sha256 : of the generator's weights, 64 hex digits
    settings_sha256 : of the settings that it was trained with, as JSON with sorted keys, 64 hex digits
    """

    variant: str
    model_sha256: str
    settings_sha256: str

    @classmethod
    def of(cls, card: Mapping[str, Any], model_sha256: str) -> Origin:
        """By a generator's card and the hash of its weights."""
        settings = hashlib.sha256(json.dumps(card["settings"], sort_keys=True).encode()).hexdigest()
        return cls(card["variant"], model_sha256, settings)

    @property
    def comment(self) -> str:
        """What the file's metadata says."""
        made = f"Made by S3D-NeRF ({self.variant}), model sha256 {self.model_sha256}"
        return f"{STATEMENT} {made}, settings sha256 {self.settings_sha256}"
