"""What a program of ours shows while it works: log lines as plain messages on stdout.

The library and the stages log (``logging.getLogger(__name__)``) and set nothing up: who calls them decides where the
lines go. A command line of ours calls :func:`log_to_stdout` once.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO


class _StdoutHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever ``sys.stdout`` is when a line comes, not to what it was when the program began."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # a plain attribute in the base class
        return sys.stdout


def log_to_stdout(*names: str, level: int = logging.INFO) -> None:
    """Print the lines of these loggers and those below them on stdout, each as its message alone, flushed.

    They no longer reach the root logger's handlers, where another library's set-up would print them a second time.
    Called again, it changes ``level`` and adds nothing.

    Parameters
    ----------
    names : str
        Loggers: ``"s3dnerf"``, ``"stages"``, …; ``"__main__"`` for a module that is run as a program.
    level : int
        The least level that is shown.
    """
    for name in names:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = False
        if not any(isinstance(handler, _StdoutHandler) for handler in logger.handlers):
            logger.addHandler(_StdoutHandler())
