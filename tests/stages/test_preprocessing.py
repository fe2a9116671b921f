"""The pack store: only what changed is made again, damage is noticed, faults of one clip stay with it."""

from __future__ import annotations

import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.added import compare
from s3dnerf.settings.loading import settings_from
from s3dnerf.settings.schema import CORPORA
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.packs import INDEX_COLUMNS, CorpusPacks, PackError, file_sha256, write_pack, write_table
from stages.context import Context
from stages.preprocessing import PackStage, Quarantine, StageError, each_clip, run_packs
from tests.stages.clip_records import write_clip_records

MADE: list[str] = []


def process(job):
    MADE.append(job.pack)

    def make(record):
        if record["speaker"] == "Bad":
            raise Quarantine("no_face", "nobody there")
        if record["speaker"] == "Broken":
            raise ValueError("a fault of this clip")
        data = CorpusPacks(job.upstream["resample"]).read(record["clip"], "frames.npy")
        return {"twice.npy": data * 2}

    return each_clip(job, make)


SPEC = PackStage("double", ("resample",), keyed_as="lips")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A working directory with ingest's and resample's outs: write(clips) makes them, run() runs the stage."""
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("stages.double")
    module.process = process
    monkeypatch.setitem(sys.modules, "stages.double", module)
    MADE.clear()
    settings = settings_from({"preset": "tiny", "ingest": {"max_failed_fraction": 0.5}})

    def write(clips: dict[str, tuple[str, str, int]]) -> None:
        for corpus in CORPORA:
            mine = {c: v for c, v in clips.items() if c.startswith(corpus)}
            records = [{"clip": c, "speaker": s, "pack": p} for c, (s, p, _) in mine.items()]
            write_clip_records(tmp_path / "data/tiny/ingest" / corpus, records)
            rows = []
            for pack in {p for _, p, _ in mine.values()}:
                members = {c: {"frames.npy": np.arange(n)} for c, (_, p, n) in mine.items() if p == pack}
                rows += [
                    {"pack": pack, **r}
                    for r in write_pack(tmp_path / "data/tiny/resample" / corpus / f"{pack}.tar", members)
                ]
            write_table(tmp_path / "data/tiny/resample" / corpus / "index.parquet", rows, INDEX_COLUMNS)

    def run(**changes) -> dict:
        return run_packs(
            SPEC,
            Context(
                settings=settings_from({"preset": "tiny", "ingest": {"max_failed_fraction": 0.5}} | changes),
                stage="double",
            ),
        )

    assert settings.preset == "tiny"
    return write, run


CLIPS = {"hdtf_a": ("Ann", "p-0", 3), "hdtf_b": ("Bob", "p-1", 4), "lrs2_c": ("Cy", "p-2", 5)}


def hashes(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): file_sha256(p) for p in sorted(root.rglob("*")) if p.is_file()}


def test_one_added_clip_makes_one_pack_and_equals_from_scratch(project, tmp_path: Path) -> None:
    write, run = project
    write(CLIPS)
    run()
    assert sorted(MADE) == ["p-0", "p-1", "p-2"]
    write(CLIPS | {"hdtf_d": ("Dan", "p-3", 6)})
    assert run()["hdtf"] == {"clips": 3, "packs": 3, "made": 1, "quarantined": 0}
    assert MADE[3:] == ["p-3"]
    incremental = hashes(tmp_path / "data/tiny/double")
    shutil.rmtree(tmp_path / ".packs")
    shutil.rmtree(tmp_path / "data/tiny/double")
    run()
    assert hashes(tmp_path / "data/tiny/double") == incremental
    np.testing.assert_array_equal(CorpusPacks("data/tiny/double/hdtf").read("hdtf_d", "twice.npy"), np.arange(6) * 2)


def test_changed_input_or_setting_makes_just_what_it_touches(project) -> None:
    write, run = project
    write(CLIPS)
    run()
    write(CLIPS | {"hdtf_b": ("Bob", "p-1", 9)})
    run()
    assert MADE[3:] == ["p-1"]
    run(lips={"scale": 2.0})
    assert sorted(MADE[4:]) == ["p-0", "p-1", "p-2"]
    run(sync={"steps": 7})
    assert len(MADE) == 7


def test_a_changed_byte_in_the_store_is_noticed(project, tmp_path: Path) -> None:
    write, run = project
    write(CLIPS)
    run()
    before = hashes(tmp_path / "data/tiny/double")
    victim = sorted(tmp_path.glob(".packs/double/*/pack.tar"))[0]
    data = bytearray(victim.read_bytes())
    data[600] ^= 1
    victim.write_bytes(bytes(data))
    run()
    assert len(MADE) == 4
    assert hashes(tmp_path / "data/tiny/double") == before


def test_a_changed_result_in_the_store_is_noticed(project, tmp_path: Path) -> None:
    """It says which parts a pack has and which clips stopped: the tar beside it may be whole and it a lie."""
    write, run = project
    write(CLIPS | {"hdtf_x": ("Bad", "p-0", 3)})
    run()
    before = hashes(tmp_path / "data/tiny/double")
    for victim in tmp_path.glob(".packs/double/*/result.json"):
        victim.write_text(victim.read_text().replace("no_face", "no_fuss").replace('"size": 1', '"size": 2'))
    run()
    assert sorted(MADE[3:]) == ["p-0", "p-1", "p-2"]
    assert hashes(tmp_path / "data/tiny/double") == before


@pytest.mark.parametrize("harm", ["truncated", "gone", "empty result", "result of another pack"])
def test_a_harmed_entry_is_made_again_and_no_dead_end(project, tmp_path: Path, harm: str) -> None:
    write, run = project
    write(CLIPS)
    run()
    before = hashes(tmp_path / "data/tiny/double")
    one, other, _ = sorted(tmp_path.glob(".packs/double/*"))
    if harm == "truncated":
        (one / "pack.tar").write_bytes((one / "pack.tar").read_bytes()[:700])
    elif harm == "gone":
        (one / "pack.tar").unlink()
    else:
        (one / "result.json").write_bytes(b"" if harm == "empty result" else (other / "result.json").read_bytes())
    run()
    assert len(MADE) == 4 and hashes(tmp_path / "data/tiny/double") == before
    run()
    assert len(MADE) == 4


def test_an_entry_harmed_just_after_it_was_made_is_made_once_more(project, tmp_path: Path) -> None:
    write, run = project
    write(CLIPS)

    def spoilt(work, jobs, names):
        for job in jobs:
            work(job)
        for victim in tmp_path.glob(".packs/double/*/pack.tar"):
            victim.write_bytes(b"")

    context = Context(settings=settings_from({"preset": "tiny"}), stage="double", run=spoilt)
    assert run_packs(SPEC, context)["hdtf"]["made"] == 2
    assert len(MADE) == 6 and CorpusPacks("data/tiny/double/hdtf").clips == ["hdtf_a", "hdtf_b"]


def test_a_run_that_ignores_the_store_makes_everything_and_replaces_it(project, tmp_path: Path) -> None:
    write, run = project
    write(CLIPS)
    run()
    before = hashes(tmp_path / "data/tiny/double")
    made = [entry.stat().st_mtime_ns for entry in sorted(tmp_path.glob(".packs/double/*/pack.tar"))]
    context = Context(settings=settings_from({"preset": "tiny"}), stage="double", ignore_store=True)
    run_packs(SPEC, context)
    assert len(MADE) == 6 and hashes(tmp_path / "data/tiny/double") == before
    again = [entry.stat().st_mtime_ns for entry in sorted(tmp_path.glob(".packs/double/*/pack.tar"))]
    assert all(new > old for new, old in zip(again, made, strict=True))


def test_a_half_written_entry_is_not_taken_for_done(project, tmp_path: Path) -> None:
    write, run = project
    write(CLIPS)
    run()
    for victim in tmp_path.glob(".packs/double/*/result.json"):
        victim.unlink()
    run()
    assert len(MADE) == 6


def test_a_bad_clip_stops_alone_and_with_its_reason(project) -> None:
    write, run = project
    write(
        {
            "hdtf_a": ("Ann", "p-0", 3),
            "hdtf_b": ("Bad", "p-0", 3),
            "hdtf_e": ("Eve", "p-0", 3),
            "hdtf_x": ("Broken", "p-1", 3),
            "hdtf_z": ("Zoe", "p-1", 3),
        }
    )
    assert run()["hdtf"]["quarantined"] == 2
    table = pd.read_parquet("data/tiny/double/hdtf/quarantine.parquet").set_index("clip")
    assert table.loc["hdtf_b", "reason"] == "no_face" and table.loc["hdtf_b", "detail"] == "nobody there"
    assert (
        table.loc["hdtf_x", "reason"] == "processing_error" and "a fault of this clip" in table.loc["hdtf_x", "detail"]
    )
    assert CorpusPacks("data/tiny/double/hdtf").clips == ["hdtf_a", "hdtf_e", "hdtf_z"]


def test_too_many_failures_stop_the_stage_with_the_table_of_reasons(project) -> None:
    write, run = project
    write({"hdtf_a": ("Ann", "p-0", 3), "hdtf_b": ("Bad", "p-0", 3), "hdtf_c": ("Bad", "p-1", 3)})
    with pytest.raises(
        StageError, match=r"2 of 3 hdtf clips failed, more than ingest.max_failed_fraction = 0.5\n +2  no_face"
    ):
        run()


def test_a_disk_that_fills_while_packs_are_copied_leaves_no_out(
    project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write, run = project
    write(CLIPS)
    run()
    before = hashes(tmp_path / "data/tiny/double")

    def half(source, target):
        Path(target).write_bytes(source.read(700))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as fault:
        fault.setattr("stages.content_store.copy_sha256", half)
        with pytest.raises(OSError, match="No space left"):
            run()
    assert not list((tmp_path / "data/tiny/double").rglob("index.parquet"))
    run()
    assert len(MADE) == 3 and hashes(tmp_path / "data/tiny/double") == before


def test_a_full_disk_is_not_a_clips_fault(project, monkeypatch: pytest.MonkeyPatch) -> None:
    write, run = project
    write(CLIPS)

    def full(record):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys.modules["stages.double"], "process", lambda job: each_clip(job, full))
    with pytest.raises(OSError, match="No space left"):
        run()


def test_a_full_disk_costs_no_store_entry_and_no_link_is_written_through(
    project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, run = project
    write(CLIPS)
    run()
    out = tmp_path / "data/tiny/double/hdtf/p-0.tar"
    cache, whole = tmp_path / "cache", out.read_bytes()
    cache.write_bytes(b"what DVC keeps")
    out.unlink()
    out.hardlink_to(cache)

    def full(source, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as no_space:
        no_space.setattr("stages.content_store.copy_sha256", full)
        with pytest.raises(OSError, match="No space left"):
            run()
    assert len(list(tmp_path.glob(".packs/double/*/pack.tar"))) == 3
    run()
    assert len(MADE) == 3 and out.read_bytes() == whole and cache.read_bytes() == b"what DVC keeps"


@pytest.mark.slow
def test_one_real_video_added_makes_one_pack_and_equals_from_scratch(shared: Path, tmp_path: Path) -> None:
    """Raw to speech for the start of five real clips, and of one more; all of them and whole: ``python -m
    benchmarks.added``.
    """
    names = ("EX_AndrewNg_000", "EX_AndrewNg_001", "EX_CnnAnchor_000", "EX_FAzSK8PLmGI_000", "EX_FeiFeiLi_000")
    videos = [shared / f"corpora/HDTF/clips/{name}.mp4" for name in names]
    found = compare(videos, shared / "corpora/GRID/bbaf2n.mpg", tmp_path, seconds=1.2, pack_clips=1)
    assert 1 <= found.touched <= 2  # its own, and the other half of a pack that was full: with a new name, of the store
    assert found.made == {stage: (6, 1) for stage in ("resample", "align", "masks", "lips", "speech")}
    assert found.different == []


def test_a_changed_byte_in_an_out_is_not_the_clips_fault(project, tmp_path: Path) -> None:
    write, run = project
    write(CLIPS)
    victim = tmp_path / "data/tiny/resample/hdtf/p-0.tar"
    data = bytearray(victim.read_bytes())
    data[600] ^= 1
    victim.write_bytes(bytes(data))
    with pytest.raises(
        PackError,
        match=r"p-0\.tar: hdtf_a\.frames\.npy is not what was written: changed bytes — make it again: dvc repro resample",
    ):
        run()
    assert not (tmp_path / "data/tiny/double/hdtf/index.parquet").exists()


def test_what_an_earlier_run_left_in_the_out_goes(project, tmp_path: Path) -> None:
    """A stage that is run by hand does not have its out removed first."""
    write, run = project
    write(CLIPS)
    run()
    before = hashes(tmp_path / "data/tiny/double")
    for name in (".p-0.tar.77.part", "p-9.tar"):
        (tmp_path / "data/tiny/double/hdtf" / name).write_bytes(b"left over")
    run()
    assert hashes(tmp_path / "data/tiny/double") == before


def test_reasons_do_not_say_where_this_machine_keeps_the_files(
    project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write, run = project
    write({"hdtf_a": ("Ann", "p-0", 3), "hdtf_b": ("Bob", "p-0", 3), "hdtf_c": ("Cy", "p-0", 3)})

    def unreadable(record):
        if record["clip"] == "hdtf_a":
            raise VideoError(f"{tmp_path}/raw/clips/a.mp4: no sound")
        return {"twice.npy": np.zeros(1)}

    monkeypatch.setattr(sys.modules["stages.double"], "process", lambda job: each_clip(job, unreadable))
    run(raw={"hdtf": f"{tmp_path}/raw"})
    assert pd.read_parquet("data/tiny/double/hdtf/quarantine.parquet")["detail"].tolist() == ["clips/a.mp4: no sound"]
