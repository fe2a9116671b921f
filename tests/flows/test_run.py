"""What is written beside a stage's time."""

import pytest

from flows.run import STAGES, device_of
from s3dnerf.core.devices import VARIABLE
from s3dnerf.settings.loading import preset_settings


def test_a_stage_with_networks_says_where_they_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "cpu")
    sample, paper = preset_settings("sample"), preset_settings("paper")
    known = {stage: device_of(stage, sample) for stage in STAGES}
    assert all(known[stage] == {"device": "cpu"} for stage in ("speech", "train_sync", "train_s3dnerf", "evaluate"))
    assert not any(known[stage] for stage in ("check", "inventory", "ingest", "resample", "align", "masks", "report"))
    assert device_of("masks", paper) == {"device": "cpu"} and device_of("align", paper) == {
        "device": "CPUExecutionProvider"
    }
