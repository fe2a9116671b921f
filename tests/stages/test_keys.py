"""Keys hold what decides bytes, and nothing else: fields, versions, packages; not where files lie or whose a clip is."""

from __future__ import annotations

import dataclasses

import pytest

from s3dnerf.settings.loading import experiment, preset_settings
from s3dnerf.settings.schema import RawSettings, Settings
from stages import code_lock, environment
from stages.environment import ABSENT, package_version, stage_environment
from stages.evaluated_clips import FIELDS
from stages.keys import clip_basis, key_of, stage_basis
from stages.stage_fields import STAGE_FIELDS, fields_of

TINY = preset_settings("tiny")


def changed(section: str, **values: object) -> Settings:
    return dataclasses.replace(TINY, **{section: dataclasses.replace(getattr(TINY, section), **values)})


def key(stage: str, settings: Settings, node: str = "") -> str:
    return key_of(stage_basis(stage, settings, node))


@pytest.mark.parametrize(
    ("section", "value", "moves"),
    [
        ("sync", {"judge_seed": 9}, {"train_sync_judge"}),
        ("sync", {"judge_steps": 9}, {"train_sync_judge"}),
        ("sync", {"expert_seed": 9}, {"train_sync_expert"}),
        ("sync", {"lr": 0.1}, {"train_sync_expert", "train_sync_judge"}),
        ("sync", {"checkpoint_every": 9}, set()),
        ("sync", {"gate": 0.3}, set()),
        ("train", {"checkpoint_every": 9}, set()),
        ("train", {"strip_every": 9}, set()),
        ("train", {"variants": ("full", "naive")}, {"evaluate"}),
        ("train", {"steps": 9}, {"train_s3dnerf"}),
        ("ingest", {"max_failed_fraction": 0.9}, set()),
        ("evaluate", {"bootstrap": 300}, set()),
        ("lips", {"scale": 2.0}, {"lips"}),
        ("align", {"crf": 20}, {"align"}),
    ],
)
def test_a_setting_moves_the_keys_of_those_that_use_it(section: str, value: dict, moves: set[str]) -> None:
    stages = {"align": "align", "masks": "masks", "lips": "lips", "speech": "speech", "train_sync_expert": "train_sync",
              "train_sync_judge": "train_sync", "train_s3dnerf": "train_s3dnerf", "evaluate": "evaluate"}  # fmt: skip
    other = changed(section, **value)
    assert {node for node, stage in stages.items() if key(stage, TINY, node) != key(stage, other, node)} == moves


def test_where_raw_folders_lie_is_in_no_key_and_no_experiment() -> None:
    moved = dataclasses.replace(TINY, raw=RawSettings("/elsewhere", None, None, None))
    for stage in ("resample", "align", "evaluate"):
        assert key(stage, TINY) == key(stage, moved)
    assert experiment(TINY) == experiment(moved) and "raw" not in experiment(TINY)
    assert not [name for names in STAGE_FIELDS.values() for name in names if name.startswith("raw")]


def test_every_field_that_is_listed_exists() -> None:
    for names in (*STAGE_FIELDS.values(), FIELDS):
        assert set(fields_of(TINY, names)) == set(names)


def test_a_clip_is_its_sound_and_picture_not_its_speaker_split_or_text() -> None:
    record = {"clip": "a", "video_sha256": "v", "audio_sha256": "", "start_s": 0.0, "end_s": 1.0, "crop_x": -1,
              "crop_y": -1, "crop_w": -1, "crop_h": -1, "speaker": "s", "split": "train", "text": "hello", "video": "x.mp4"}  # fmt: skip
    same = record | {"speaker": "t", "split": "test", "text": "bye", "video": "moved/y.mp4"}
    assert clip_basis(record) == clip_basis(same)
    for name in ("video_sha256", "audio_sha256", "end_s", "crop_w"):
        assert clip_basis(record) != clip_basis(record | {name: "other"})


def test_a_raised_version_and_a_new_package_move_the_keys_of_those_that_use_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {stage: key(stage, TINY) for stage in ("align", "masks", "lips")}
    lock, versions = code_lock._locked(code_lock.ROOT)
    monkeypatch.setattr(code_lock, "_locked", lambda root: (lock, versions | {"faces": 99}))
    assert [stage for stage in before if key(stage, TINY) != before[stage]] == ["align"]
    monkeypatch.undo()
    version = environment.package_version
    monkeypatch.setattr(environment, "package_version", lambda name: "0" if name == "dlib-bin" else version(name))
    assert [stage for stage in before if key(stage, TINY) != before[stage]] == ["align"]


def test_packages_are_those_that_a_stage_computes_with() -> None:
    assert {"torch", "numpy"} <= set(stage_environment("train_s3dnerf", TINY))
    assert "torch" not in stage_environment("resample", TINY) and "dlib-bin" in stage_environment("align", TINY)
    assert "pandas" in stage_environment("lips", TINY) and "pandas" not in stage_environment("lips", TINY, tables=False)
    assert "+" not in package_version("torch") and package_version("no-such-package") == ABSENT


def test_a_key_is_of_values_whatever_order_a_mapping_has_them_in() -> None:
    assert key_of({"a": 1, "b": 2}, "x") == key_of({"b": 2, "a": 1}, "x")
    assert len({key_of("a", "b"), key_of("ab", ""), key_of("b", "a")}) == 3
