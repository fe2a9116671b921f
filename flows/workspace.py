"""The main repository seen from its other working copies: a git worktree, or the folder of a DVC experiment.

``dvc exp run --temp`` and ``--queue`` run in a fresh copy of what git tracks, below ``.dvc/tmp/exps``. What git ignores
stays in the main repository: the store and the checkpoints (without them an experiment would make everything again),
Prefect's and MLflow's databases, this machine's ``local.yaml``, raw folders and weight files that are named relative to
the repository. A stage that runs in such a copy makes links to them; in the main repository nothing happens.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from s3dnerf.settings.schema import CORPORA, Settings

FOLDERS = (".packs", ".checkpoints", ".prefect", "mlartifacts")  # made where they are not there yet
FILES = ("mlflow.db", "local.yaml")
TIMES = Path(".timings")


def main_repository(folder: Path = Path()) -> Path:
    """The repository whose working copy ``folder`` is: another folder for an experiment (DVC_ROOT names the repository
    that it was started from) and for a git worktree; else ``folder`` itself. Absolute.
    """
    root, started_from = folder.resolve(), Path(os.environ.get("DVC_ROOT", ""))
    if (root / ".dvc").is_dir() and started_from.is_absolute() and root.is_relative_to(started_from / ".dvc" / "tmp"):
        root = started_from.resolve()
    try:
        kind, _, git = (root / ".git").read_text(encoding="utf-8").partition(": ")
        common = root / git.strip() / (root / git.strip() / "commondir").read_text(encoding="utf-8").strip()
    except OSError:  # .git is a folder, or there is none; a submodule's has no commondir
        return root
    return common.resolve().parent if kind == "gitdir" and common.resolve().name == ".git" else root


def working_copies(main: Path) -> list[Path]:
    """Every folder in which stages of this repository may run: itself, its git worktrees, its experiments' folders."""
    trees = []
    for note in sorted((main / ".git" / "worktrees").glob("*/gitdir")):
        trees.append((note.parent / note.read_text(encoding="utf-8").strip()).parent)
    experiments = sorted(place.parent for place in (main / ".dvc" / "tmp" / "exps").glob("**/.dvc"))
    return [main, *(place for place in [*trees, *experiments] if place.is_dir())]


def _drop_former_links(main: Path) -> None:
    """Remove this copy's links to where the main repository lay when they were made, where it was moved or copied
    since: what most of the links lead to, if that is another folder. A single link to elsewhere is the user's own.
    """
    links = {Path(name): Path(os.readlink(name)) for name in (*FOLDERS, *FILES) if os.path.islink(name)}
    roots = Counter(target.parent for target in links.values())
    former, count = roots.most_common(1)[0] if roots else (main, 0)
    if former != main and count > len(links) // 2 and count > 1:
        for link, target in links.items():
            if target.parent == former:
                link.unlink(missing_ok=True)


def _link(main: Path, names: Iterable[str | Path]) -> None:
    for name in names:
        link = Path(name)
        if link.is_symlink() and not link.exists() and (main / name).exists():  # moved since the link was made
            link.unlink(missing_ok=True)
        if not (link.exists() or link.is_symlink()):
            link.parent.mkdir(parents=True, exist_ok=True)
            try:
                link.symlink_to(main / name)
            except FileExistsError:  # another stage of this copy was first
                pass


def link_main() -> Path:
    """In another working copy: link what every stage needs of the main repository, wherever that lies by now. Returns
    the main repository.
    """
    main = main_repository()
    if main != Path.cwd():
        for name in FOLDERS:
            (main / name).mkdir(exist_ok=True)
        _drop_former_links(main)
        _link(main, [*FOLDERS, *FILES])
        if (main / TIMES).is_dir() and not TIMES.exists():
            shutil.copytree(main / TIMES, TIMES)  # a copy: what this one measures is its own
    return main


def seen_from_here(main: Path, settings: Settings) -> Settings:
    """Settings whose relative paths mean the main repository's files: raw folders become absolute, which no out depends
    on; weight files and other methods' videos, whose names are in outs, are linked.
    """
    from stages.weight_hashes import named_weights

    if main == Path.cwd():
        return settings
    named = {Path(path) for rows in named_weights(settings).values() for path in rows.values()}
    _link(main, sorted(path for path in named if not path.is_absolute() and (main / path).exists()))
    raw = {corpus: getattr(settings.raw, corpus) for corpus in CORPORA}
    # the synthetic corpora are made in each working copy, by the stage sample
    moved = {
        c: str(main / path) for c, path in raw.items() if path and not Path(path).is_relative_to(settings.data_dir)
    }
    return dataclasses.replace(settings, raw=dataclasses.replace(settings.raw, **moved))
