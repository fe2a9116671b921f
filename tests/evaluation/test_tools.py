"""The tools of the evaluation from the settings: what is missing is None, with its reason."""

from __future__ import annotations

from pathlib import Path

from s3dnerf.evaluation.tools import load_tools
from s3dnerf.settings.loading import settings_from


def test_missing_weights_become_reasons(tmp_path: Path) -> None:
    weights = {
        "lpips_weights": str(tmp_path / "lpips"),
        "syncnet_weights": str(tmp_path / "syncnet.model"),
        "judge": "syncnet",
    }
    settings = settings_from(
        {"align": {"backend": "dlib", "model_dir": None}, "evaluate": {**weights, "identity": "insightface"}}
    )
    tools = load_tools(settings, tmp_path / "judge")
    assert tools.judge is None and tools.network is None and tools.recogniser is None
    assert "alexnet.pth: no such file" in tools.why["lpips"] and tools.why["judge"] and tools.why["identity"]
    assert {r.version for r in tools.recipes() if r.name == "lse_c"} == {"sync-1-syncnet"}
