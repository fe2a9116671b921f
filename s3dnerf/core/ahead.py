"""Items made in a thread while those before them are used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_END = object()


def made_ahead(items: Iterable[T], most: int) -> Iterator[T]:
    """The items in order, of which up to ``most`` are ready before they are asked for.

    What ``items`` raises is raised here, after the items before it. When this generator is closed (an error or an
    interruption where its items are used), no further item is begun, and it returns when the one in hand is done.

    Examples
    --------
    >>> list(made_ahead(range(5), 2))
    [0, 1, 2, 3, 4]
    """
    ready: queue.Queue[tuple[object, BaseException | None]] = queue.Queue(most)
    closed = threading.Event()

    def put(item: object, error: BaseException | None = None) -> None:
        while not closed.is_set():
            try:
                return ready.put((item, error), timeout=0.1)
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put(item)
                if closed.is_set():
                    return
            put(_END)
        except BaseException as error:  # whatever it was: it belongs to who uses the items
            put(_END, error)

    thread = threading.Thread(target=make, name="made-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item  # type: ignore[misc]
    finally:
        closed.set()
        thread.join()
