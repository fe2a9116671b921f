"""Adam as PyTorch has it, without loading PyTorch's compiler.

The methods of PyTorch's optimisers are wrapped so that its compiler leaves them alone, and the wrappers import the
whole compiler at their first call, which takes longer than PyTorch itself (``python -X importtime``). In a training by
several processes, DistributedDataParallel imports it in any case. Here nothing compiles an optimiser (``train.compile``
compiles networks), so the methods are called without the wrappers. The arithmetic, the state and its format are
PyTorch's own.
"""

from __future__ import annotations

import inspect

import torch


class Adam(torch.optim.Adam):
    """``torch.optim.Adam``: the same arguments, the same numbers, the same ``state_dict``.

    Source: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
