"""Progress that suits the reader: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")
Watcher = Callable[[str, int, int], None]
PLAIN_LINE_EVERY_S = 15.0


class Progress:
    """Counts pieces of work done; use as a context manager.

    Parameters
    ----------
    title : str
    total : int
        Pieces in all.
    watcher : callable, optional
        ``watcher(title, done, total)``, called at the start and after each piece.
    """

    def __init__(self, title: str, total: int, watcher: Watcher | None = None) -> None:
        self.title, self.total, self.done, self.watcher = title, total, 0, watcher
        self.started = self.last_line = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if sys.stdout.isatty() and self.total > 1:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[last]}"),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total, last="")
        self._show()
        return self

    def _show(self) -> None:
        if self.watcher is not None and self.total:
            self.watcher(self.title, self.done, self.total)

    def step(self, name: str = "") -> None:
        """One more piece is done."""
        self.done += 1
        self._show()
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, advance=1, last=name)
        elif now - self.last_line >= PLAIN_LINE_EVERY_S and self.done < self.total:
            self.last_line = now
            left_s = (now - self.started) / self.done * (self.total - self.done)
            piece = f" ({name})" if name else ""
            logger.info(f"{self.title}: {self.done} of {self.total}{piece}, about {left_s:.0f} s left")

    def over(self, pieces: Iterable[T]) -> Iterator[T]:
        """Count pieces as they pass."""
        for piece in pieces:
            yield piece
            self.step()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
