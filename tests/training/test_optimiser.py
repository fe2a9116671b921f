"""Adam without PyTorch's compiler: PyTorch's own numbers, and the compiler not imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from s3dnerf.training.optimiser import Adam

ONE_STEP = """
import sys, torch
from {module} import Adam
weights = torch.nn.Parameter(torch.ones(3))
optimiser = Adam([weights], lr=0.1)
optimiser.load_state_dict(optimiser.state_dict())
optimiser.zero_grad()
weights.grad = torch.ones(3)
optimiser.step()
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("betas", [(0.9, 0.99), (0.0, 0.99)])
def test_its_numbers_and_its_state_are_pytorchs(betas: tuple[float, float]) -> None:
    random = torch.Generator().manual_seed(0)
    start, gradients = torch.randn(4, 5, generator=random), torch.randn(6, 4, 5, generator=random)
    found = []
    for kind in (torch.optim.Adam, Adam):
        weights = torch.nn.Parameter(start.clone())
        optimiser = kind([{"params": [weights], "scale": 2.0}], lr=0.1, betas=betas)
        for gradient in gradients[:3]:
            weights.grad = gradient
            optimiser.step()
        again = kind([{"params": [weights], "scale": 1.0}], lr=0.5, betas=betas)
        again.load_state_dict(optimiser.state_dict())
        assert again.param_groups[0]["scale"] == 2.0
        for gradient in gradients[3:]:
            again.zero_grad()
            assert weights.grad is None
            weights.grad = gradient
            again.step()
        assert not weights.grad_fn and weights.requires_grad
        found.append((weights.detach(), again.state_dict()["state"][0]))
    (plain, plain_state), (ours, our_state) = found
    assert torch.equal(plain, ours) and plain_state.keys() == our_state.keys()
    assert all(torch.equal(plain_state[name], our_state[name]) for name in plain_state)


def test_the_compiler_is_not_imported() -> None:
    said = {
        module: subprocess.run(
            [sys.executable, "-c", ONE_STEP.format(module=module)], capture_output=True, text=True, check=True
        ).stdout.strip()
        for module in ("s3dnerf.training.optimiser", "torch.optim")
    }
    assert said == {"s3dnerf.training.optimiser": "False", "torch.optim": "True"}
