"""Where a network runs: one rule for every command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3dnerf.core.errors import SettingsError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")


def chosen_device(name: str, dashes: str = "") -> torch.device:
    """``cpu``, ``cuda``, or ``auto``: a CUDA device where PyTorch has one, otherwise the processor.

    Raises SettingsError for another name (after ``dashes``), and for ``cuda`` where PyTorch has none.
    """
    import torch

    if name not in DEVICES:
        raise SettingsError(f"{dashes}device: got {name} — accepted: {', '.join(DEVICES)}")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        built = "finds none on this machine" if torch.version.cuda else "was built without CUDA"
        raise SettingsError(f"{dashes}device: cuda — PyTorch {torch.__version__} {built}; accepted here: auto, cpu")
    return torch.device("cuda" if there and name != "cpu" else "cpu")
