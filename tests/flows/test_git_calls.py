"""What git refuses is passed on with its advice: never read as "there is no revision"."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.audit import run_verify
from flows.code_copies import copy_revision, copy_working_tree
from flows.git_calls import BEGIN, GitError, NoHistory, git, git_text, shallow_hint
from flows.provenance import git_state
from flows.retrain.once import retrain_once
from flows.retrain.outcome import FAILED
from s3dnerf.reporting.report_files import ReportError

ROOT = Path(__file__).resolve().parents[2]
WHO = ["-c", "user.name=test", "-c", "user.email=test@test.invalid"]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of two commits, as the working directory."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_CEILING_DIRECTORIES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # no safe.directory of whoever runs the tests
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    folder = tmp_path / "repository"
    folder.mkdir()
    git_text(folder, "init", "-q")
    for text in ("one", "two"):
        (folder / "file").write_text(text)
        (folder / "params.yaml").write_text("preset: tiny\n")
        git_text(folder, "add", "-A")
        git_text(folder, *WHO, "commit", "-qm", text)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def of_somebody_else(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, and git takes every folder for another user's (a switch that git has for its own tests)."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    done = subprocess.run(["git", "status"], capture_output=True, text=True)
    assert "dubious ownership" in done.stderr
    return repository


def test_a_revision_and_whether_files_changed(repository: Path) -> None:
    assert git_state() == {"revision": git_text(repository, "rev-parse", "HEAD"), "dirty": False}
    (repository / "file").write_text("three")
    assert git_state()["dirty"] is True


def test_before_the_first_commit_and_without_a_repository_there_is_no_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state() == {"revision": None, "dirty": None}
    git_text(tmp_path, "init", "-q")
    assert git_state() == {"revision": None, "dirty": False}


def test_a_damaged_repository_is_not_read_as_no_revision(repository: Path) -> None:
    head = git_text(repository, "rev-parse", "HEAD")
    (repository / ".git/objects" / head[:2] / head[2:]).unlink()
    with pytest.raises(GitError, match="git status --porcelain: fatal: "):
        git_state()


def test_a_checkout_of_another_user_is_passed_on_with_gits_advice(of_somebody_else: Path) -> None:
    advice = f"git config --global --add safe.directory {of_somebody_else}"
    for ask in (
        git_state,
        lambda: run_verify("HEAD", Path("reports/tiny"), without_data=True),
        lambda: copy_revision(of_somebody_else, of_somebody_else / "copy"),
        lambda: copy_working_tree(of_somebody_else, of_somebody_else / "copy"),
        lambda: shallow_hint(of_somebody_else),
    ):
        with pytest.raises(GitError, match="belongs to another user") as refused:
            ask()
        assert advice in str(refused.value)
    outcome = retrain_once(of_somebody_else)
    assert outcome.status == FAILED and advice in "\n".join(outcome.lines)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to give a folder to another user")
def test_a_folder_that_really_belongs_to_another_user(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)  # git lets sudo's caller in
    for path in (repository, repository / ".git"):
        os.chown(path, 54321, 54321)
    with pytest.raises(GitError, match="safe.directory"):
        git_state()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["check", "report"])
def test_a_stage_stops_before_any_work_where_git_refuses(stage: str, of_somebody_else: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "S3DNERF_RUNNER": "inline", "S3DNERF_TRACKING": "off"}
    command = [sys.executable, "-m", "flows.run", stage]
    done = subprocess.run(command, cwd=of_somebody_else, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "safe.directory" in done.stderr and "Traceback" not in done.stderr
    assert not (of_somebody_else / "data").exists()


def test_a_folder_without_a_history_says_how_to_begin_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(NoHistory, match="clone the project instead"):
        run_verify("HEAD", Path("reports/tiny"), without_data=True)
    with pytest.raises(NoHistory) as told:
        git(tmp_path, "status")
    assert BEGIN in str(told.value) and str(tmp_path) in str(told.value)


def test_a_worktree_whose_repository_was_moved_is_no_folder_without_a_history(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_text(repository, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"))
    repository.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "tree")
    with pytest.raises(GitError, match="git worktree repair") as told:
        git_state()
    assert not isinstance(told.value, NoHistory)


def test_without_git_installed_it_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    with pytest.raises(GitError, match="git is not installed"):
        git_state()


def test_a_shallow_clone_says_how_to_fetch_the_rest(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = git_text(repository, "rev-parse", "HEAD~1")
    clone = repository.parent / "clone"
    git_text(repository, "clone", "-q", "--depth", "1", f"file://{repository}", str(clone))
    with pytest.raises(ReportError) as whole:
        run_verify("0" * 40, Path("reports/tiny"), without_data=True)
    monkeypatch.chdir(clone)
    with pytest.raises(ReportError, match="git fetch --unshallow"):
        run_verify(first, Path("reports/tiny"), without_data=True)
    assert "unshallow" not in str(whole.value)
