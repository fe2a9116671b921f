"""What asks a process to end, as a terminal sends it: pytest may itself run where signals are ignored (``nohup``, a job in
the background of a script), and what it starts would ignore them as well.
"""

from __future__ import annotations

import signal

ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def as_in_a_terminal(ignored: tuple[int, ...] = ()) -> None:
    """For ``preexec_fn``: each of these signals as usual, or ignored."""
    for number in ASKED:
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
