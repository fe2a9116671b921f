"""Whether a run goes round the store and the checkpoints: ``S3DNERF_STORE=ignore``, or ``dvc repro --force`` above it.

``dvc repro -f`` says "make it again", and so does this: packs, clips and facts are made anew and replaced in the store,
a training starts at step 0. DVC does not pass its options on to a stage, so they are read from its command line. Runs
that DVC starts without one (its Python API, a queue's worker) take the environment variable.
"""

from __future__ import annotations

import os

import psutil

from flows.executor import RunnerError
from flows.process_lifetime import dvc_above

SWITCH, ACCEPTED = "S3DNERF_STORE", ("use", "ignore")
# options of `dvc repro` and `dvc exp run` that take a value, so that what follows the letter is no option: -nfirst
VALUED = frozenset("nSjCmM")


def forces(command: list[str]) -> bool:
    """Whether a command line is a ``dvc repro`` or ``dvc exp run`` with ``-f`` or ``--force``.

    >>> forces(["dvc", "repro", "-sf", "align"]), forces(["dvc", "exp", "run", "-nfirst"])
    (True, False)
    """
    words = iter(command)
    if not any(word in ("repro", "run") for word in words):
        return False
    for word in words:
        if word == "--force":
            return True
        if word.startswith("-") and not word.startswith("--"):
            for letter in word[1:]:
                if letter == "f":
                    return True
                if letter in VALUED:
                    break
    return False


def ignore_store() -> bool:
    """Whether this run makes everything anew. Raises RunnerError for a value of the switch that nobody knows."""
    value = os.environ.get(SWITCH, ACCEPTED[0])
    if value not in ACCEPTED:
        raise RunnerError(f"{SWITCH}: got {value!r} — accepted: {', '.join(ACCEPTED)}")
    if value == "ignore":
        return True
    try:
        above = dvc_above()
        return above is not None and forces(above.cmdline())
    except psutil.Error:
        return False  # gone meanwhile: this process is about to end with it
