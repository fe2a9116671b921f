"""Which phase of ``train.phases`` a step belongs to."""

import dataclasses

import pytest

from s3dnerf.core.errors import SettingsError
from s3dnerf.settings.loading import as_dict, preset_settings, settings_from
from s3dnerf.settings.schema import PhaseSettings, TrainSettings
from s3dnerf.training.phases import first_steps, phase_at, sync_weight, without_sync


def _train(*shares: float, steps: int = 100) -> TrainSettings:
    phases = tuple(PhaseSettings(share=share, pix=float(i)) for i, share in enumerate(shares))
    return dataclasses.replace(preset_settings("paper").train, steps=steps, phases=phases)


def test_the_papers_weights_stand_from_the_first_step_to_the_last() -> None:
    train = preset_settings("paper").train
    for step in (0, train.steps - 1):
        phase = phase_at(train, step)
        assert (phase.pix, phase.per, phase.adv, phase.sync, phase.deform) == (1.0, 0.01, 1.0, 0.5, 0.001)
        assert phase.mouth == phase.flow == 0.0 and phase.frames == "consecutive"


def test_phases_follow_each_other() -> None:
    train = _train(0.1, 0.2, 0.7)
    assert first_steps(train) == [0, 10, 30]  # 0.1 + 0.2 is a little more than 0.3
    assert [phase_at(train, step).pix for step in (0, 9, 10, 29, 30, 99)] == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    assert first_steps(_train(0.3, 0.7, steps=5)) == [0, 2]  # a step belongs to the phase in which it begins


def test_a_phase_too_short_for_a_step_is_left_out() -> None:
    train = _train(0.0, 0.5, 0.001, 0.499, steps=10)
    assert [phase_at(train, step).pix for step in range(10)] == [1.0] * 5 + [2.0] + [3.0] * 4
    assert [phase_at(_train(0.5, 0.0, 0.5, steps=4), step).pix for step in range(4)] == [0.0, 0.0, 2.0, 2.0]


def test_no_sync_takes_the_sync_loss_out_of_every_phase() -> None:
    train = _train(0.5, 0.5)
    assert sync_weight(train) == 0.5 and sync_weight(without_sync(train)) == 0.0
    assert [dataclasses.replace(p, sync=0.5) for p in without_sync(train).phases] == list(train.phases)


@pytest.mark.parametrize(
    ("phases", "told"),
    [
        ([], "train.phases: shares of 0 together"),
        ([{"share": 0.5}], "train.phases: shares of 0.5 together"),
        ([{"share": 0.6}, {"share": 0.6}], "train.phases: shares of 1.2 together"),
        ([{"frames": "anywhere"}], "train.phases.0: sync: 0.5 and frames: anywhere"),
        ([{"frames": "backwards"}], "train.phases.0.frames: got 'backwards'"),
        ([{"pixel": 1.0}], "train.phases.0.pixel: no such setting"),
        ([3], "train.phases.0: got 3"),
    ],
)
def test_phases_that_make_no_sense_are_refused(phases: list, told: str) -> None:
    values = as_dict(preset_settings("paper"))
    values["train"]["phases"] = phases
    with pytest.raises(SettingsError, match=told.replace(".", r"\.")):
        settings_from(values)
