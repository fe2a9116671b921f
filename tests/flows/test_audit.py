"""Every preset's committed report can be verified, whichever preset is in force: a small repository with two of them."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flows.audit import report_at, run_verify, verify_command
from flows.provenance import git_state, outs_of, preset_lock
from s3dnerf.core.yaml_text import dump_yaml, load_yaml
from s3dnerf.reporting.document import manifest
from s3dnerf.reporting.report_files import MANIFEST, Finding
from s3dnerf.settings.loading import as_dict, preset_settings
from tests.reporting.small_report import make_report, rows_of

ROWS = rows_of(6)
REQUIREMENTS = b"numpy==2.0.1\n"


def git(*words: str) -> str:
    who = ["-c", "user.name=test", "-c", "user.email=test@test.invalid"]
    return subprocess.run(["git", *who, *words], capture_output=True, text=True, check=True).stdout.strip()


def commit(message: str) -> str:
    git("add", "-A")
    git("commit", "-qm", message)
    return git("rev-parse", "HEAD")


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def settings(preset: str) -> dict[str, Any]:
    values = as_dict(preset_settings(preset))
    values["evaluate"]["bootstrap"] = 100
    return values


def begin(preset: str, code: bytes) -> dict[str, Any]:
    """What a run of a preset leaves before its report: params.yaml, code, data and dvc.lock. Returns the lock."""
    Path("params.yaml").write_text(dump_yaml(settings(preset)))
    Path("requirements.lock").write_bytes(REQUIREMENTS)
    Path("code.py").write_bytes(code)
    Path("versions.yaml").write_bytes(b"decode: " + str(len(code)).encode() + b"\n")
    out = Path("data") / preset / "evaluate.bin"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(preset.encode())
    stage = {
        "cmd": "python -m flows.run evaluate",
        "deps": [{"path": "code.py", "hash": "md5", "md5": md5(code)}],
        "params": {"versions.yaml": {"decode": len(code)}},
        "outs": [{"path": out.as_posix(), "hash": "md5", "md5": md5(preset.encode())}],
    }
    report = {"cmd": "python -m flows.run report", "outs": [{"path": f"reports/{preset}", "md5": "0.dir"}]}
    lock = {"schema": "2.0", "stages": {"evaluate": stage, "report": report}}
    Path("dvc.lock").write_text(dump_yaml(lock))
    return lock


def finish(preset: str, lock: dict[str, Any]) -> None:
    """The report, as the stage writes it."""
    ours = preset_lock(lock, preset)
    origin = {"git": git_state(), "dvc_lock": outs_of(ours), "hardware": {}}
    origin |= {"lock_sha256": hashlib.sha256(REQUIREMENTS).hexdigest(), "packages": {"numpy": "2.0.1"}}
    report = make_report(preset, ROWS, settings=settings(preset), lock=ours, origin=origin)
    table = Path("data") / preset / "report/membership.parquet"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_bytes(report.files["membership.parquet"])
    write(preset, report.files)


def write(preset: str, files: dict[str, bytes]) -> None:
    files = {name: data for name, data in files.items() if name != MANIFEST}
    folder = Path("reports") / preset
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (files | {MANIFEST: manifest(files).encode()}).items():
        (folder / name).write_bytes(data)


def wrong(preset: str, without_data: bool = False) -> dict[str, str]:
    found = run_verify("HEAD", Path("reports") / preset, without_data)
    assert len(found) == (17 if without_data else 20)
    return {f.rule: f.detail for f in found if not f.passed}


@pytest.fixture(autouse=True)
def not_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """These reports are of made-up data: tests/test_graph.py makes real ones again."""
    monkeypatch.setattr("flows.audit.made_again", lambda report, in_force: Finding("made again", True, "not here"))


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository whose preset tiny was run and committed, and then, with other code, the preset sample."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    Path(".gitignore").write_text("/data\n")
    for preset, code in (("tiny", b"pass\n"), ("sample", b"pass  # better\n")):
        lock = begin(preset, code)
        commit(f"code of {preset}")
        finish(preset, lock)
        commit(f"report of {preset}")


def test_every_preset_s_report_holds_whichever_is_in_force(two: None) -> None:
    assert wrong("sample") == {} and wrong("tiny") == {}


def test_a_report_that_was_changed_after_it_was_committed_is_named(two: None) -> None:
    for preset in ("tiny", "sample"):
        for path in sorted(Path("reports", preset).iterdir()):
            whole = path.read_bytes()
            path.write_bytes(whole + b" ")
            assert str(path) in wrong(preset, without_data=True)["git"]
            path.write_bytes(whole)


def test_what_goes_with_a_report_is_looked_up_where_it_was_committed(two: None) -> None:
    """A lie told consistently in all of the report's files, manifest and git included: the params.yaml and dvc.lock that
    were committed with it, the code of the commit it was made on, and the data do not agree.
    """
    folder = Path("reports/tiny")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    document, lock, params = json.loads(files["report.json"]), load_yaml(files["lock.yaml"]), settings("tiny")
    git("checkout", "-q", "HEAD~2")  # the report of tiny has just been committed
    lies = {
        "lock": (document["origin"]["dvc_lock"]["evaluate"], "data/tiny/evaluate.bin", "f" * 32),
        "settings": (document["settings"]["train"], "steps", 9),
    }
    for rule, (holder, name, value) in lies.items():
        true, holder[name] = holder[name], value
        lock["stages"]["evaluate"]["outs"][0]["md5"] = document["origin"]["dvc_lock"]["evaluate"][
            "data/tiny/evaluate.bin"
        ]
        params["train"]["steps"] = document["settings"]["train"]["steps"]
        write("tiny", files | {"report.json": json.dumps(document).encode(), "lock.yaml": dump_yaml(lock).encode(),
                               "settings.yaml": dump_yaml(params).encode()})  # fmt: skip
        git("commit", "-qam", "a lie", "--amend")
        begin("sample", b"pass  # better\n")  # another preset is in force, whatever it was made with
        commit("on to sample")
        found = wrong("tiny", without_data=True)
        assert set(found) == {rule} and name in found[rule] and " of " in found[rule], found
        if rule == "lock":
            assert "data/tiny/evaluate.bin differs" in wrong("tiny")["data"]
        git("reset", "-q", "--hard", "HEAD~1")
        holder[name] = true


def test_code_that_is_not_that_of_the_commit_it_was_made_on_is_named(two: None) -> None:
    folder = Path("reports/tiny")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for part, value, said in (
        ("deps", [{"path": "code.py", "md5": "0" * 32}], "code.py in commit"),
        ("deps", [{"path": "gone.py", "md5": "0" * 32}], "gone.py is missing in commit"),
        ("params", {"versions.yaml": {"decode": 99}}, "versions.yaml: decode is 5 in commit"),
    ):
        lock = load_yaml(files["lock.yaml"])
        lock["stages"]["evaluate"][part] = value
        write("tiny", files | {"lock.yaml": dump_yaml(lock).encode()})
        assert said in wrong("tiny", without_data=True)["code"]


def test_code_in_force_that_moved_on_since_the_report_is_named(two: None) -> None:
    begin("sample", b"pass  # better still\n")
    Path("dvc.lock").write_bytes(subprocess.run(["git", "show", "HEAD:dvc.lock"], capture_output=True).stdout)
    commit("better still")
    found = wrong("sample")
    assert set(found) == {"code"} and "code.py in this folder is not" in found["code"]
    assert "versions.yaml: decode is 21 in this folder" in found["code"]
    assert wrong("tiny") == {}


def test_reports_committed_together_are_held_by_their_own_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    Path(".gitignore").write_text("/data\n")
    lock = begin("tiny", b"pass\n")
    commit("tiny")
    finish("tiny", lock)
    lock = begin("sample", b"pass\n")
    finish("sample", lock)
    commit("both")
    assert wrong("tiny") == {} and wrong("sample") == {}
    said = {f.rule: f.detail for f in run_verify("HEAD", Path("reports/tiny"), False)}
    assert "no commit has a params.yaml of it" in said["settings"] and "no commit has a dvc.lock" in said["lock"]
    (tmp_path / "data/tiny/evaluate.bin").write_bytes(b"other")
    assert set(wrong("tiny")) == {"data"}


def test_settings_or_a_lock_that_cannot_be_read_fail_their_rule(two: None) -> None:
    Path("params.yaml").write_text("a: [")
    assert {"settings", "git"} <= set(wrong("sample", without_data=True))
    git("checkout", "-q", "params.yaml")
    Path("dvc.lock").write_text("a: [")
    assert "dvc.lock cannot be read" in wrong("sample", without_data=True)["lock"]


def without_table(preset: str) -> Path:
    """The committed report without a membership table of its own, as that of a large corpus; where the table is."""
    files = {path.name: path.read_bytes() for path in Path("reports", preset).iterdir()}
    document = json.loads(files["report.json"])
    document["membership_table"]["in_report"] = False
    del files["membership.parquet"]
    (Path("reports") / preset / "membership.parquet").unlink()
    write(preset, files | {"report.json": json.dumps(document).encode()})
    commit("a large corpus")
    return Path(document["membership_table"]["path"])


def test_a_table_that_only_dvc_keeps_is_whole_changed_or_absent(two: None, capsys: pytest.CaptureFixture[str]) -> None:
    table = without_table("sample")
    whole = table.read_bytes()
    assert wrong("sample") == {} and verify_command("HEAD", Path("reports/sample"), False) == 0
    assert "PART" not in capsys.readouterr().out
    table.write_bytes(whole[:-1] + b"x")
    assert set(found := wrong("sample")) == {"data"} and f"{table} is not the table" in found["data"]
    table.unlink()
    assert set(found := wrong("sample")) == {"data"} and f"dvc pull {table} brings it" in found["data"]
    assert verify_command("HEAD", Path("reports/sample"), True) == 0
    said = capsys.readouterr().out
    assert said.count("PART") == 3 and "not checked in full: membership, people, accounted for" in said
    # as an earlier commit's table: DVC's cache has it, no file under data
    kept = Path(".dvc/cache/files/md5") / md5(whole)[:2] / md5(whole)[2:]
    kept.parent.mkdir(parents=True)
    kept.write_bytes(whole)
    assert report_at("HEAD", "sample").membership is not None
    kept.write_bytes(whole + b"x")
    assert report_at("HEAD", "sample").membership is None
