"""Stage ``train_sync``: expert and judge, each as its own part; resumed under the same settings, data and code alone."""

import json
import shutil
from pathlib import Path

import pytest

from s3dnerf.settings.loading import settings_from
from s3dnerf.settings.schema import Settings
from s3dnerf.training import train_sync as training
from s3dnerf.video.packs import file_sha256
from stages import train_sync
from stages.context import Context, NoTracker
from stages.preprocessing import StageError
from stages.seeding import fill_store
from tests.sync.corpus import write_corpus

SYNC = {
    "steps": 2,
    "judge_steps": 3,
    "batch": 8,
    "crop_px": 48,
    "width": 4,
    "embed": 16,
    "eval_trials": 26,
    "eval_every": 2,
    "checkpoint_every": 1,
    "gate": 0.0,
    "hdtf_val_fraction": 0.34,
}


class Recorder(NoTracker):
    """Remembers what it is told."""

    def __init__(self):
        self.values, self.followed = {}, []

    def metrics(self, values, step=0):
        self.values.update(values)

    def follow(self, curves):
        self.followed.append(curves)


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    made = settings_from({"preset": "tiny", "sync": SYNC})
    write_corpus(made.data_dir, "hdtf", {"ann": "train", "bob": "train", "eve": "train", "tess": "test"}, 1.2)
    write_corpus(made.data_dir, "lrs2", {"lea": "train", "max": "train", "val": "val"}, 1.2)
    return made


def test_both_roles_in_one_go(settings):
    tracker = Recorder()
    summary = train_sync.main(Context(settings, "train_sync", tracker=tracker))
    assert set(summary) == {"expert", "judge"} and all(
        0 <= s["accuracy"] <= 1 and s["passes"] for s in summary.values()
    )
    cards = {role: json.loads((settings.data_dir / "train_sync" / role / "card.json").read_text()) for role in summary}
    assert cards["expert"]["corpora"] == ["hdtf", "lrs2"] and cards["judge"]["corpora"] == ["lrs2"]
    assert cards["expert"]["seed"] != cards["judge"]["seed"] and (
        cards["expert"]["steps"],
        cards["judge"]["steps"],
    ) == (2, 3)
    assert tracker.values["expert_held_out_accuracy"] == summary["expert"]["accuracy"] and len(tracker.followed) == 2


def test_one_part_alone_through_a_launcher(settings):
    launched = []

    def launch(module, arguments, processes):
        launched.append((module, processes))
        __import__(module, fromlist=["main"]).main(arguments)

    summary = train_sync.main(Context(settings, "train_sync", part="judge", launch=launch))
    assert set(summary) == {"judge"} and launched == [("s3dnerf.training.train_sync", 1)]
    assert not (settings.data_dir / "train_sync" / "expert").exists()
    assert sorted(p.name for p in (settings.data_dir / "train_sync" / "judge").iterdir()) == [
        "card.json",
        "curves.jsonl",
        "offsets.json",
        "weights.safetensors",
    ]


def test_checkpoints_are_keyed_by_settings_data_and_role(settings):
    works = {}
    works["expert"] = train_sync.plan(Context(settings, "train_sync"), "expert").work
    works["judge"] = train_sync.plan(Context(settings, "train_sync"), "judge").work
    other = settings_from({"preset": "tiny", "sync": {**SYNC, "lr": 0.5}})
    works["settings"] = train_sync.plan(Context(other, "train_sync"), "expert").work
    write_corpus(settings.data_dir, "lrs2", {"lea": "train", "max": "train", "new": "train", "val": "val"}, 1.2)
    works["data"] = train_sync.plan(Context(settings, "train_sync"), "expert").work
    assert len(set(works.values())) == 4 and all(
        Path(w).parts[:2] == (".checkpoints", "train_sync") for w in works.values()
    )


def _hashes(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): file_sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_finished_training_comes_from_the_store_and_a_harmed_one_does_not(settings, monkeypatch):
    """DVC deletes the out before the stage runs; what stood there comes back without a step."""

    def judge(**given):
        return train_sync.main(Context(settings, "train_sync", part="judge", **given))

    out, steps, real = settings.data_dir / "train_sync/judge", [], training.train_step
    monkeypatch.setattr(training, "train_step", lambda *given: steps.append(1) or real(*given))
    summary = judge()
    whole = _hashes(out)
    assert len(steps) == 3
    (out / "strips").mkdir()
    (out / "strips/of_an_earlier_run.png").write_bytes(b"")
    assert judge() == summary and _hashes(out) == whole and len(steps) == 3
    shutil.rmtree(".checkpoints")
    assert judge() == summary and _hashes(out) == whole and len(steps) == 3
    (victim,) = Path(".packs/train_sync").glob("*/weights.safetensors")
    victim.write_bytes(victim.read_bytes()[:-1])
    assert judge() == summary and _hashes(out) == whole and len(steps) == 6
    shutil.rmtree(".packs")
    assert fill_store(settings.data_dir) == {"train_sync": 1}
    shutil.rmtree(out)
    assert judge() == summary and _hashes(out) == whole and len(steps) == 6


def test_a_forced_training_starts_at_its_first_step(settings, monkeypatch):
    steps, real = [], training.train_step
    monkeypatch.setattr(training, "train_step", lambda *given: steps.append(1) or real(*given))
    for ignore_store in (False, True, True):
        train_sync.main(Context(settings, "train_sync", part="judge", ignore_store=ignore_store))
    assert len(steps) == 9


def test_no_lrs2_and_an_unknown_part_are_refused_before_any_work(settings):
    write_corpus(settings.data_dir, "lrs2", {}, 1.2)
    with pytest.raises(StageError, match="raw.lrs2"):
        train_sync.main(Context(settings, "train_sync"))
    with pytest.raises(StageError, match="accepted: expert, judge"):
        train_sync.main(Context(settings, "train_sync", part="jugde"))
    assert not (settings.data_dir / "train_sync").exists() and not Path(".checkpoints").exists()


def test_a_stored_result_states_the_gate_in_force(settings, monkeypatch):
    """The gate decides nothing of the weights, but what the card says of them."""
    steps, real = [], training.train_step
    monkeypatch.setattr(training, "train_step", lambda *given: steps.append(1) or real(*given))
    stricter = settings_from({"preset": "tiny", "sync": {**SYNC, "gate": 1.0}})
    for given, gate in ((settings, 0.0), (stricter, 1.0), (settings, 0.0)):
        train_sync.main(Context(given, "train_sync", part="judge"))
        card = json.loads((settings.data_dir / "train_sync/judge/card.json").read_text())
        assert card["gate"] == gate and card["passes"] == (card["held_out"]["accuracy"] >= gate)
    assert len(steps) == 3 and len(list(Path(".packs/train_sync").iterdir())) == 2
