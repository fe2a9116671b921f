"""The stage: a run a variant, refusals before any work, checkpoints keyed by settings and data."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import Settings
from s3dnerf.sync.expert import SyncGateError
from s3dnerf.synthesis.synthesizer import load_generator
from s3dnerf.training.train_s3dnerf import Job
from stages import train_s3dnerf
from stages.context import Context
from tests.small_corpus import make_corpus, make_training_data


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    settings = preset_settings("tiny")
    train = dataclasses.replace(settings.train, variants=("full", "naive"), steps=1, checkpoint_every=1, strip_every=1)
    settings = dataclasses.replace(settings, train=train)
    make_training_data(settings, settings.data_dir)
    return settings


def _context(settings: Settings, **given) -> Context:
    return Context(settings, "train_s3dnerf", **given)


def test_every_variant_is_trained_into_its_folder(settings: Settings) -> None:
    made = train_s3dnerf.main(_context(settings))
    assert list(made) == ["full", "naive"]
    for variant, folder in made.items():
        assert Path(folder) == settings.data_dir / "train_s3dnerf" / variant
        assert load_generator(folder).variant == variant
        assert json.loads((Path(folder) / "card.json").read_text())["speakers"] == ["A", "B"]


def test_launched_runs_get_a_job_they_can_read(settings: Settings) -> None:
    calls = []

    def launch(module: str, arguments: list[str], processes: int) -> None:
        calls.append((module, arguments, processes))
        out = Path(Job.from_json(Path(arguments[1]).read_text()).out)
        out.mkdir(parents=True)
        (out / "card.json").write_text("{}")

    train_s3dnerf.main(_context(settings, launch=launch))
    assert [(module, processes) for module, _, processes in calls] == [("s3dnerf.training.train_s3dnerf", 1)] * 2
    jobs = [Job.from_json(Path(arguments[1]).read_text()) for _, arguments, _ in calls]
    assert [job.variant for job in jobs] == ["full", "naive"] and all(job.settings == settings for job in jobs)
    assert len({job.work for job in jobs}) == 2


def test_an_expert_below_its_gate_is_refused_before_any_work(settings: Settings) -> None:
    make_training_data(settings, settings.data_dir, passes=False)
    with pytest.raises(SyncGateError, match="train.phases: sync: 0.5"):
        train_s3dnerf.main(_context(settings))
    assert not Path(".checkpoints").exists()


def test_checkpoints_are_keyed_by_settings_and_data(settings: Settings) -> None:
    def key(changed: Settings) -> str:
        return train_s3dnerf.plan(_context(changed))[0].work

    first = key(settings)
    others = {
        key(dataclasses.replace(settings, train=dataclasses.replace(settings.train, lr_generator=0.5))),
        key(dataclasses.replace(settings, seed=9)),
    }
    assert first not in others and len(others) == 2
    alone = dataclasses.replace(settings, train=dataclasses.replace(settings.train, variants=("full",)))
    assert key(alone) == first  # which others are trained changes nothing
    make_corpus(settings.data_dir, {"hdtf_A_000": ("A", "train"), "hdtf_Z_000": ("Z", "train")})
    assert key(settings) != first
