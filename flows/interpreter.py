"""Whether this Python is the project's: `dvc repro` without the environment in PATH starts whatever `python` the
machine has.

Imports nothing outside the standard library, so that it can speak where nothing else can.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

CODE = Path(__file__).resolve().parent.parent
NEEDED = ("filelock", "numpy", "pandas", "psutil", "ruamel")  # what any stage imports first
VENV = CODE / ".venv"


def check() -> None:
    """End the process with one message when this Python lacks what every stage needs and is not the project's
    environment.

    Where it is that environment, the import itself says what is missing: nothing is hidden. Code that was installed
    (``pip install``) is no project: its commands need less.
    """
    if not (CODE / "dvc.yaml").is_file():
        return
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if not missing or Path(sys.prefix).resolve() == VENV.resolve():
        return
    todo = "activate it first: . .venv/bin/activate" if VENV.is_dir() else "make it first: make setup"
    what = f"{sys.executable} has no {', '.join(missing)}: it is not the project's environment"
    sys.stderr.write(f"s3dnerf: {what} — {todo}{os.linesep}")
    sys.exit(1)
