"""Where weights lie for a person who uses the package without a project: ``$XDG_DATA_HOME/s3dnerf``, which is
``~/.local/share/s3dnerf`` where the variable is not set (freedesktop.org's Base Directory Specification).
"""

from __future__ import annotations

import os
from pathlib import Path


def user_folder() -> Path:
    """The folder; nothing is made."""
    given = os.environ.get("XDG_DATA_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".local" / "share") / "s3dnerf"


def found_for_user(path: str | None) -> str | None:
    """A relative path as it is where there is such a file, else in the user's folder where there is one; otherwise as
    it is.
    """
    if path is None or os.path.isabs(path) or os.path.exists(path):
        return path
    other = user_folder() / path
    return str(other) if other.exists() else path
