"""Settings, graph and locks as editors and merges leave them: read, or one sentence that names the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flows.project_folder import FILES, check_files
from flows.provenance import read_lock
from s3dnerf.core.errors import SettingsError
from s3dnerf.core.text_files import TextFileError, read_text, text_of
from s3dnerf.core.yaml_text import YamlError, dump_yaml, read_yaml
from s3dnerf.settings.loading import experiment, load_settings, preset_settings
from stages.code_lock import LOCK, VERSIONS, CodeChanged, read_versions
from stages.code_lock import read_lock as read_code_lock
from tests.margins import SHARED

CONFLICT = "preset: tiny\n<<<<<<< HEAD\nseed: 1\n=======\nseed: 2\n>>>>>>> theirs\n"
SETTINGS = dump_yaml(experiment(preset_settings("tiny")))
SAVED = SHARED / "inputs" / "params_utf16.yaml"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["params.yaml", "local.yaml"])
def test_a_wide_encoding_is_refused_by_name(
    name: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(SETTINGS)
    Path(name).write_bytes(SETTINGS.encode(encoding))
    with pytest.raises(SettingsError, match=rf"^{name}: text in UTF-16 .* — save it as UTF-8$"):
        load_settings()


def test_the_file_that_a_person_had_is_refused_by_name() -> None:
    if not SAVED.is_file():
        pytest.skip("needs ../shared/inputs")
    with pytest.raises(SettingsError, match="params_utf16.yaml: text in UTF-16 .* save it as UTF-8"):
        load_settings(SAVED)


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(SETTINGS.encode("utf-8-sig"))
    (tmp_path / "local.yaml").write_bytes("tiny: {raw: {hdtf: /é}}\n".encode("utf-8-sig"))
    assert load_settings(tmp_path / "params.yaml").raw.hdtf == "/é"


def test_latin_1_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes("# settings\n# of André\n".encode("latin-1") + SETTINGS.encode())
    with pytest.raises(SettingsError, match=r"params.yaml: line 2: byte 0xe9 is not UTF-8 .* save the file as UTF-8"):
        load_settings(path)


@pytest.mark.parametrize("name", FILES)
def test_a_merges_conflict_is_named_with_its_line_and_the_way_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stages").mkdir()
    Path("params.yaml").write_text(SETTINGS)
    Path(name).write_text(CONFLICT)
    told = rf"{name}: line 2: a merge left two versions .* git checkout --ours .*{name}"
    readers = {
        "params.yaml": (load_settings,),
        "local.yaml": (load_settings,),
        "dvc.lock": (read_lock,),
        "dvc.yaml": (lambda: read_yaml("dvc.yaml"),),
        VERSIONS: (lambda: read_versions(tmp_path),),
        LOCK: (lambda: read_code_lock(tmp_path),),
    }[name]
    for read in (*readers, check_files):
        with pytest.raises((SettingsError, TextFileError), match=told):
            read()
    if name == "dvc.lock":
        with pytest.raises(TextFileError, match="then dvc repro"):
            read_lock()


@pytest.mark.parametrize("text", ["a: 1\n=======\n", "# <<<<<<< not a mark >>>>>>> either\n", "a: '>>>>>>> x'\n", ""])
def test_what_only_looks_like_a_conflict_is_read(text: str) -> None:
    assert text_of(text.encode(), "x") == text


def test_what_is_not_yaml_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("a: [")
    with pytest.raises(YamlError, match=r"dvc.lock: not YAML: "):
        read_lock(tmp_path / "dvc.lock")


def test_a_lock_that_holds_something_else_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "dvc.lock").write_text("- a\n")
    with pytest.raises(YamlError, match="dvc.lock: expected a mapping"):
        read_lock(tmp_path / "dvc.lock")
    for path, text, read in (
        (VERSIONS, "faces: two\n", read_versions),
        (VERSIONS, "- faces\n", read_versions),
        (LOCK, "[]", read_code_lock),
        (LOCK, "{}", read_code_lock),
    ):
        (tmp_path / path).write_text(text)
        with pytest.raises((CodeChanged, YamlError), match=path):
            read(tmp_path)


def test_a_folder_in_a_files_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(SettingsError, match="params.yaml: expected a file, found a folder"):
        load_settings(tmp_path / "params.yaml")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(SETTINGS)
    (tmp_path / "params.yaml").chmod(0)
    with pytest.raises(TextFileError, match="params.yaml: this user may not read it"):
        read_text(tmp_path / "params.yaml")
