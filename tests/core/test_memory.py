"""Every way in which memory is said to have run out is a fault of the machine: never a clip's, never a file's."""

from __future__ import annotations

import errno
from pathlib import Path

import cv2
import pytest
import torch

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.memory import ran_out_of_memory
from s3dnerf.settings.loading import preset_settings
from s3dnerf.training import checkpoints, jobs
from s3dnerf.training.distributed import World
from s3dnerf.video.encoding import VideoError
from stages.passing_faults import StillFailing
from stages.preprocessing import PackJob, each_clip

FAULTS = {
    "python": MemoryError(),
    "system": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cudnn": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "torch": RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory"),
    "onnxruntime": RuntimeError(
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bfc_arena.cc:376 onnxruntime::BFCArena::AllocateRawInternal "
        "Available memory of 0 is smaller than requested bytes of 4096"
    ),
    "opencv": cv2.error("alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 1 bytes"),
    "a killed loader": RuntimeError("DataLoader worker (pid 5) is killed by signal: Killed."),
}


def test_a_file_called_out_of_memory_is_no_such_fault() -> None:
    class Ours(S3DNeRFError, RuntimeError):
        pass

    assert not ran_out_of_memory(Ours("out of memory.mp4: cannot be read"))
    assert not ran_out_of_memory(ValueError("shapes do not fit"))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_it_stops_the_pack_and_quarantines_nobody(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.passing_faults.DELAY_S", 0.0)
    job = PackJob.__new__(PackJob)
    for name, value in {"stage": "align", "clips": [{"clip": "a"}], "raw": {}, "raw_root": "."}.items():
        object.__setattr__(job, name, value)

    def make(record: object) -> dict[str, object]:
        raise fault

    def wrapped(record: object) -> dict[str, object]:
        try:
            raise fault
        except Exception as error:
            raise VideoError("a.mp4: no readable video") from error

    for work in (make, wrapped):
        with pytest.raises(StillFailing, match="align: clip a: .*4 tries"):
            list(each_clip(job, work))


def test_a_checkpoint_that_memory_is_too_small_for_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save_checkpoint(tmp_path / "checkpoint.pt", {"step": 3})

    def full(*args: object, **options: object) -> None:
        raise FAULTS["torch"]

    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        checkpoints.load_checkpoint(tmp_path / "checkpoint.pt")


class Job(jobs.TrainingJob):
    processes = 1


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_training_says_what_to_lower(
    fault: Exception, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE", "S3DNERF_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "job.json").write_text(Job(preset_settings("tiny")).to_json())

    def train(job: Job, world: World) -> None:
        raise fault

    with pytest.raises(SystemExit) as ended:
        jobs.run_job("train_s3dnerf", Job, train, ["--job", str(tmp_path / "job.json")])
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "ran out of memory on cpu: lower train.batch" in said and "accumulate" in said
