"""Where a network runs."""

import subprocess
import sys

import pytest
import torch

from s3dnerf.core import devices
from s3dnerf.core.devices import VARIABLE, chosen_device, chosen_device_name, onnx_provider, usable_gpus
from s3dnerf.core.errors import SettingsError
from s3dnerf.core.machine import hardware


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)


def gpu(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, kinds in ((True, ("cuda", "cpu", "cuda")), (False, ("cpu", "cpu"))):
        gpu(monkeypatch, there)
        assert tuple(chosen_device(name).type for name in ("auto", "cpu", "cuda")[: len(kinds)]) == kinds


def test_convolutions_on_a_gpu_are_as_exact_as_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, True)
    chosen_device("cpu")
    assert torch.backends.cudnn.allow_tf32
    chosen_device("auto")
    assert not torch.backends.cudnn.allow_tf32


def test_the_environment_decides_where_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, True)
    assert chosen_device().type == "cuda"
    for value, kind in (("cpu", "cpu"), ("cuda", "cuda"), ("", "cuda")):
        monkeypatch.setenv(VARIABLE, value)
        assert chosen_device().type == kind
    monkeypatch.setenv(VARIABLE, "cpu")
    assert chosen_device("cuda").type == "cuda"  # a name given goes before it
    monkeypatch.setenv(VARIABLE, "gpu")
    with pytest.raises(SettingsError, match=r"^\$S3DNERF_DEVICE: got gpu — accepted: auto, cpu, cuda"):
        chosen_device()


def test_a_gpu_that_is_not_there_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, False)
    with pytest.raises(SettingsError, match=r"^device: cuda — PyTorch .* accepted here: auto, cpu"):
        chosen_device("cuda")
    with pytest.raises(SettingsError, match="--device: got tpu — accepted: auto, cpu, cuda"):
        chosen_device("tpu", dashes="--")
    monkeypatch.setenv(VARIABLE, "cuda")
    with pytest.raises(SettingsError, match=r"^\$S3DNERF_DEVICE: cuda — PyTorch"):
        chosen_device()


def test_onnxruntime_follows_the_rule_as_far_as_it_was_built_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    for gpu_there, built, set_to, wanted in (
        (True, both, None, both[0]),
        (True, both[1:], None, both[1]),
        (True, both, "cpu", both[1]),
        (False, both, None, both[1]),
    ):
        gpu(monkeypatch, gpu_there)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda built=built: built)
        monkeypatch.delenv(VARIABLE, raising=False) if set_to is None else monkeypatch.setenv(VARIABLE, set_to)
        assert onnx_provider() == wanted
    gpu(monkeypatch, True)
    monkeypatch.setenv(VARIABLE, "cuda")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both[1:])
    with pytest.raises(SettingsError, match="onnxruntime .* was built without CUDA: pip install onnxruntime-gpu"):
        onnx_provider()


@pytest.mark.parametrize(
    ("environment", "count", "names"),
    [
        ({}, 0, ()),
        ({}, 2, ("0", "1")),
        ({"CUDA_VISIBLE_DEVICES": "3, 1"}, 2, ("3", "1")),
        ({"CUDA_VISIBLE_DEVICES": "GPU-a1,GPU-b2"}, 2, ("GPU-a1", "GPU-b2")),
        ({"CUDA_VISIBLE_DEVICES": "2,-1,0"}, 1, ("2",)),
        ({"CUDA_VISIBLE_DEVICES": ""}, 0, ()),
        ({"S3DNERF_DEVICE": "cpu"}, 2, ()),
    ],
)
def test_gpus_that_a_process_may_use(environment: dict[str, str], count: int, names: tuple[str, ...]) -> None:
    assert usable_gpus(environment, count) == names


def test_a_pytorch_built_for_processors_is_known_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said without importing PyTorch is what PyTorch itself says."""
    assert devices.built_for_cpu() == torch.__version__.endswith("+cpu")
    if devices.built_for_cpu():
        assert torch.version.cuda is None and not torch.cuda.is_available()
    assert hardware()["cuda"] == torch.version.cuda
    gpu(monkeypatch, True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for built, name, gpus in (("2.13.0+cpu", "cpu", ()), ("2.13.0+cu130", "cuda (NVIDIA H100)", ("0",))):
        monkeypatch.setattr(devices.metadata, "version", lambda package, built=built: built)
        assert (chosen_device_name(), usable_gpus({})) == (name, gpus)
    monkeypatch.setenv(VARIABLE, "cpu")
    assert chosen_device_name() == "cpu" and usable_gpus() == ()


@pytest.mark.skipif(not devices.built_for_cpu(), reason="this PyTorch is built for GPUs and must be asked")
def test_neither_the_machine_nor_the_device_needs_pytorch() -> None:
    said = (
        "import sys; from s3dnerf.core.machine import hardware; from s3dnerf.core.devices import chosen_device_name, "
        "usable_gpus; hardware(), usable_gpus(); print(chosen_device_name(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cpu", "False"]
