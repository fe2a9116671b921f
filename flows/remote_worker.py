"""One piece of a stage's work in a process of its own, on whatever machine a cluster's worker runs: the other end of
``flows/cluster.py``.

Started by a worker in the project's folder as ``python <this file>``. Reads from standard input, pickled: the sender's
import path, the lock that the sender holds (or None), and (work, job). Writes to standard output, pickled: (True, what
the work returned) or (False, what it raised). Anything else that prints goes to standard error.

Ends with the worker that started it, and when nobody holds the sender's lock any more: what a stage that is gone goes
on writing would be taken for another run's.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from typing import Any


def outcome_of(work: Any, job: Any) -> bytes:
    """``(True, result)`` or ``(False, exception)`` as a pickle; what cannot travel becomes a RuntimeError that
    says so.
    """
    try:
        outcome = True, work(job)
    except Exception as error:  # whatever it is, it is the sender's to judge
        error.add_note("".join(traceback.format_exception(error)))
        outcome = False, error
    try:
        data = pickle.dumps(outcome)
        pickle.loads(data)
    except Exception as fault:  # pickle raises many kinds
        said = (
            f"{type(outcome[1]).__name__}: {outcome[1]}"
            if not outcome[0]
            else f"a {type(outcome[1]).__name__}, which cannot be sent"
        )
        data = pickle.dumps((False, RuntimeError(f"{said} ({fault})")))
    return data


def result_of(outcome: bytes) -> Any:
    """What :func:`outcome_of` answered with. Raises what the work raised."""
    fine, result = pickle.loads(outcome)
    if fine:
        return result
    raise result


def main() -> None:
    """Read the work, do it on one thread, answer."""
    path, lock = pickle.load(sys.stdin.buffer)
    sys.path[:] = path
    from flows.process_lifetime import end_when_free
    from s3dnerf.core.processes import die_with_parent, one_thread

    die_with_parent()
    if lock:
        end_when_free(lock)
    one_thread()
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    work, job = pickle.load(sys.stdin.buffer)
    with answer:
        answer.write(outcome_of(work, job))


if __name__ == "__main__":
    main()
