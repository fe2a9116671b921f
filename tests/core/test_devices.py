"""Where a network runs."""

import pytest
import torch

from s3dnerf.core.devices import chosen_device
from s3dnerf.core.errors import SettingsError


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, kinds in ((True, ("cuda", "cpu", "cuda")), (False, ("cpu", "cpu"))):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert tuple(chosen_device(name).type for name in ("auto", "cpu", "cuda")[: len(kinds)]) == kinds


def test_a_gpu_that_is_not_there_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match=r"^device: cuda — PyTorch .* accepted here: auto, cpu"):
        chosen_device("cuda")
    with pytest.raises(SettingsError, match="--device: got tpu — accepted: auto, cpu, cuda"):
        chosen_device("tpu", dashes="--")
