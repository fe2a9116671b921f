"""``dvc.yaml`` lists the code of every stage, and the command that fills it in."""

from __future__ import annotations

import shutil
from pathlib import Path

from flows.graph import data_read, differences, is_code, module_of

ROOT = Path(__file__).resolve().parents[2]


def test_dvc_yaml_lists_the_import_closure_of_every_stage() -> None:
    assert differences(ROOT / "dvc.yaml") == {}, "run: s3dnerf deps --write"


def test_a_missing_and_a_needless_dep_are_named_and_put_right(tmp_path: Path) -> None:
    path = tmp_path / "dvc.yaml"
    text = (ROOT / "dvc.yaml").read_text()
    path.write_text(text.replace("- stages/lips.py\n", "- stages/nothing.py\n"))
    missing, extra = differences(path)["lips"]
    assert missing == ["stages/lips.py"] and extra == ["stages/nothing.py"]
    differences(path, write=True)
    assert differences(path) == {}
    twice = path.read_text().replace("- stages/lips.py\n", "- stages/lips.py\n    - stages/lips.py\n")
    path.write_text(twice)
    assert differences(path)["lips"] == ([], ["stages/lips.py"])
    differences(path, write=True)
    assert path.read_text().count("- stages/lips.py\n") == 1
    shutil.copy(ROOT / "dvc.yaml", path)
    before = path.read_text()
    differences(path, write=True)
    assert path.read_text() == before


def test_commands_name_their_module() -> None:
    assert module_of({"cmd": "python -m flows.run train_sync --part judge"}) == "stages.train_sync"
    assert is_code("s3dnerf/settings/schema.py") and not is_code("data/tiny/sample")


def test_the_data_that_a_stage_reads_are_the_outs_below_its_deps() -> None:
    lock = {
        "ingest": {"data/tiny/ingest/hdtf": "1.dir", "data/tiny/ingest/lrs2": "2.dir"},
        "train_sync_expert": {"data/tiny/train_sync/expert": "3.dir"},
        "train_sync_judge": {"data/tiny/train_sync/judge": "4.dir"},
        "evaluate": {"data/tiny/evaluate": "5.dir"},
    }
    assert data_read("train_sync", "judge", "tiny", lock, ROOT / "dvc.yaml") == {"data/tiny/ingest/lrs2": "2.dir"}
    generator = data_read("train_s3dnerf", "full", "tiny", lock, ROOT / "dvc.yaml")
    assert generator == {"data/tiny/ingest/hdtf": "1.dir", "data/tiny/train_sync/expert": "3.dir"}
    assert data_read("evaluate", "", "tiny", lock, ROOT / "dvc.yaml").keys() == {
        out for made in lock.values() for out in made
    } - {"data/tiny/evaluate"}
