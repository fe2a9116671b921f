"""Progress that suits the reader: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")
PLAIN_LINE_EVERY_S = 15.0


class Progress:
    """Counts pieces of work done; use as a context manager.

    Parameters
    ----------
    title : str
    total : int
        Pieces in all.
    """

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.done = title, total, 0
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
        return self

    def step(self, name: str = "") -> None:
        """One more piece is done."""
        self.done += 1
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, advance=1, last=name)
        elif now - self.last_line >= PLAIN_LINE_EVERY_S and self.done < self.total:
            self.last_line = now
            left_s = (now - self.started) / self.done * (self.total - self.done)
            print(f"{self.title}: {self.done} of {self.total} ({name}), about {left_s:.0f} s left", flush=True)

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
