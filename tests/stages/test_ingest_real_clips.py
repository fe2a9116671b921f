"""Ingest on the real data beside the project: every file accounted for, nobody in two splits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import CORPORA, RawSettings
from tests.stages.running import run, table

STAGES = ("inventory", "ingest")


@pytest.mark.slow
def test_real_clips_are_all_accounted_for(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ``mini`` preset's corpora, and GRID's other container as portraits: however many files there are, each is
    used or named.
    """
    monkeypatch.chdir(tmp_path)
    mini = preset_settings("mini")
    roots = {
        **{name: shared / "corpora" / name.upper() for name in ("hdtf", "lrs2", "mead")},
        "portraits": shared / "corpora/GRID",
    }
    settings = dataclasses.replace(mini, raw=RawSettings(**{name: str(root) for name, root in roots.items()}))
    assert run(settings, *STAGES, "resample")["hdtf"]["quarantined"] == 0
    files = pd.concat([table(settings, "ingest", corpus, "files").assign(corpus=corpus) for corpus in CORPORA])
    there = {
        (name, str(path.relative_to(root)))
        for name, root in roots.items()
        for path in root.rglob("*")
        if path.is_file()
    }
    assert set(zip(files["corpus"], files["path"])) == there
    assert len(files) == len(there) == len(table(settings, "inventory", "files"))
    videos = files[files["role"] == "video"]
    assert set(videos["path"]) == {path for _, path in there if path.endswith((".mp4", ".mpg"))}
    clips = pd.concat([table(settings, "ingest", corpus, "clips") for corpus in CORPORA])
    used, left_out = videos[videos["status"] != "excluded"], videos[videos["status"] == "excluded"]
    assert set(zip(clips["corpus"], clips["video"])) == set(zip(used["corpus"], used["path"]))
    assert clips["clip"].is_unique and (left_out["reason"] != "").all()
    assert not left_out["path"].str.startswith("clips/").any()  # every clip of HDTF's is good
    # 0.84 s
    assert left_out.set_index("path")["reason"]["mvlrs_v1/main/0000000000000000004/00006.mp4"] == "too_short"
    _check_people_and_packs(table(settings, "ingest", "hdtf", "clips"), mini.ingest.clip_s, mini.ingest.pack_clips)
    assert table(settings, "ingest", "mead", "clips")["split"].tolist() == ["test"]
    resampled = sum(
        len(pd.read_parquet(settings.data_dir / "resample" / corpus / "quarantine.parquet")) for corpus in CORPORA
    )
    assert resampled == 0  # a real clip that ingest takes and resample refuses is worth a look


TEST_PEOPLE = (
    "AnnMarieBuerkle BobCorker ChrisVanHollen DebFischer German KatieHill KristiNoem MikeCrapo MikeThompson PaulRyan "
    "Radio2 Radio20 Radio21 VickyHartzler"
).split()


def _check_people_and_packs(hdtf: pd.DataFrame, clip_s: float, pack_clips: int) -> None:
    """Of ``../shared/DATA.md``: fourteen people are tested and all others train; one person under several names is in
    one split.
    """
    assert hdtf["duration_s"].between(1.0, clip_s).all() and len(hdtf) >= hdtf["video"].nunique()
    assert set(hdtf[hdtf["split"] == "test"]["speaker"]) == set(TEST_PEOPLE) and len(TEST_PEOPLE) == 14
    assert set(hdtf["split"]) == {"train", "test"} and (hdtf.groupby("speaker")["split"].nunique() == 1).all()
    rows = hdtf.set_index("clip")
    assert rows.loc["hdtf_RD_Radio8_000", "speaker"] == rows.loc["hdtf_RD_Radio2_000", "speaker"] == "Radio2"
    assert rows.loc["hdtf_EX_Macron_000-00", "start_s"] == 0.08
    assert (rows.loc["hdtf_WRA_MikeCrapo_000-00", ["width_px", "height_px", "fps_hz"]] == [256, 256, 25.0]).all()
    people = hdtf.groupby("video")["speaker"].first()
    for one, other in (
        ("EX_JebHensarling_000", "WRA_JebHensarling2_001"),
        ("EX_KevinMcCarthy_000", "WRA_KevinMcCarthy0_000"),
        ("EX_EdMarkey_000", "WDA_EdMarkey0_000"),
        ("WRA_GregWalden_000", "WRA_GregWalden1_000"),
    ):
        assert people[f"clips/{one}.mp4"] == people[f"clips/{other}.mp4"]
    clips_of, packs_of = hdtf.groupby("speaker")["clip"].nunique(), hdtf.groupby("speaker")["pack"].nunique()
    assert packs_of[clips_of <= pack_clips].max() == 1  # a person's clips stay together while they fit
    assert hdtf.groupby("pack")["clip"].nunique().max() <= pack_clips
