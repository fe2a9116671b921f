"""Data-parallel training: which of how many processes this one is, on which device, and averaging between them.

Works under ``torchrun --standalone --nproc-per-node N -m module …`` and plain ``python -m module …``: it reads RANK,
WORLD_SIZE and LOCAL_RANK (and MASTER_ADDR, MASTER_PORT) from the environment, which torchrun sets. gloo on CPUs, NCCL
on CUDA devices. On CPUs each process uses one thread, so that sums have one order and a run can be repeated to the bit.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist

from s3dnerf.core.devices import chosen_device
from s3dnerf.core.processes import die_with_parent


@dataclass(frozen=True)
class World:
    """The processes of one training run, seen from this one.

    Attributes
    ----------
    rank : int, 0 … size − 1; rank 0 writes
    size : int, number of processes
    local_rank : int, number of this process on its machine
    device : torch.device
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    device: torch.device = torch.device("cpu")

    def is_main(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def autocast(self, precision: str) -> torch.autocast:
        """``with world.autocast("bf16"):`` forward passes in bfloat16; ``fp32`` changes nothing."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=precision == "bf16")

    def share(self, batch: int) -> int:
        """This process's part of a batch over all processes. Raises ValueError when it does not divide."""
        if batch % self.size:
            raise ValueError(f"batch {batch} over {self.size} processes: expected a multiple of {self.size}")
        return batch // self.size

    def barrier(self) -> None:
        """Wait for the others."""
        if self.size > 1:
            dist.barrier()

    def broadcast(self, module: torch.nn.Module) -> None:
        """Give every process rank 0's parameters and buffers."""
        if self.size > 1:
            with torch.no_grad():
                for tensor in [*module.parameters(), *module.buffers()]:
                    dist.broadcast(tensor, src=0)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """``value`` averaged over the processes (a copy)."""
        value = value.detach().clone()
        if self.size > 1:
            dist.all_reduce(value)
            value /= self.size
        return value

    def average_gradients(self, parameters: torch.nn.Module | Iterable[torch.nn.Parameter]) -> None:
        """Average gradients over the processes, in one message.

        A parameter without a gradient in this process counts as zero, so that all processes send the same message.
        Call it after ``backward`` and before clipping. (The towers and the generator take several forward passes and
        partial losses a step, which DistributedDataParallel's hooks do not bear; the message is the same.)
        """
        if self.size == 1:
            return
        found = [
            p
            for p in (parameters.parameters() if isinstance(parameters, torch.nn.Module) else parameters)
            if p.requires_grad
        ]
        if not found:
            return
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1).float() for p in found])
        dist.all_reduce(flat)
        flat /= self.size
        for p, part in zip(found, flat.split([p.numel() for p in found])):
            p.grad = part.view_as(p).to(p.dtype).clone()


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
        yield World(rank, size, local, place)
    finally:
        if size > 1:
            dist.destroy_process_group()
