"""Processes of a data-parallel run: averaged gradients are those of the whole batch."""

import os
import socket
import subprocess
import sys

import pytest
import torch

from s3dnerf.training.distributed import World, joined

WORKER = """
import sys, torch
from s3dnerf.training.distributed import joined
torch.manual_seed(0)
x = torch.randn(8, 4)
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.idle = torch.nn.Linear(4, 2), torch.nn.Linear(2, 2)
    def forward(self, x):
        return self.used(x).square().mean()
with joined("cpu") as world:
    torch.manual_seed(world.rank)
    net = Net()
    both = world.data_parallel(net)
    for i in range(2):
        part = x[world.rank * 4 + 2 * i : world.rank * 4 + 2 * i + 2]
        with world.adding(both, i == 1):
            (both(part) / 2).backward()
        if i == 0:
            unmixed = net.used.weight.grad.clone()
    mean = world.mean(torch.tensor(float(world.rank)))
    torch.save({"grad": net.used.weight.grad, "unmixed": unmixed, "idle": net.idle.weight.grad is None, "mean": mean,
                "weights": net.used.state_dict(), "threads": torch.get_num_threads(), "main": world.is_main(),
                "local": world.local_size}, sys.argv[1] + str(world.rank))
"""


HASTY = """
import sys, time
from pathlib import Path
import torch.distributed as dist
from s3dnerf.training.distributed import joined
at, rank, join = Path(sys.argv[1]), int(sys.argv[2]), dist.init_process_group
def slowly(*args, **kwargs):
    join(*args, **kwargs)
    if rank == 1:
        time.sleep(1)
        (at / "connected").touch()
dist.init_process_group = slowly
with joined("cpu"):
    (at / f"rank{rank}").write_text(str((at / "connected").exists()))
"""


def two_processes(code: str, *words: str) -> None:
    """Run a script as rank 0 and as rank 1 of one group, the rank its last word. Fails the test when one fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, *words, str(rank)],
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "RANK": str(rank),
                "WORLD_SIZE": "2",
                "LOCAL_RANK": str(rank),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
        )
        for rank in range(2)
    ]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def test_nobody_begins_before_all_have_connected(tmp_path):
    """One that was done and gone by then would break the other's connecting."""
    two_processes(HASTY, str(tmp_path))
    assert [(tmp_path / f"rank{rank}").read_text() for rank in range(2)] == ["True", "True"]


def test_two_processes_average_to_the_whole_batch(tmp_path):
    two_processes(WORKER, str(tmp_path / "r"))
    one, two = (torch.load(tmp_path / f"r{rank}", weights_only=True) for rank in range(2))
    assert torch.equal(one["grad"], two["grad"]) and torch.equal(one["weights"]["weight"], two["weights"]["weight"])
    assert one["mean"] == two["mean"] == 0.5 and one["threads"] == 1 and (one["main"], two["main"]) == (True, False)
    assert one["idle"] and not torch.equal(one["unmixed"], two["unmixed"]) and one["local"] == 2
    torch.manual_seed(0)
    x = torch.randn(8, 4)
    net = torch.nn.Linear(4, 2)
    net.load_state_dict(one["weights"])
    net(x).square().mean().backward()
    assert torch.allclose(net.weight.grad, one["grad"], atol=1e-6)


def test_one_process_needs_no_group(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with joined("cpu") as world:
        assert (world.rank, world.size, world.is_main(), world.device.type) == (0, 1, True, "cpu")
        net = torch.nn.Linear(2, 2)
        assert world.data_parallel(net) is net
        with world.autocast("bf16"):
            assert net(torch.ones(1, 2)).dtype == torch.bfloat16
        with world.autocast("fp32"):
            assert net(torch.ones(1, 2)).dtype == torch.float32


def test_a_group_without_an_address_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(RuntimeError, match="MASTER_ADDR"), joined("cpu"):
        pass


def test_share_must_divide():
    assert World(size=4).share(8) == 2
    assert World(size=2).share(8, parts=2) == 2
    with pytest.raises(ValueError, match="multiple of 4"):
        World(size=4).share(6)
    with pytest.raises(ValueError, match="2 processes in 3 parts each: expected a multiple of 6"):
        World(size=2).share(8, parts=3)
