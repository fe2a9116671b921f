"""The branch that is trained, and what is pushed of a night."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import git_calls
from flows.retrain.branches import branch_to_train, default_branch, push_branch, remote_of
from flows.retrain.once import retrain_once
from flows.retrain.outcome import FAILED, PROMOTED
from s3dnerf.core.errors import SettingsError
from tests.flows.retrain.played import Played, champion, git, state


@pytest.fixture
def bare(tmp_path: Path, repository: Path) -> Path:
    """A bare git remote of the repository."""
    folder = tmp_path / "remote.git"
    git(tmp_path, "init", "-q", "--bare", "-b", "main", str(folder))
    git(repository, "remote", "add", "origin", str(folder))
    git(repository, "push", "-q", "origin", "main")
    return folder


def feature_branch(repository: Path) -> str:
    """A feature branch with a commit of its own, checked out. Returns the commit."""
    git(repository, "checkout", "-q", "-b", "feature")
    (repository / "params.yaml").write_text("seed: half done\n")
    git(repository, "commit", "-qam", "half done")
    return git(repository, "rev-parse", "HEAD")


def test_a_feature_branch_that_is_checked_out_is_not_trained(repository: Path, dvc: Played) -> None:
    feature, main = feature_branch(repository), git(repository, "rev-parse", "main")
    before = state(repository)
    outcome = retrain_once(repository)  # the feature's params.yaml is no settings at all
    assert outcome.status == PROMOTED and state(repository) == before
    assert git(repository, "rev-parse", f"{outcome.commit}^") == main
    assert feature not in git(repository, "rev-list", outcome.branch)


def test_the_branch_is_asked_for_by_name_by_environment_or_is_the_default(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = git(repository, "rev-parse", "main")
    feature = feature_branch(repository)
    monkeypatch.delenv("S3DNERF_RETRAIN_BRANCH", raising=False)
    assert branch_to_train(repository) == ("main", main)
    assert branch_to_train(repository, "feature") == ("feature", feature)
    monkeypatch.setenv("S3DNERF_RETRAIN_BRANCH", "feature")
    assert branch_to_train(repository) == ("feature", feature)
    assert branch_to_train(repository, "main") == ("main", main)


def test_the_default_is_the_remotes(repository: Path, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3DNERF_RETRAIN_BRANCH", raising=False)
    git(repository, "checkout", "-q", "-b", "trunk")
    git(repository, "commit", "-q", "--allow-empty", "-m", "more")
    git(repository, "push", "-q", "origin", "trunk")
    assert default_branch(repository) == "main"  # nothing says otherwise
    git(bare, "symbolic-ref", "HEAD", "refs/heads/trunk")
    git(repository, "remote", "set-head", "origin", "--auto")
    trunk = git(repository, "rev-parse", "trunk")
    assert branch_to_train(repository) == ("trunk", trunk)
    git(repository, "checkout", "-q", "main")
    git(repository, "branch", "-q", "-D", "trunk")
    assert branch_to_train(repository) == ("trunk", trunk)  # as the remote has it
    assert branch_to_train(repository, "origin/trunk") == ("origin/trunk", trunk)


@pytest.mark.parametrize("name", ["nowhere", "-x", "HEAD~0", "v1"])
def test_a_branch_that_does_not_exist_is_refused_in_one_sentence(repository: Path, dvc: Played, name: str) -> None:
    git(repository, "tag", "v1")
    with pytest.raises(SettingsError, match="accepted by --branch or S3DNERF_RETRAIN_BRANCH: main$"):
        branch_to_train(repository, name)
    outcome = retrain_once(repository, branch=name)
    assert outcome.status == FAILED and dvc.calls == [] and repr(name) in outcome.lines[0]


def test_the_nights_branch_is_pushed(repository: Path, dvc: Played, bare: Path) -> None:
    outcome = retrain_once(repository)
    assert outcome.status == PROMOTED and f"{outcome.branch} was pushed to origin" in outcome.lines
    assert git(bare, "rev-parse", outcome.branch) == outcome.commit
    assert "report.json" in git(bare, "ls-tree", "-r", "--name-only", outcome.branch)
    assert git(bare, "rev-parse", "main") == git(repository, "rev-parse", "main")


def test_without_a_remote_nothing_is_said(repository: Path, dvc: Played) -> None:
    assert not any("pushed" in line for line in retrain_once(repository).lines)


def test_a_push_that_fails_is_said_and_changes_nothing(repository: Path, dvc: Played, tmp_path: Path) -> None:
    git(repository, "remote", "add", "origin", str(tmp_path / "gone.git"))
    outcome = retrain_once(repository)
    assert outcome.status == PROMOTED and champion(repository).report_commit == outcome.commit
    assert any("was NOT pushed, it is in this repository alone: git push" in line for line in outcome.lines)


def test_a_push_that_gets_no_answer_ends(repository: Path, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = bare / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexec >/dev/null 2>&1\nsleep 8\n")
    hook.chmod(0o755)
    git(repository, "branch", "retrain/tiny/1")
    monkeypatch.setattr(git_calls, "TIMEOUT_S", 1.0)
    line = push_branch(repository, "retrain/tiny/1", "main")
    assert "was NOT pushed" in line and "gave no answer within 1 s" in line


def test_which_of_several_remotes(repository: Path, bare: Path) -> None:
    git(repository, "remote", "rename", "origin", "one")
    assert remote_of(repository) == "one"
    git(repository, "remote", "add", "two", str(bare))
    assert remote_of(repository) == ""
    git(repository, "branch", "retrain/tiny/1")
    assert "several git remotes, one, two: which one is not said" in push_branch(repository, "retrain/tiny/1", "main")
    git(repository, "config", "branch.main.remote", "two")
    assert remote_of(repository, "main") == "two"
    git(repository, "config", "remote.pushDefault", "one")
    assert remote_of(repository, "main") == "one"
