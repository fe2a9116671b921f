"""The generator's batches, made ahead of the training: by worker processes, or by a thread of this process.

How many, :func:`s3dnerf.training.distributed.loader_workers` says. It is no setting: a sample is the same bytes whoever
makes it.
"""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from s3dnerf.core.processes import die_with_parent
from s3dnerf.core.shapes import Tensor
from s3dnerf.training.batches import Batch, Sample, make_batch, stacked
from s3dnerf.training.distributed import World
from s3dnerf.training.generator_data import GeneratorData

T = TypeVar("T")


class _Samples(Dataset[Sample]):
    """Samples by (step, number)."""

    def __init__(self, data: GeneratorData) -> None:
        self.data = data

    def __getitem__(self, which: tuple[int, int]) -> Sample:  # type: ignore[override]  # torch names it index
        return self.data.sample(*which)


def _begin_worker(number: int) -> None:
    """What a worker does first: it ends when the training ends, not at a signal that asks the training to end."""
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, signal.SIG_IGN)
    die_with_parent()
    torch.set_num_threads(1)


def in_a_thread(values: Iterator[T]) -> Generator[T, None, None]:
    """The same values, each made while the one before is in use."""
    with ThreadPoolExecutor(1, thread_name_prefix="samples") as ahead:
        end = object()
        waiting = ahead.submit(next, values, end)
        while (value := waiting.result()) is not end:
            waiting = ahead.submit(next, values, end)
            yield value  # type: ignore[misc]  # not the end


def batches(
    data: GeneratorData, first_step: int, steps: int, world: World, batch: int, parts: int = 1, workers: int = 0
) -> Generator[list[Batch], None, None]:
    """The parts of this process's share of the batches of steps ``first_step`` … ``steps − 1``, on its device.

    Parameters
    ----------
    batch : samples a step over all processes
    parts : into how many parts a process's share is divided
    workers : processes that make samples; 0: a thread

    Raises ValueError where the batch cannot be divided so.
    """
    size = world.share(batch, parts)
    first = world.rank * size * parts

    def keys() -> Iterator[list[tuple[int, int]]]:
        for step in range(first_step, steps):
            for part in range(parts):
                yield [(step, first + part * size + i) for i in range(size)]

    loader: DataLoader[dict[str, Tensor]] = DataLoader(
        _Samples(data),
        batch_sampler=keys(),  # type: ignore[arg-type]  # any iterable
        collate_fn=stacked,
        num_workers=workers,
        pin_memory=world.device.type == "cuda",
        worker_init_fn=_begin_worker if workers else None,
        # a forked one hangs where OpenMP's threads had begun their work before it
        multiprocessing_context="spawn" if workers else None,
        generator=torch.Generator(),  # or it would take a number from everybody's
    )
    made = iter(loader)
    ahead = made if workers else in_a_thread(made)
    for _ in range(first_step, steps):
        yield [make_batch(next(ahead), data.model, world.device) for _ in range(parts)]
