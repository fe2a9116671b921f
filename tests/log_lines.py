"""Reacting to what the code under test logs, at the moment when it logs it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator


class _Reaction(logging.Handler):
    def __init__(self, react: Callable[[str], None]) -> None:
        super().__init__()
        self.react = react

    def emit(self, record: logging.LogRecord) -> None:
        self.react(record.getMessage())


@contextlib.contextmanager
def on_log_line(react: Callable[[str], None], name: str = "s3dnerf") -> Iterator[None]:
    """Call ``react`` with each line that a logger (or one below it) gives; what it raises reaches the code that
    logged.
    """
    handler = _Reaction(react)
    logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger(name).removeHandler(handler)
