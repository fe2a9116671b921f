"""The main repository seen from a git worktree and from the folder of an experiment."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from flows.retrain.worktree import PLACE, reattach, worktree
from flows.workspace import link_main, main_repository, seen_from_here, working_copies
from s3dnerf.settings.loading import preset_settings, settings_from

ROOT = Path(__file__).resolve().parents[2]


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=test", "-c", "user.email=test@test.invalid"]
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a file of every kind that git ignores."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    folder = tmp_path / "main"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    for name in (".dvc/config", ".packs/align/k/pack.tar", "weights/vgg.npz", "raw/HDTF/a.mp4", ".timings/tiny/x.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    git(folder, "add", ".gitignore", ".dvc")
    git(folder, "commit", "-qm", "main")
    return folder


@pytest.fixture(params=["worktree", "experiment"])
def copy(request: pytest.FixtureRequest, main: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another working copy, as the working directory: what git tracks is in it, nothing else."""
    if request.param == "worktree":
        folder = main.parent / "tree"
        git(main, "worktree", "add", "-q", "--detach", str(folder))
    else:
        folder = main / ".dvc/tmp/exps/standalone/tmp1"
        folder.parent.mkdir(parents=True)
        git(main, "clone", "-q", str(main), str(folder))
        monkeypatch.setenv("DVC_ROOT", str(main))
    monkeypatch.chdir(folder)
    return folder


def test_the_main_repository_is_found(main: Path, copy: Path) -> None:
    assert main_repository() == main and set(working_copies(main)) == {main, copy}


def test_a_repository_is_its_own(main: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(main)
    assert link_main() == main and not any(path.is_symlink() for path in main.rglob("*"))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))  # of a dvc that runs another project, whose stage this one is not
    assert main_repository() == main
    monkeypatch.setenv("DVC_ROOT", str(main))
    assert main_repository() == main and main_repository(tmp_path) == tmp_path
    sub = main / "library"  # a submodule has a .git file as well
    sub.mkdir()
    (main / ".git/modules/library").mkdir(parents=True)
    (sub / ".git").write_text("gitdir: ../.git/modules/library\n")
    assert main_repository(sub) == sub


def test_what_git_ignores_is_seen_from_the_copy_and_changes_nothing_in_git(main: Path, copy: Path) -> None:
    assert link_main() == main and link_main() == main
    assert (copy / ".packs/align/k/pack.tar").read_text() == ".packs/align/k/pack.tar"
    for name in (".packs/new", ".checkpoints/new", "mlflow.db", ".prefect/new"):
        (copy / name).write_text("made in the copy")
        assert (main / name).read_text() == "made in the copy"
    (copy / ".timings/tiny/x.json").write_text("its own")
    assert (main / ".timings/tiny/x.json").read_text() == ".timings/tiny/x.json"
    assert git(copy, "status", "--porcelain").replace("?? local.yaml\n", "") == ""


def test_what_the_copy_has_itself_stays(main: Path, copy: Path) -> None:
    (copy / ".packs").mkdir()
    link_main()
    assert not (copy / ".packs").is_symlink() and list((copy / ".packs").iterdir()) == []


def test_relative_paths_in_the_settings_mean_the_main_repository(main: Path, copy: Path) -> None:
    settings = preset_settings("tiny")
    given = settings_from({
        "preset": "tiny",
        "raw": {"hdtf": "raw/HDTF", "lrs2": "/raw/LRS2", "mead": settings.raw.mead, "portraits": None},
        "train": {"perceptual": "vgg19", "vgg_weights": "weights/vgg.npz"},
        "evaluate": {"methods": "data/methods"},
    })  # fmt: skip
    seen = seen_from_here(link_main(), given)
    assert seen.raw.hdtf == str(main / "raw/HDTF") and seen.raw.lrs2 == "/raw/LRS2"
    assert seen.raw.mead == settings.raw.mead and seen.raw.portraits is None  # made by the stage sample, in each copy
    assert seen.train == given.train and (copy / "weights/vgg.npz").read_text() == "weights/vgg.npz"
    assert not (copy / "data").exists()  # there is no such folder in the main repository either
    assert seen_from_here(copy, given) == given


@pytest.mark.parametrize("copied", [False, True], ids=["moved", "copied"])
def test_links_follow_a_main_repository_that_was_moved_or_copied(
    copied: bool, main: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worktree inside of the repository, as retraining keeps one, goes with it."""
    tree = main / ".worktrees/tree"
    git(main, "worktree", "add", "-q", "--detach", str(tree))
    monkeypatch.chdir(tree)
    (tree / "mlartifacts").symlink_to(main.parent)  # the user's own
    given = settings_from({"preset": "tiny", "train": {"perceptual": "vgg19", "vgg_weights": "weights/vgg.npz"}})
    seen_from_here(link_main(), given)
    second = main.parent / "second"
    shutil.copytree(main, second, symlinks=True) if copied else main.rename(second)
    tree = second / ".worktrees/tree"
    monkeypatch.chdir(tree)
    reattach(second, tree)
    assert main_repository() == second
    assert seen_from_here(link_main(), given).train == given.train
    for name in (".packs", ".checkpoints", ".prefect", "mlflow.db", "local.yaml"):
        assert Path(os.readlink(tree / name)) == second / name
    assert (tree / "weights/vgg.npz").read_text() == "weights/vgg.npz"
    assert Path(os.readlink(tree / "mlartifacts")) == main.parent


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("copied", [False, True], ids=["moved", "copied"])
def test_a_worktree_goes_with_its_repository_and_leaves_the_original_alone(
    copied: bool, pruned: bool, main: Path, tmp_path: Path
) -> None:
    place = worktree(main, git(main, "rev-parse", "HEAD").strip())
    (place / "data").mkdir()
    (place / "data" / "made").write_text("made")
    second = tmp_path / "second"
    shutil.copytree(main, second, symlinks=True) if copied else main.rename(second)
    notes = {path: path.read_bytes() for path in main.rglob("*") if path.is_file()} if copied else {}
    if pruned:
        shutil.rmtree(second / ".git/worktrees/retrain")
    git(second, "commit", "-q", "--allow-empty", "-m", "second")
    head = git(second, "rev-parse", "HEAD").strip()
    assert worktree(second, head) == second / PLACE
    assert git(second / PLACE, "rev-parse", "HEAD").strip() == head
    assert Path(git(second / PLACE, "rev-parse", "--git-common-dir").strip()) == second / ".git"
    assert str(second / PLACE) in git(second, "worktree", "list") and git(second / PLACE, "status", "--porcelain") == ""
    assert (second / PLACE / "data" / "made").read_text() == "made"
    assert {path: path.read_bytes() for path in main.rglob("*") if path.is_file()} == notes
