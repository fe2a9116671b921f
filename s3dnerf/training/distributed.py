"""Data-parallel training: which of how many processes this one is, on which device, and averaging between them.

Works under ``torchrun --standalone --nproc-per-node N -m module …`` and plain ``python -m module …``: it reads RANK,
WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE (and MASTER_ADDR, MASTER_PORT) from the environment, which torchrun sets.
gloo on CPUs, NCCL on CUDA devices. On CPUs each process uses one thread, so that sums have one order and a run can be
repeated to the bit.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from s3dnerf.core.cores import usable_cores
from s3dnerf.core.devices import chosen_device
from s3dnerf.core.errors import SettingsError
from s3dnerf.core.processes import die_with_parent

LOADER_WORKERS, MOST_WORKERS = "S3DNERF_LOADER_WORKERS", 4


@dataclass(frozen=True)
class World:
    """The processes of one training run, seen from this one.

    Attributes
    ----------
    rank : int, 0 … size − 1; rank 0 writes
    size : int, number of processes
    local_rank, local_size : int, number of this process on its machine, and how many there are
    device : torch.device
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    device: torch.device = torch.device("cpu")
    local_size: int = 1

    def is_main(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def autocast(self, precision: str) -> torch.autocast:
        """``with world.autocast("bf16"):`` forward passes in bfloat16; ``fp32`` changes nothing."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=precision == "bf16")

    def share(self, batch: int, parts: int = 1) -> int:
        """Samples of one part of this process's share of a batch over all processes. Raises ValueError when it does not
        divide.
        """
        if batch % (self.size * parts):
            over = f"{self.size} processes" + (f" in {parts} parts each" if parts > 1 else "")
            raise ValueError(f"batch {batch} over {over}: expected a multiple of {self.size * parts}")
        return batch // self.size // parts

    def barrier(self) -> None:
        """Wait for the others."""
        if self.size > 1:
            dist.barrier()

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """``value`` averaged over the processes (a copy)."""
        value = value.detach().clone()
        if self.size > 1:
            dist.all_reduce(value)
            value /= self.size
        return value

    def data_parallel(self, module: torch.nn.Module) -> torch.nn.Module:
        """The module whose backward pass leaves each parameter the mean of all processes' gradients
        (DistributedDataParallel); all begin with rank 0's parameters and buffers.

        In a process alone, the module itself. One forward pass a backward pass, unless within :meth:`adding`. A
        parameter that takes no part in a pass keeps no gradient.
        """
        if self.size == 1:
            return module
        # PyTorch 2.13 calls it forward_sync_buffers, which 2.11 does not know
        warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
        # which parameters take part differs from phase to phase, and is looked up in each pass
        return DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)

    @staticmethod
    def adding(module: torch.nn.Module, last: bool) -> contextlib.AbstractContextManager[None]:
        """For the passes of a step whose gradients add up: only around the ``last`` are they averaged."""
        several = isinstance(module, DistributedDataParallel) and not last
        return module.no_sync() if several else contextlib.nullcontext()  # type: ignore[operator,return-value]


def loader_workers(world: World) -> int:
    """How many processes (or threads) make data for this training process, by ``$S3DNERF_LOADER_WORKERS``.

    Without it there are none where the processor trains, which has no cores to spare, and up to :data:`MOST_WORKERS`
    beside a GPU, as the training processes of a machine share its cores.

    Raises SettingsError where ``$S3DNERF_LOADER_WORKERS`` is no whole number from 0.
    """
    text = os.environ.get(LOADER_WORKERS, "")
    if text:
        if not text.isdigit():
            raise SettingsError(f"${LOADER_WORKERS}: got {text!r} — accepted: a whole number from 0")
        return int(text)
    return min(MOST_WORKERS, max(0, usable_cores() // world.local_size - 1)) if world.device.type == "cuda" else 0


@contextlib.contextmanager
def joined(device: str | None = None) -> Iterator[World]:
    """``with joined() as world:`` join the run's process group and leave it at the end; the block begins when all have
    joined.

    Parameters
    ----------
    device : ``"cpu"``, ``"cuda"`` or None
        None takes what :mod:`s3dnerf.core.devices` chooses; of several CUDA devices, this process's.

    Raises
    ------
    RuntimeError
        More than one process is asked for without MASTER_ADDR and MASTER_PORT, or more than there are CUDA devices.
    SettingsError
        No such device.
    """
    if "RANK" in os.environ:
        die_with_parent()
    rank, size, local = (
        int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    kind = chosen_device(device).type
    if kind == "cuda":
        if local >= torch.cuda.device_count():
            raise RuntimeError(
                f"process {local} of this machine: {torch.cuda.device_count()} CUDA devices — use fewer processes"
            )
        torch.cuda.set_device(local)
        place = torch.device("cuda", local)
    else:
        torch.set_num_threads(1)
        place = torch.device("cpu")
    if size > 1:
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if missing:
            raise RuntimeError(f"WORLD_SIZE is {size} but {', '.join(missing)} not set — start with torchrun")
        dist.init_process_group("nccl" if kind == "cuda" else "gloo", rank=rank, world_size=size)
    try:
        if size > 1:
            # or gloo fails in a process that is still connecting ("Connection closed by peer") when another has left
            dist.barrier()
        yield World(rank, size, local, place, int(os.environ.get("LOCAL_WORLD_SIZE", size)))
    finally:
        if size > 1:
            dist.destroy_process_group()
