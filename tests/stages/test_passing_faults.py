"""Faults of the machine in the middle of preprocessing: retried, then the stage fails; never quarantined, never kept.

Three short real-looking videos go through ``inventory``, ``ingest``, ``resample`` and ``align``; one of the four uses of
the decoder and of ffmpeg, the memory, the mount or a raw file fails.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import RawSettings, Settings
from s3dnerf.video.encoding import ffmpeg_path
from s3dnerf.video.packs import file_sha256
from tests.fake_ffmpeg import fake_ffmpeg
from tests.stages.bad_files import make_good
from tests.stages.running import run

STAGE_OF = {"probe": "ingest", "sound": "resample", "frames": "align", "encode": "align"}
BEFORE = {"ingest": ("inventory",), "resample": ("inventory", "ingest"), "align": ("inventory", "ingest", "resample")}
FAILED = (RuntimeError, OSError, MemoryError)


def out_hashes(folder: Path, stage: str) -> dict[str, str]:
    out = folder / "data/tiny" / stage
    return {str(path.relative_to(out)): file_sha256(path) for path in sorted(out.rglob("*")) if path.is_file()}


@dataclasses.dataclass
class Project:
    """A working directory with raw files, and the settings that name them; ``done``: the same, undisturbed to align."""

    folder: Path
    settings: Settings
    done: Path

    def to(self, stage: str) -> None:
        """Everything before ``stage``, undisturbed: its outs and the store's entries, as they were made once."""
        for place in ("data/tiny", ".packs"):
            for earlier in BEFORE[stage]:
                if (self.done / place / earlier).is_dir():
                    shutil.copytree(self.done / place / earlier, self.folder / place / earlier)
        forget()

    def equals_undisturbed(self, stage: str) -> bool:
        return out_hashes(self.folder, stage) == out_hashes(self.done, stage)

    def kept(self, stage: str) -> list[Path]:
        """What the store has of a stage."""
        return sorted((self.folder / ".packs" / stage).glob("*"))


def forget() -> None:
    """What this process and its decoder remember of files, as new ones would not."""
    from s3dnerf.video import decoder, probing
    from stages import resample

    decoder.close_decoders()
    probing._probe.cache_clear()
    resample._whole_sound.cache_clear()


def settings_of(raw: str) -> Settings:
    tiny = preset_settings("tiny")
    ingest = dataclasses.replace(tiny.ingest, hdtf_test_speakers=(), pack_clips=1, max_failed_fraction=1.0)
    return dataclasses.replace(tiny, raw=RawSettings(raw, None, None, None), ingest=ingest)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw files, and what undisturbed runs make of them."""
    folder = tmp_path_factory.mktemp("done")
    make_good(folder / "raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(settings_of("raw"), *BEFORE["align"], "align")
    return folder


@pytest.fixture
def project(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    shutil.copytree(done / "raw", tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stages.passing_faults.DELAY_S", 0.01)
    forget()
    yield Project(tmp_path, settings_of("raw"), done)
    ffmpeg_path.cache_clear()
    forget()


@pytest.mark.parametrize("use", STAGE_OF)
@pytest.mark.parametrize("fault", ["killed", "no memory"])
def test_a_fault_that_passes_costs_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, use: str, fault: str
) -> None:
    stage = STAGE_OF[use]
    project.to(stage)
    count = fake_ffmpeg(tmp_path, monkeypatch, fault, use, times=2)
    run(project.settings, stage)
    assert int(count.read_text()) > 2, "ffmpeg was not used"
    assert project.equals_undisturbed(stage)


@pytest.mark.parametrize("use", STAGE_OF)
@pytest.mark.parametrize("fault", ["killed", "no memory"])
def test_a_fault_that_stays_fails_the_stage_names_the_file_and_keeps_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, use: str, fault: str
) -> None:
    stage = STAGE_OF[use]
    project.to(stage)
    with monkeypatch.context() as broken:
        fake_ffmpeg(tmp_path, broken, fault, use)
        what = "SIGKILL" if fault == "killed" else "Cannot allocate memory"
        with pytest.raises(FAILED, match=rf"{stage}: .*(RD_Ames_000|WDA_Keller_000|RD_Boone_000).*{what}.*4 tries"):
            run(project.settings, stage)
    assert project.kept(stage) == [] and not list(Path("data/tiny", stage).rglob("index.parquet"))
    ffmpeg_path.cache_clear()
    forget()
    run(project.settings, stage)
    assert project.equals_undisturbed(stage)


@pytest.mark.parametrize("use", STAGE_OF)
def test_an_ffmpeg_that_hangs_is_ended_and_fails_the_stage(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, use: str
) -> None:
    stage = STAGE_OF[use]
    project.to(stage)
    monkeypatch.setattr("s3dnerf.video.child.PATIENCE_S", 0.3)
    monkeypatch.setattr("s3dnerf.video.child.PATIENCE_S_PER_MB", 0.0)
    fake_ffmpeg(tmp_path, monkeypatch, "hangs", use)
    with pytest.raises(FAILED, match=rf"{stage}: .*(took more than|did not move on for).*4 tries"):
        run(project.settings, stage)
    assert project.kept(stage) == []


FAULTS = {
    "MemoryError": MemoryError(),
    "ENOMEM": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "torch": RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory"),
    "a lost mount": OSError(errno.ENOTCONN, "Transport endpoint is not connected"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("times", [2, 10**6])
def test_no_memory_is_not_the_clips_fault(
    project: Project, monkeypatch: pytest.MonkeyPatch, fault: str, times: int
) -> None:
    from stages import resample

    project.to("resample")
    make, left = resample.make_clip, [times]

    def failing(job, record):
        left[0] -= 1
        if left[0] >= 0:
            raise FAULTS[fault]
        return make(job, record)

    monkeypatch.setattr(resample, "make_clip", failing)
    if times == 2:
        run(project.settings, "resample")
        assert project.equals_undisturbed("resample")
    else:
        with pytest.raises(FAILED, match=r"resample: clip hdtf_\w+: .*4 tries"):
            run(project.settings, "resample")
        assert project.kept("resample") == []


@pytest.mark.parametrize("stage", ["ingest", "resample", "align"])
def test_a_mount_that_is_gone_is_not_the_clips_fault(project: Project, stage: str) -> None:
    project.to(stage)
    Path("raw").rename("elsewhere")
    with pytest.raises(FAILED, match="though the inventory has the file: is its disk or mount still there"):
        run(project.settings, stage)
    assert project.kept(stage) == []
    Path("elsewhere").rename("raw")
    run(project.settings, stage)
    assert project.equals_undisturbed(stage)


@pytest.mark.parametrize("stage", ["ingest", "resample", "align"])
@pytest.mark.parametrize("exchanged", ["video", "garbage"])
def test_a_raw_file_exchanged_since_the_inventory_stops_the_stage(project: Project, stage: str, exchanged: str) -> None:
    """Nothing of the new file is kept under the old one's key, not even that it cannot be read."""
    project.to(stage)
    victim = Path("raw/clips/RD_Ames_000.mp4")
    before, old = victim.read_bytes(), victim.stat()
    victim.write_bytes(Path("raw/clips/RD_Boone_000.mp4").read_bytes() if exchanged == "video" else b"x" * len(before))
    with pytest.raises(FAILED, match=r"RD_Ames_000.mp4: changed since the inventory .*run dvc repro again"):
        run(project.settings, stage)
    victim.write_bytes(before)
    os.utime(victim, ns=(old.st_atime_ns, old.st_mtime_ns))
    forget()
    run(project.settings, stage)
    assert project.equals_undisturbed(stage)


def test_a_raw_file_that_was_only_touched_is_still_the_same(project: Project) -> None:
    project.to("resample")
    for video in Path("raw/clips").iterdir():
        os.utime(video, (1e9, 1e9))
    run(project.settings, "resample")
    assert project.equals_undisturbed("resample")


def test_a_file_that_really_is_damaged_is_still_quarantined(project: Project) -> None:
    victim = Path("raw/clips/RD_Ames_000.mp4")
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    run(project.settings, "inventory", "ingest")
    excluded = pd.read_parquet("data/tiny/ingest/hdtf/excluded.parquet")
    assert excluded["reason"].tolist() == ["unreadable"] and "RD_Ames" in excluded["clip"][0]


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_disk_that_fails_under_the_inventory_excludes_no_file(
    project: Project, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(path: str) -> str:
        raise OSError(number, os.strerror(number), path)

    with monkeypatch.context() as broken:
        broken.setattr("stages.inventory.hash_and_kind", failing)
        with pytest.raises(FAILED, match=r"raw/clips/\w+\.mp4"):
            run(project.settings, "inventory")
    assert not Path("data/tiny/inventory/files.parquet").exists()
    run(project.settings, "inventory", "ingest")
    assert project.equals_undisturbed("ingest")
