"""The project that a command is about: the folder that it was typed in, or the nearest one above, as git looks for it.

Everything else names files relative to the project, so a command goes there first. What a person names by a relative
path means relative to where they are: :meth:`Start.path` says the same file from the project.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3dnerf.core.errors import SettingsError
from s3dnerf.core.text_files import read_text
from s3dnerf.core.yaml_text import YamlError, load_yaml

GRAPH, SETTINGS, LOCK = "dvc.yaml", "params.yaml", "dvc.lock"
FILES = (GRAPH, SETTINGS, LOCK, "local.yaml", "stages/versions.yaml", "stages/code.lock")
CODE = Path(__file__).resolve().parent.parent


class HalfLock(SettingsError):
    """``dvc.lock`` was left half written."""


class NoProject(SettingsError):
    """Neither the folder a command was typed in nor one above it is a project."""


def project_above(start: Path, holds: tuple[str, ...] = (GRAPH, SETTINGS)) -> Path | None:
    """The project that a folder lies in: itself where it holds settings or a graph, else the nearest folder above that
    holds all of ``holds``; None outside of any.
    """
    if any((start / name).exists() for name in (GRAPH, SETTINGS)):
        return start
    return next((place for place in start.parents if all((place / name).exists() for name in holds)), None)


@dataclass(frozen=True)
class Start:
    """Where a command was typed, and the project it is about, which is the working directory since."""

    folder: Path
    project: Path

    def path(self, given: Path) -> Path:
        """A path that a person typed, for use from the project: as it is where they are in it, else absolute."""
        return given if self.folder == self.project else self.folder / given

    def word(self, given: str) -> str:
        """The same for a word that is a path only where there is such a file (a head motion, a revision)."""
        return str(self.path(Path(given))) if (self.folder / given).exists() else given


def enter_project(needed: bool = True, holds: tuple[str, ...] = (GRAPH, SETTINGS)) -> Start:
    """Go to the project. Raises NoProject where there is none and one is ``needed``; else all stays as it is."""
    here = Path.cwd()
    project = project_above(here, holds)
    if project is None:
        if needed:
            raise NoProject(
                f"{here}: no project here or in a folder above (expected {' and '.join(holds)}): go to the project's "
                "folder, or to one inside of it"
            )
        project = here
    os.chdir(project)
    if (project / "flows" / "cli.py").is_file() and project.resolve() != CODE:
        todo = "to run that, `make setup` there, or python -m flows.cli"
        print(f"s3dnerf: this is the code of {CODE}, at work on {project}, which has its own: {todo}", file=sys.stderr)
    return Start(here, project)


def check_checkout(code: Path = CODE) -> None:
    """Raises NoProject where the code that runs is an installed package, without a graph that could be changed."""
    if not (code / GRAPH).is_file():
        raise NoProject(f"{code}: an installed package, expected a checkout of the project with its {GRAPH}: clone it")


def check_files() -> None:
    """Look at the files that describe this project, where they are there. Raises TextFileError for one in another
    encoding than UTF-8, or with a conflict that a merge left: what reads it later would name a byte or a key.
    """
    for name in FILES:
        if Path(name).exists():
            text = read_text(name, "dvc repro, which puts it right" if name == LOCK else "")
            if name == LOCK and not _whole_lock(text):
                raise HalfLock(
                    f"{name}: half a file (dvc writes it in place, and was killed): git checkout {name}, then dvc "
                    "repro; what was made is taken from the store"
                )


def _whole_lock(text: str) -> bool:
    """Whether a ``dvc.lock`` holds what dvc asks of each stage."""
    try:
        stages = (load_yaml(text) or {}).get("stages", {})
        return all("cmd" in entry for entry in stages.values())
    except (YamlError, AttributeError, TypeError):
        return False


def at_project(
    command: Callable[..., int],
    needed: bool = True,
    holds: tuple[str, ...] = (GRAPH, SETTINGS),
    unless: str = "",
    words: tuple[str, ...] = (),
) -> Callable[..., int]:
    """A command that runs in its project's folder, with the paths that a person typed meant from where they are.

    Parameters
    ----------
    needed : bool
        Whether it makes no sense outside of a project.
    holds : tuple of str
        What a folder above must hold to be the project.
    unless : str
        A parameter with which it does without a project after all.
    words : tuple of str
        Parameters of text, or several, that may name files.
    """

    @functools.wraps(command)
    def run(*positional: Any, **named: Any) -> int:
        given = inspect.signature(command).bind(*positional, **named).arguments
        start = enter_project(needed and given.get(unless) is None, holds)
        for name, value in given.items():
            if isinstance(value, Path):
                given[name] = start.path(value)
            elif name in words:
                given[name] = start.word(value) if isinstance(value, str) else tuple(map(start.word, value))
        return command(**given)

    return run
