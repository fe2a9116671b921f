"""Whether this machine can hold what a make target is about to install and make: `make` runs this file before pip.

    python3 -I flows/enough_room.py GOAL FOLDER

GOAL is the make target, FOLDER the environment's (``.venv``); whether that is there decides what has still to be
installed. One line for each thing that is too small or of the wrong kind, and exit status 1; silent otherwise.
``S3DNERF_CAPACITY_CHECK=off`` begins whatever disk and memory there are.

The first lines are written so that Python 2.7 reads them: an old Python is refused in one sentence.
"""

import sys

OLDEST = (3, 11)

if sys.version_info[:2] < OLDEST:
    here, oldest = (".".join(map(str, version)) for version in (sys.version_info[:2], OLDEST))
    sys.stderr.write(
        "make: "
        + sys.executable
        + " is Python "
        + here
        + ", expected "
        + oldest
        + " or newer: make PYTHON=python3.12 ...\n"
    )
    sys.exit(1)

sys.path.insert(0, __file__.rpartition("/")[0].rpartition("/")[0] or ".")

import os  # noqa: E402
from pathlib import Path  # noqa: E402

from s3dnerf.core.capacity import too_small_for, unfit_python  # noqa: E402
from s3dnerf.core.cores import usable_cores  # noqa: E402


def main():  # type: ignore[no-untyped-def]  # Python 2.7 reads this file
    """Say what is too little, if anything."""
    goal, environment = sys.argv[1:]
    given = os.environ.get("S3DNERF_WORKERS", "")
    workers = int(given) if given.isdecimal() else usable_cores()
    said = unfit_python() or too_small_for(goal, Path(environment), workers)
    for line in said:
        sys.stderr.write("make: " + line + "\n")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
