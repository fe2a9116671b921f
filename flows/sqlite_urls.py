"""Addresses of SQLite databases as SQLAlchemy reads them, which Prefect and MLflow do; for folders of any name."""

from __future__ import annotations

import os
from pathlib import Path

from s3dnerf.core.errors import SettingsError

SQLITE = "sqlite:///"


def sqlite_url(path: Path, seen_from: Path = Path(), scheme: str = SQLITE) -> str:
    """The address of a database, for processes whose working directory is ``seen_from``.

    Absolute, but where a folder's name holds a ``?``: an address has no spelling for it (what follows is read as
    options, and another file was opened), so that there it is relative. Raises SettingsError where that does not help.

    >>> sqlite_url(Path("/a folder/100%/mlflow.db"))
    'sqlite:////a folder/100%/mlflow.db'
    >>> sqlite_url(Path("/what?/project/mlflow.db"), Path("/what?/project/.worktrees/retrain"))
    'sqlite:///../../mlflow.db'
    """
    path = path.resolve()
    text = str(path) if "?" not in str(path) else os.path.relpath(path, seen_from.resolve())
    if "?" in text:
        raise SettingsError(f"{path}: a database in a folder with a `?` is reached only from its own folder: go there")
    return f"{scheme}{text}"
