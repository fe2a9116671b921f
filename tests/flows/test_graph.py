"""``dvc.yaml`` lists what every stage uses, field by field, and the command that fills it in."""

from __future__ import annotations

from pathlib import Path

from flows.graph import data_read, differences, stage_of
from stages.code_lock import read_code

ROOT = Path(__file__).resolve().parents[2]


def test_dvc_yaml_lists_the_settings_and_the_code_of_every_stage() -> None:
    assert differences(ROOT / "dvc.yaml") == {}, "run: s3dnerf deps --write"


def test_the_graph_and_the_lock_of_a_run_stay_readable() -> None:
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) < 250
    assert (ROOT / "dvc.lock").stat().st_size < 30_000


def test_missing_and_needless_params_are_named_and_put_right(tmp_path: Path) -> None:
    path, code = tmp_path / "dvc.yaml", read_code()
    text = (ROOT / "dvc.yaml").read_text()
    path.write_text(text.replace("params: [lips.scale, ", "params: [lips.nothing, "))
    assert differences(path, code) == {"lips": (["lips.scale"], ["lips.nothing"])}
    path.write_text(path.read_text().replace("face_regions, framework, lips]", "framework, lips]"))
    assert differences(path, code)["lips"][0] == ["lips.scale", "stages/versions.yaml:face_regions"]
    differences(path, code, write=True)
    assert path.read_text() == text


def test_commands_name_their_stage() -> None:
    assert stage_of({"cmd": "python -m flows.run train_sync --part judge"}) == "train_sync"


def test_the_data_that_a_stage_reads_are_the_outs_below_its_deps() -> None:
    lock = {
        "ingest": {"data/tiny/ingest/hdtf": "1.dir", "data/tiny/align/lrs2": "2.dir", "data/tiny/align/hdtf": "6.dir"},
        "train_sync_expert": {"data/tiny/train_sync/expert": "3.dir"},
        "train_sync_judge": {"data/tiny/train_sync/judge": "4.dir"},
        "evaluate": {"data/tiny/evaluate": "5.dir"},
    }
    assert data_read("train_sync", "judge", "tiny", lock, ROOT / "dvc.yaml") == {"data/tiny/align/lrs2": "2.dir"}
    generator = data_read("train_s3dnerf", "full", "tiny", lock, ROOT / "dvc.yaml")
    assert generator == {
        "data/tiny/align/hdtf": "6.dir",
        "data/tiny/train_sync/expert": "3.dir",
        "data/tiny/ingest/hdtf": "1.dir",  # by its clips.parquet
    }
    read = data_read("evaluate", "", "tiny", lock, ROOT / "dvc.yaml").keys()
    assert read == {out for made in lock.values() for out in made} - {"data/tiny/evaluate"}
