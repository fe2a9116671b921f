"""The audit's look at weight files: a file, or a folder of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.audit import networks
from stages.weight_hashes import describe

REPORT: Any = SimpleNamespace(document={"preset": "tiny", "networks": {}})


def test_a_folder_of_weights_is_held_against_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = Path("weights/lpips")
    weights.mkdir(parents=True)
    for name in ("alexnet", "heads"):
        (weights / f"{name}.safetensors").write_text(name)
    listed = Path("data/tiny/inventory/weights/evaluate.json")
    listed.parent.mkdir(parents=True)
    listed.write_text(json.dumps({"evaluate.lpips_weights": describe(weights)}))
    assert networks(REPORT).passed
    (weights / "heads.safetensors").write_text("others")
    assert "is not that of the report" in str(networks(REPORT))
    for file in weights.iterdir():
        file.unlink()
    assert "weights/lpips (evaluate.lpips_weights) is not here" in str(networks(REPORT))
