"""Git and dvc in the worktree of retraining."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from flows.retrain import worktree
from flows.retrain.once import retrain_once
from flows.retrain.outcome import PROMOTED, RetrainError
from tests.flows.retrain.played import Played, git


def test_what_a_killed_run_left_in_the_worktree_is_cleaned(repository: Path, dvc: Played) -> None:
    retrain_once(repository)
    place = repository / worktree.PLACE
    (place / "params.yaml").write_text("half writ")
    (place / "stray.txt").write_text("x")
    dvc.weights = b"second"
    assert retrain_once(repository).status == PROMOTED
    assert not (place / "stray.txt").exists() and "stray" not in git(repository, "ls-tree", "-r", "--name-only", "HEAD")
    assert (place / "data").is_dir()  # what git ignores stays: only what is new is made again


def test_what_a_failed_run_left_in_an_out_does_not_stop_the_next_one_from_fetching(tmp_path: Path) -> None:
    """With the real dvc: a half-made out, of which no cache knows, stands where the remote's is to be put."""
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  one:\n    cmd: mkdir -p data && echo good > data/a\n    outs: [data]\n"
    )
    git(tmp_path, "init", "-q")
    for words in (["init", "-q"], ["remote", "add", "-d", "store", str(tmp_path / "remote")], ["repro"], ["push"]):
        worktree.dvc(tmp_path, tmp_path, *words, hours=1)
    (tmp_path / "data/a").write_text("half made")
    shutil.rmtree(tmp_path / ".dvc/cache")
    with pytest.raises(RetrainError, match="unsaved"):
        worktree.dvc(tmp_path, tmp_path, *(word for word in worktree.PULL if word != "--force"), hours=1)
    worktree.dvc(tmp_path, tmp_path, *worktree.PULL, hours=1)
    assert (tmp_path / "data/a").read_text() == "good\n"


def test_a_torn_rwlock_is_removed_and_a_whole_one_stays(tmp_path: Path) -> None:
    path = tmp_path / ".dvc" / "tmp" / "rwlock"
    worktree.mend_rwlock(tmp_path)  # none yet
    path.parent.mkdir(parents=True)
    for text, kept in (('{"a": {"read": []}}', True), ("", False), ('{"a": {"re', False)):
        path.write_text(text)
        worktree.mend_rwlock(tmp_path)
        assert path.is_file() == kept


def test_a_dvc_that_takes_too_long_is_ended_with_its_stage(tmp_path: Path) -> None:
    command = 'python -c \'import time; print(1, flush=True); open("begun", "w"); time.sleep(300)\''
    (tmp_path / "dvc.yaml").write_text(f"stages:\n  one:\n    cmd: {command}\n")
    git(tmp_path, "init", "-q")
    worktree.dvc(tmp_path, tmp_path, "init", "-q", hours=1)
    begun = time.monotonic()
    with pytest.raises(RetrainError, match=r"dvc repro took longer than 0.003 h and was ended; so far:\n"):
        worktree.dvc(tmp_path, tmp_path, "repro", hours=0.003)
    assert time.monotonic() - begun < 120


def test_the_lines_of_dvc_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "flows")
    git(tmp_path, "init", "-q")
    worktree.dvc(tmp_path, tmp_path, "init", hours=1)
    assert "Initialized DVC repository." in caplog.text


def test_the_first_night_makes_nothing_that_the_main_checkout_has(tmp_path: Path) -> None:
    """With the real dvc: the worktree checks out of the main checkout's cache what ``dvc.lock`` names."""
    main = tmp_path / "main"
    main.mkdir()
    command = f"echo made >> {tmp_path / 'runs'} && mkdir -p data && cp raw data/a"
    (main / "dvc.yaml").write_text(f"stages:\n  one:\n    cmd: {command}\n    deps: [raw]\n    outs: [data]\n")
    (main / "raw").write_text("good\n")
    git(main, "init", "-q", "-b", "main")
    for words in (["init", "-q"], ["repro", "-q"]):
        worktree.dvc(main, main, *words, hours=1)
    git(main, "add", "-A")
    git(main, "commit", "-qm", "made")
    shutil.rmtree(main / ".dvc/cache/runs")  # a clone that pulled has none
    place = worktree.worktree(main, "main")
    worktree.share_cache(place, main)
    assert worktree.dvc_answer(place, main, "cache", "dir") == str(main / ".dvc/cache")
    assert not worktree.has_remote(place, main)
    worktree.seed(place, main, hours=1)
    assert (place / "data/a").read_text() == "good\n"
    worktree.dvc(place, main, "repro", hours=1)
    assert (tmp_path / "runs").read_text() == "made\n" and not (place / ".dvc/cache").exists()
    assert git(place, "status", "--porcelain") == ""
    (place / "data/a").write_text("of a later night")
    worktree.seed(place, main, hours=1)  # the first night alone
    assert (place / "data/a").read_text() == "of a later night"


def test_a_quick_dvc_command_that_fails_or_does_not_answer_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RetrainError, match="dvc cache dir failed: ERROR: configuration error"):
        worktree.share_cache(tmp_path, tmp_path)
    monkeypatch.setattr(worktree, "QUICK_S", 0.01)
    with pytest.raises(RetrainError, match=r"dvc cache dir gave no answer within 0.01 s"):
        worktree.share_cache(tmp_path, tmp_path)
