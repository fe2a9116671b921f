"""The sync metrics are the judge's own numbers, named after the judge; what it cannot measure has its words as the
reason.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from s3dnerf.metrics import sync
from s3dnerf.settings.schema import SyncSettings
from s3dnerf.sync.expert import SyncExpert
from s3dnerf.sync.judge import TrainedJudge
from tests.small_corpus import LIP_BOX, picture


@pytest.fixture(scope="module")
def judge() -> TrainedJudge:
    torch.manual_seed(0)
    network = SyncExpert(SyncSettings(crop_px=48, width=4, embed=16)).eval()
    return TrainedJudge(network, {"role": "judge", "gate": 0.75, "passes": True, "held_out": {"accuracy": 0.9}})


def clip(frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(frames)
    shown = np.stack([picture(0.5 + 0.5 * np.sin(i), 0.9)[0] for i in range(frames)])
    return (
        shown,
        random.normal(0, 0.1, 640 * frames).astype(np.float32),
        random.normal(0, 1, (int(80 * frames / 25) + 16, 80)).astype(np.float32),
    )


def test_numbers_are_the_judges(judge: TrainedJudge) -> None:
    frames, samples, mel = clip(30)
    measured = {m.recipe.name: m for m in sync.measure(judge, "trained-ab12", frames, LIP_BOX, samples, mel)}
    said = judge.measure(frames, LIP_BOX, samples=samples, audio=mel)
    assert measured["lse_c"].value == pytest.approx(said.lse_c) and measured["lse_d"].value == pytest.approx(said.lse_d)
    assert measured["sync_offset"].value == said.offset_frames and measured["lse_c"].counted == said.windows == 26
    assert measured["lse_c"].recipe.version == "sync-1-trained-ab12"
    assert sync.recipes_of("syncnet")[0].version != sync.recipes_of("trained-ab12")[0].version


def test_a_short_clip_has_no_value_but_a_reason(judge: TrainedJudge) -> None:
    measured = sync.measure(judge, "trained", *clip(12)[:1], LIP_BOX, *clip(12)[1:])
    assert [m.value for m in measured] == [None] * 3 and all("expected more than 15" in m.reason for m in measured)
    without_box = sync.measure(judge, "trained", clip(30)[0], None, *clip(30)[1:])
    assert "lip_box" in without_box[0].reason
