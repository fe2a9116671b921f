"""Where networks run: one rule for every command and stage.

``$S3DNERF_DEVICE`` (or a command's ``--device``) is ``auto``, ``cpu`` or ``cuda``; without it, ``auto``. It is no
setting: nothing becomes stale when the same graph runs on another machine. What a stage ran on is written beside its
time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING

from s3dnerf.core.errors import SettingsError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")
VARIABLE = "S3DNERF_DEVICE"
VISIBLE = "CUDA_VISIBLE_DEVICES"


def built_for_cpu() -> bool:
    """Whether the installed PyTorch was built for processors alone, as its version says; known without importing it,
    which takes more than a second.
    """
    return metadata.version("torch").endswith("+cpu")


def cpu_for_certain(environment: Mapping[str, str] | None = None) -> bool:
    """Whether networks run on the processor whatever this machine has, as far as it is known without PyTorch.

    Parameters
    ----------
    environment : None takes this process's
    """
    name = (os.environ if environment is None else environment).get(VARIABLE) or "auto"
    return name == "cpu" or (name == "auto" and built_for_cpu())


def chosen_device(name: str | None = None, dashes: str = "") -> torch.device:
    """``cpu``, ``cuda``, or ``auto``: a CUDA device where PyTorch has one, otherwise the processor.

    On CUDA, convolutions are computed in float32, as on the processor: PyTorch's own default there is TF32, whose
    results differ in the fourth digit.

    Parameters
    ----------
    name : None takes the environment's ``S3DNERF_DEVICE``

    Raises SettingsError for another name (after ``dashes``), and for ``cuda`` where PyTorch has none.
    """
    import torch

    setting = f"{dashes}device"
    if name is None:
        name, setting = os.environ.get(VARIABLE) or "auto", f"${VARIABLE}"
    if name not in DEVICES:
        raise SettingsError(f"{setting}: got {name} — accepted: {', '.join(DEVICES)}")
    there = name != "cpu" and torch.cuda.is_available()
    if name == "cuda" and not there:
        built = "finds none on this machine" if torch.version.cuda else "was built without CUDA"
        raise SettingsError(f"{setting}: cuda — PyTorch {torch.__version__} {built}; accepted here: auto, cpu")
    if there:
        torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda" if there else "cpu")


def usable_gpus(environment: Mapping[str, str] | None = None, count: int | None = None) -> tuple[str, ...]:
    """The CUDA devices that this process may use, each as ``CUDA_VISIBLE_DEVICES`` names it; none where
    ``S3DNERF_DEVICE`` is ``cpu``.

    Parameters
    ----------
    environment : None takes this process's
    count : devices that PyTorch sees; None asks it (without starting CUDA)
    """
    environment = os.environ if environment is None else environment
    if environment.get(VARIABLE) == "cpu" or (count is None and cpu_for_certain(environment)):
        return ()
    if count is None:
        import torch

        count = torch.cuda.device_count()
    visible = environment.get(VISIBLE)
    names = [str(i) for i in range(count)] if visible is None else [name.strip() for name in visible.split(",")]
    return tuple(names[:count])


def chosen_device_name() -> str:
    """:func:`device_name` of :func:`chosen_device`."""
    return "cpu" if cpu_for_certain() else device_name(chosen_device())


def device_name(device: torch.device) -> str:
    """The device for a person: ``cpu``, or ``cuda (NVIDIA H100 80GB HBM3)``."""
    import torch

    return f"{device.type} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def onnx_provider() -> str:
    """onnxruntime's provider by the same rule: CUDA's where there is a CUDA device and onnxruntime was built for it.

    Raises SettingsError where ``cuda`` is asked for by name and onnxruntime has none.
    """
    import onnxruntime

    built = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if chosen_device().type == "cuda" and built:
        return "CUDAExecutionProvider"
    if os.environ.get(VARIABLE) == "cuda":
        raise SettingsError(
            f"${VARIABLE}: cuda — onnxruntime {onnxruntime.__version__} was built without CUDA: pip install "
            "onnxruntime-gpu in its place, or leave the variable at auto"
        )
    return "CPUExecutionProvider"
