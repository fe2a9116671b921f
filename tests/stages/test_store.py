"""The store's clean-up: it removes what nothing uses and what kills left behind, never what the settings in force would
take.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from filelock import FileLock, Timeout

from flows.store import run_store, size_text
from s3dnerf.settings.loading import as_dict, preset_settings
from s3dnerf.settings.schema import CORPORA, Settings
from stages import align, store, train_sync
from stages.content_store import STORE, ContentStore
from stages.out_keys import KeptEntry, write_keys
from stages.preprocessing import ClipResult, PackJob, StageError
from stages.stage_fields import STAGE_FIELDS, fields_of
from stages.store import CHECKPOINTS, PACK_STAGES, Entry, needless, remove, survey
from stages.training import result_key
from tests.stages.clip_records import write_clip_records
from tests.stages.running import run

CLIPS = {"hdtf_a": "hdtf-0", "hdtf_b": "hdtf-0", "hdtf_c": "hdtf-1", "hdtf_bad": "hdtf-2"}
MADE: list[str] = []


def process(job: PackJob) -> Iterator[ClipResult]:
    """Stands for every stage's work: something small that depends on the clip and the stage's settings."""
    MADE.append(f"{job.stage}/{job.pack}")
    for record in job.clips:
        if record["clip"] == "hdtf_bad" and job.stage == "align":
            yield ClipResult(record["clip"], reason="no_face", detail="nobody there")
        else:
            number = (job.settings.lips.scale if job.stage == "lips" else 0) + (
                job.settings.align.detect_every if job.stage != "resample" else 0
            )
            yield ClipResult(record["clip"], {"x.npy": np.array([number, len(record["clip"])])})


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A working directory with ingest's records; every pack stage's work is replaced by :func:`process`."""
    monkeypatch.chdir(tmp_path)
    for stage in PACK_STAGES:
        monkeypatch.setattr(f"stages.{stage}.process", process)
    # a hundred megabytes to hash
    monkeypatch.setattr(align, "SPEC", dataclasses.replace(align.SPEC, weights=lambda settings: []))
    tiny = preset_settings("tiny")
    made = dataclasses.replace(tiny, ingest=dataclasses.replace(tiny.ingest, max_failed_fraction=1.0))
    write_records(made)
    MADE.clear()
    return made


def write_records(settings: Settings, clips: dict[str, str] = CLIPS) -> None:
    for corpus in CORPORA:
        rows = [{"clip": clip, "pack": pack} for clip, pack in clips.items() if clip.startswith(corpus)]
        write_clip_records(settings.data_dir / "ingest" / corpus, rows)


def with_(settings: Settings, section: str, **values: object) -> Settings:
    return dataclasses.replace(settings, **{section: dataclasses.replace(getattr(settings, section), **values)})


def states(settings: Settings, stage: str | None = None) -> Counter[str]:
    return Counter(entry.state for entry in survey(settings) if stage in (None, entry.stage))


def collect(settings: Settings) -> list[str]:
    """What was removed, as its stage."""
    gone = needless(survey(settings))
    remove(gone)
    assert not [entry for entry in gone if entry.path.exists()]
    return sorted(entry.stage for entry in gone)


def test_after_a_run_everything_is_planned_and_nothing_goes(settings: Settings) -> None:
    run(settings, *PACK_STAGES)
    # 3 packs of resample and align; the third has no clip left for the others
    assert states(settings) == {"planned": 12}
    assert collect(settings) == []
    # dvc removes outs, somebody else cleans up: the plan is followed through the store
    shutil.rmtree("data/tiny/masks")
    assert states(settings) == {"planned": 12}
    MADE.clear()
    run(settings, *PACK_STAGES)
    assert MADE == []


def test_what_older_settings_made_goes_and_no_more(settings: Settings) -> None:
    run(settings, *PACK_STAGES)
    changed = with_(settings, "lips", scale=2.0)
    assert states(changed, "lips") == {"undecided": 2}  # not made yet: what was made before may still be it
    run(changed, *PACK_STAGES)
    assert states(changed, "lips") == {"planned": 2, "unused": 2}
    assert collect(changed) == ["lips", "lips"]
    MADE.clear()
    run(changed, *PACK_STAGES)
    assert MADE == []


def test_the_plan_counts_and_not_what_the_outs_hold(settings: Settings) -> None:
    """Back to settings that have run before: theirs is what a run would take, though the outs are of the others."""
    changed = with_(settings, "align", detect_every=3)
    run(settings, *PACK_STAGES)
    run(changed, *PACK_STAGES)
    # an empty pack is held by the planned one
    assert states(settings, "align") == {
        "planned": 3,
        "on disk": 2,
        "unused": 1,
    }
    assert collect(settings) == ["align"]
    MADE.clear()
    run(settings, *PACK_STAGES)
    assert MADE == []


def test_a_pack_still_to_be_made_leaves_its_followers_undecided(settings: Settings) -> None:
    run(settings, *PACK_STAGES)
    write_records(settings, CLIPS | {"hdtf_d": "hdtf-1"})  # one more video: its pack is not in the store
    found = {(entry.stage, entry.state) for entry in survey(settings)}
    assert {state for stage, state in found if stage == "masks"} == {"planned", "undecided"}
    assert collect(settings) == []
    run(settings, *PACK_STAGES)
    assert collect(settings) == sorted(["resample", "align", "masks", "lips", "speech"])


def test_another_preset_s_outs_keep_what_they_came_from(settings: Settings) -> None:
    lasting = with_(settings, "sync", gate=0.9)  # tiny alone may have less than 0.5
    other = with_(dataclasses.replace(lasting, preset="mini"), "lips", scale=2.5)
    write_records(other)
    run(other, *PACK_STAGES)
    run(settings, *PACK_STAGES)
    assert states(settings, "lips") == {"planned": 2, "on disk": 2}
    assert collect(settings) == []
    shutil.rmtree("data/mini")
    assert collect(settings) == ["lips", "lips"]


def test_code_that_changed_nothing_leaves_one_entry(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    run(settings, *PACK_STAGES)
    monkeypatch.setattr("stages.keys.stage_versions", lambda stage, settings: {"another": 2})
    run(settings, *PACK_STAGES)
    assert states(settings) == {"planned": 12, "unused": 12}


def test_what_a_killed_run_left_goes_at_once(settings: Settings) -> None:
    run(settings, *PACK_STAGES)
    lips = sorted(Path(".packs/lips").iterdir())
    (lips[0] / "result.json").unlink()
    (lips[1] / "pack.tar").unlink()
    Path(".packs/inventory").mkdir()
    for name in (
        ".packs/inventory/.tiny.parquet.77.part",
        ".packs/inventory/tiny.parquet",
        ".packs/inventory/paper.parquet",
    ):
        Path(name).write_bytes(b"1234")
    (CHECKPOINTS / "train_sync" / "abc").mkdir(parents=True)
    half = [entry for entry in survey(settings) if entry.state == "half-made"]
    assert sorted(entry.stage for entry in half) == ["inventory", "lips", "lips", "train_sync"]
    assert states(settings, "inventory") == {"planned": 1, "unused": 1, "half-made": 1}  # no outs of the preset paper
    assert {entry.path for entry in needless(survey(settings), older_than_days=1)} == {entry.path for entry in half}
    run(settings, "lips")
    assert states(settings, "lips") == {"planned": 2}


def test_only_what_is_old_enough_goes(settings: Settings) -> None:
    run(settings, *PACK_STAGES)
    run(with_(settings, "lips", scale=2.0), *PACK_STAGES)
    run(settings, *PACK_STAGES)
    unused = [entry for entry in survey(settings) if entry.state == "unused"]
    assert len(unused) == 2 and not needless(unused, older_than_days=2)
    os.utime(unused[0].path, (1.7e9, 1.7e9))
    assert [entry.path for entry in needless(survey(settings), older_than_days=2)] == [unused[0].path]


def test_without_records_nothing_can_be_told(settings: Settings) -> None:
    shutil.rmtree("data/tiny/ingest")
    with pytest.raises(
        StageError,
        match="ingest/hdtf/clips.parquet: no such file — run what the settings in force plan first: dvc repro ingest",
    ):
        survey(settings)


def job_of(name: str, settings: Settings) -> train_sync.Job:
    folder = CHECKPOINTS / "train_sync" / name
    return train_sync.Job(settings, "expert", "data/tiny", str(folder), "data/tiny/train_sync/expert")


def checkpoint(name: str, settings: Settings, made_s: float) -> Path:
    folder = CHECKPOINTS / "train_sync" / name
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(job_of(name, settings).to_json())
    (folder / "checkpoint.pt").write_bytes(b"weights")
    for path in folder.iterdir():
        os.utime(path, (made_s, made_s))
    return folder


def test_checkpoints_of_the_plan_and_of_the_outs_stay(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    run(settings, *PACK_STAGES)
    longer, shorter = with_(settings, "sync", steps=99), with_(settings, "sync", steps=5)
    planned = checkpoint("planned", settings, 100)
    checkpoint("older_data", settings, 50)
    checkpoint("out_before", longer, 60)
    checkpoint("out_now", longer, 70)
    checkpoint("nowhere", shorter, 80)
    checkpoint("other_s_settings", with_(settings, "sync", judge_seed=77, checkpoint_every=3), 90)
    Path("data/tiny/train_sync/expert").mkdir(parents=True)
    made = job_of("out_now", longer)
    key = result_key(made.work, train_sync.stated(made))
    write_keys(Path("data/tiny"), "train_sync/expert", "train_sync", [KeptEntry(key, {})])
    ContentStore().put("train_sync", key, {"card.json": b"{}"})
    ContentStore().put("train_sync", "older", {"card.json": b"{}"})

    def found(folder: Path) -> dict[str, str]:
        return {entry.path.name: entry.state for entry in survey(settings) if entry.path.parent == folder}

    # nobody speaks in this made-up data: the stage's plan fails, and whatever has its settings may be it
    assert found(CHECKPOINTS / "train_sync") == {
        "planned": "undecided",
        "older_data": "undecided",
        "other_s_settings": "undecided",  # they decide nothing of an expert
        "out_before": "unused",
        "out_now": "on disk",
        "nowhere": "unused",
    }
    assert found(STORE / "train_sync") == {key: "on disk", "older": "undecided"}
    monkeypatch.setattr(
        train_sync, "plan", lambda context, role: train_sync.Job(context.settings, role, "", str(planned), "")
    )
    assert found(CHECKPOINTS / "train_sync") == {
        "planned": "planned",
        "older_data": "unused",
        "other_s_settings": "unused",
        "out_before": "unused",
        "out_now": "on disk",
        "nowhere": "unused",
    }
    assert found(STORE / "train_sync") == {key: "on disk", "older": "unused"}


def test_the_command_says_removes_and_refuses(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(settings, *PACK_STAGES)
    changed = with_(settings, "lips", scale=2.0)
    run(changed, *PACK_STAGES)
    Path("params.yaml").write_text(yaml.safe_dump(as_dict(changed)))
    with pytest.raises(
        RuntimeError, match=r"ingest has not run with the settings in force \(preset, ingest.clip_s,.*dvc repro ingest"
    ):
        run_store(collect=True, older_than_days=0)
    ran = {"params": {"params.yaml": fields_of(changed, STAGE_FIELDS["ingest"])}}
    for preset in ("mini", "tiny"):
        outs = [{"path": f"data/{preset}/ingest/hdtf"}]
        Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"ingest": ran | {"outs": outs}}}))
        if preset == "mini":
            with pytest.raises(RuntimeError, match=r"the settings in force \(preset\): .*dvc repro ingest"):
                run_store(collect=True, older_than_days=0)
    run_store(collect=False, older_than_days=0)
    said = capsys.readouterr().out
    assert "2 have no use any more" in said and "s3dnerf store --collect" in said and "2 planned" in said
    assert len(list(Path(".packs/lips").iterdir())) == 4
    Path(".locks").mkdir(exist_ok=True)
    with (
        FileLock(".locks/mini-masks.lock"),
        pytest.raises(RuntimeError, match="mini-masks is running: nothing was removed"),
    ):
        run_store(collect=True, older_than_days=0)

    (experiment := Path(".dvc/tmp/exps/tmp1") / ".locks").mkdir(parents=True)
    (experiment.parent / ".dvc").mkdir()
    with (
        FileLock(experiment / "tiny-align.lock"),
        pytest.raises(RuntimeError, match="tiny-align is running in .*tmp1: nothing was removed"),
    ):
        run_store(collect=True, older_than_days=0)

    def removing(entries: list[Entry]) -> int:
        with pytest.raises(Timeout):  # no stage begins meanwhile
            FileLock(".locks/tiny-lips.lock").acquire(timeout=0)
        return remove(entries)

    monkeypatch.setattr("flows.store.remove", removing)
    run_store(collect=True, older_than_days=0)
    assert "2 removed" in capsys.readouterr().out and len(list(Path(".packs/lips").iterdir())) == 2
    with FileLock(".locks/tiny-lips.lock").acquire(timeout=0):
        pass  # given back


def test_every_stage_that_writes_into_the_store_has_its_lock_taken() -> None:
    names = set(store.lock_names())
    assert {
        "tiny-align",
        "paper-inventory",
        "mini-train_sync-judge",
        "sample-train_s3dnerf-full",
        "sample-train_s3dnerf",
    } <= names


def test_sizes() -> None:
    assert [size_text(n) for n in (0, 999, 1500, 2_000_000_000)] == ["0 bytes", "999 bytes", "1.5 kB", "2.0 GB"]
    assert Entry(Path("x"), "lips", 3, 0.0).state == "unused"
