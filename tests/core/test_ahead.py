"""Items made in a thread while those before them are used."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from s3dnerf.core.ahead import made_ahead


def test_items_are_made_while_others_are_used_but_not_without_bound() -> None:
    made: list[int] = []
    third = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            if number == 2:
                third.set()
            yield number

    stream = made_ahead(items(), 2)
    assert next(stream) == 0
    assert third.wait(5)  # made before it was asked for
    assert len(made) <= 4  # one used, two ready, one in hand
    assert list(stream) == list(range(1, 10)) and made == list(range(10))


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("two")

    stream = made_ahead(items(), 4)
    assert next(stream) == 1
    with pytest.raises(KeyError, match="two"):
        next(stream)


def test_whoever_stops_early_stops_the_making() -> None:
    made: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            made.append(len(made))
            yield made[-1]

    before = threading.active_count()
    stream = made_ahead(endless(), 1)
    assert next(stream) == 0
    stream.close()
    count = len(made)
    assert threading.active_count() == before and len(made) == count <= 4
