"""Every kind of bad file among good ones, through all of preprocessing: each stops with its own reason, the rest is
untouched.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from s3dnerf.reporting.membership import PACK_STAGES, membership
from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import RawSettings, Settings
from s3dnerf.video.packs import CorpusPacks
from stages.inventory import path_text
from tests.stages.bad_files import GOOD, KINDS, LISTED, make_bad, make_good
from tests.stages.running import run

Parts = dict[tuple[str, str, str], bytes]


def settings_of(raw: Path) -> Settings:
    tiny = preset_settings("tiny")
    ingest = dataclasses.replace(tiny.ingest, hdtf_test_speakers=(), max_failed_fraction=1.0, pack_clips=4)
    return dataclasses.replace(tiny, raw=RawSettings(str(raw), None, None, None), ingest=ingest)


def preprocess(folder: Path, settings: Settings) -> Parts:
    """Raw to speech with ``folder`` as the working directory; the bytes of every part: (stage, clip, kind)."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        run(settings, "inventory", "ingest", *PACK_STAGES)
        parts: Parts = {}
        for stage in PACK_STAGES:
            packs = CorpusPacks(settings.data_dir / stage / "hdtf")
            for row in packs.index.to_dict("records"):
                data = (packs.folder / f"{row['pack']}.tar").read_bytes()[row["offset"] :][: row["size"]]
                parts[stage, row["clip"], row["kind"]] = data
        return parts
    finally:
        os.chdir(before)


@dataclasses.dataclass
class Runs:
    """Preprocessing of the good files alone and with the bad ones: parts, and what became of each file and clip."""

    raw: Path
    alone: Parts
    among: Parts
    rows: list[dict[str, Any]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("bad")
    raw = folder / "raw"
    people = make_good(raw)
    for name in ("alone", "among"):
        (folder / name).mkdir()
    settings = settings_of(raw)
    alone = preprocess(folder / "alone", settings)
    make_bad(raw, people)
    among = preprocess(folder / "among", settings)
    return Runs(raw, alone, among, membership(folder / "among" / settings.data_dir, set(), (), {}).to_dict("records"))


def test_there_are_at_least_twenty_kinds_of_bad_file_and_many_reasons() -> None:
    bad = [kind for kind in KINDS if kind.stage]
    assert len(bad) >= 30 and len({kind.reason for kind in bad}) >= 17


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: ascii(kind.file))
def test_each_kind_stops_where_it_must_and_says_why(runs: Runs, kind) -> None:
    path = path_text(f"clips/{kind.file}")
    (file,) = (row for row in runs.rows if row["kind"] == "file" and row["path"] == path)
    clips = [row for row in runs.rows if row["kind"] == "clip" and row["path"] == path]
    if kind.stage == "ingest":
        assert (file["status"], file["reason"]) == ("excluded", kind.reason) and file["detail"] and not clips
    else:
        (clip,) = clips
        assert file["status"] == "used"
        assert (clip["status"], clip["stage"], clip["reason"]) == (
            "excluded" if kind.stage else "used",
            kind.stage,
            kind.reason,
        ), clip["detail"]
        assert bool(clip["detail"]) == bool(kind.stage)


def test_lists_that_point_nowhere_are_accounted_for(runs: Runs) -> None:
    found = {row["name"]: row["reason"] for row in runs.rows if row["kind"] == "clip"}
    assert {clip: found[clip] for clip in LISTED} == LISTED
    assert found["hdtf_RD_Whole_000"] == ""


def test_every_file_and_clip_is_accounted_for_once(runs: Runs) -> None:
    held = {
        path_text(str(Path(folder, name).relative_to(runs.raw)))
        for folder, _, names in os.walk(runs.raw)
        for name in names
    }
    files = [row["path"] for row in runs.rows if row["kind"] == "file"]
    assert sorted(files) == sorted(held)
    clips = [row["name"] for row in runs.rows if row["kind"] == "clip"]
    assert len(set(clips)) == len(clips)
    assert not [row for row in runs.rows if row["status"] == "unaccounted"]
    # the tables are the same wherever the files lie
    assert not [row["detail"] for row in runs.rows if str(runs.raw) in row["detail"]]


def test_the_good_ones_are_untouched_byte_for_byte(runs: Runs) -> None:
    good = {f"hdtf_{Path(name).stem}" for name in GOOD}
    assert {clip for _, clip, _ in runs.alone} == good and {stage for stage, _, _ in runs.alone} == set(PACK_STAGES)
    assert {where: data for where, data in runs.among.items() if where[1] in good} == runs.alone
