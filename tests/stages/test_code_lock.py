"""Versions and the code lock: every module in one part, every stage with the parts it reaches, changed code named."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from s3dnerf.settings.loading import preset_settings
from stages import code_lock, code_parts
from stages.code_lock import CodeChanged, changes, lock_of, read_code, read_lock, read_versions, require, stage_versions
from stages.code_parts import ALTERNATIVES, PARTS, STAGES, UnknownModule, part_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the code with its lock."""
    for package in ("s3dnerf", "stages"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def edit(tree: Path, file: str, before: str, after: str) -> None:
    text = (tree / file).read_text()
    assert before in text
    (tree / file).write_text(text.replace(before, after, 1))


def test_the_lock_is_of_this_code() -> None:
    require()  # what `check` does; when this fails, read its message


def test_every_module_that_decides_an_output_has_a_part_and_every_part_a_module() -> None:
    code = read_code()
    assert set(code.files) == set(PARTS) == set(read_versions())
    assert set(code.stages) == set(STAGES)


def test_a_stage_uses_the_parts_that_its_imports_reach() -> None:
    used = read_code().stages
    assert {"sync_networks", "train_sync"} <= set(used["train_sync"]) and "model" not in used["train_sync"]
    assert "train_sync" not in used["train_s3dnerf"] and "sync_networks" in used["train_s3dnerf"]
    assert "faces" not in used["lips"] and "decode" not in used["masks"]
    for stage in STAGES:
        assert part_of(f"stages.{stage}") in used[stage]


def test_of_backends_that_exclude_each_other_the_one_in_force_counts() -> None:
    tiny = preset_settings("tiny")
    other = dataclasses.replace(tiny, align=dataclasses.replace(tiny.align, backend="insightface"))
    assert "backends.dlib" in stage_versions("align", tiny) and "backends.insightface" not in stage_versions(
        "align", tiny
    )
    assert "backends.insightface" in stage_versions("align", other)
    for part, (field, value) in ALTERNATIVES.items():
        section, name = field.split(".")
        assert part in PARTS and value in type(getattr(tiny, section)).__dataclass_fields__[name].metadata["choices"]


def test_changed_code_is_named_with_its_part_its_stages_and_the_two_ways_on(tree: Path) -> None:
    with open(tree / "s3dnerf/sync/towers.py", "a") as handle:
        handle.write("\n\nADDED = 1\n")
    with pytest.raises(CodeChanged) as stopped:
        require(root=tree)
    text = str(stopped.value)
    assert "s3dnerf/sync/towers.py" in text and "sync_networks (stages train_sync, train_s3dnerf, evaluate" in text
    assert "s3dnerf code bump sync_networks" in text and "s3dnerf code keep sync_networks" in text
    require(("lips", "sample"), tree)  # whoever does not use it is not stopped


def test_docstrings_comments_and_annotations_are_no_change(tree: Path) -> None:
    edit(tree, "s3dnerf/settings/schema.py", '"""Typed settings', '"""The typed settings')
    edit(tree, "stages/lips.py", "OUTSIDE = 0.25", "# measured on real clips\nOUTSIDE = 0.25")
    edit(tree, "stages/lips.py", "size_px: int)", "size_px: float)")
    require(root=tree)


def test_a_new_module_a_new_import_and_a_version_raised_by_hand_are_seen(tree: Path) -> None:
    lock = read_lock(tree)
    (tree / "s3dnerf/faces/smoothing.py").write_text("x = 1\n")
    require(root=tree)  # nobody imports it
    edit(
        tree, "stages/lips.py", "import numpy as np\n", "import numpy as np\n\nfrom s3dnerf.faces.smoothing import x\n"
    )
    (tree / "stages/lips.py").write_text((tree / "stages/lips.py").read_text() + "\n\nY = x\n")
    found = {change.part: change for change in changes(read_code(tree), lock, read_versions(tree))}
    assert found["faces"].files == ("s3dnerf/faces/smoothing.py",)
    assert any("now uses faces" in str(c.files) for c in changes(read_code(tree), lock, read_versions(tree)))
    versions = read_versions(tree)
    raised = {c.part for c in changes(read_code(ROOT), read_lock(ROOT), versions | {"masks": versions["masks"] + 1})}
    assert raised == {"masks"}


def test_a_missing_or_broken_lock_or_version_is_said_plainly(tree: Path) -> None:
    (tree / "stages/code.lock").write_text("{")
    with pytest.raises(CodeChanged, match="not JSON"):
        require(root=tree)
    (tree / "stages/code.lock").unlink()
    with pytest.raises(CodeChanged, match="no such file"):
        require(root=tree)
    edit(tree, "stages/versions.yaml", "masks: ", "mask: ")
    with pytest.raises(CodeChanged, match="missing: masks.*no such part: mask"):
        read_versions(tree)


def test_templates_count_where_they_are_named() -> None:
    files = {file for named in read_code().files.values() for file in named}
    assert {f"s3dnerf/reporting/{name}" for name in ("page.html", "page.css", "page.js", "sheets.html")} <= files
    assert {part for part, named in read_code().files.items() if any(f.endswith(".html") for f in named)} == {"report"}


def test_an_unknown_package_must_be_placed(tree: Path) -> None:
    edit(tree, "stages/lips.py", "import numpy as np\n", "import numpy as np\nimport requests\n")
    with pytest.raises(UnknownModule, match="stages/lips.py imports requests"):
        read_code(tree)
    with pytest.raises(UnknownModule, match="flows.run"):
        part_of("flows.run")


def test_the_lock_s_bytes_follow_from_the_code_alone() -> None:
    assert lock_of(read_code(), read_versions()) == (ROOT / code_lock.LOCK).read_bytes()
    assert json.loads((ROOT / code_lock.LOCK).read_text())["stages"].keys() == set(code_parts.STAGES)
