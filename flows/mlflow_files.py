"""MLflow's files after their folder was moved or copied: its database names them by absolute addresses.

Moved, every artifact was missing; copied, new files went into the folder that it was copied from. What the database
says of the old folder is rewritten to the one that it lies in now, in one transaction.
"""

from __future__ import annotations

import sqlite3
import urllib.parse
import urllib.request
from pathlib import Path

FOLDER = "mlartifacts"  # beside the database
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
WAIT_S = 30.0


def former_folders(database: sqlite3.Connection, here: str) -> list[str]:
    """The addresses of other folders whose ``mlartifacts`` an experiment of ours still names."""
    rows = database.execute(
        "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE 'file:///%/' || ?", (FOLDER,)
    )
    return [folder for (location,) in rows if (folder := location.removesuffix(f"/{FOLDER}")) != here]


def _rename(database: sqlite3.Connection, table: str, column: str, old: str, new: str) -> int:
    """Put ``new`` in place of ``old`` where a column's addresses begin with that folder. Returns how many did."""
    changed = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
    return database.execute(changed, (new, len(old) + 1, len(old) + 1, f"{old}/")).rowcount


def follow_folder(path: Path) -> int:
    """Let the database at ``path`` name the folder that it lies in. Returns how many entries did not; 0 where there is
    no database yet. Raises sqlite3.Error.
    """
    if not path.is_file():
        return 0
    here, count = path.parent.as_uri(), 0
    database = sqlite3.connect(path, timeout=WAIT_S)
    try:
        known = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        before = former_folders(database, here) if "experiments" in known else []
        with database:  # all of it or nothing
            for uri in before:
                plain = urllib.request.url2pathname(urllib.parse.urlsplit(uri).path)  # MLflow's own default experiment
                for old, new in ((uri, here), (plain, str(path.parent))):
                    count += sum(_rename(database, *at, old, new) for at in COLUMNS if at[0] in known)
    finally:
        database.close()
    return count
