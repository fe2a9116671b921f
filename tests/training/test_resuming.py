"""A training that is killed or interrupted goes on to the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from s3dnerf.settings.schema import Settings
from s3dnerf.training.batches import Batch
from s3dnerf.training.curves import Curves, read_curves
from s3dnerf.training.distributed import World
from s3dnerf.training.jobs import interruptible
from s3dnerf.training.train_s3dnerf import Trainer, train
from tests.log_lines import on_log_line
from tests.training.generator_job import files_of, generator_job


def test_killed_and_resumed_equals_never_killed(
    settings: Settings, data_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = generator_job(settings, data_dir, tmp_path / "whole")
    train(whole, World())
    killed = generator_job(settings, data_dir, tmp_path / "killed")

    class Killed(Exception):
        pass

    def die(line: str) -> None:
        if "step 3/" in line:  # after the checkpoint of step 2, with step 3's curve already written
            raise Killed

    with pytest.raises(Killed), on_log_line(die):
        train(killed, World())
    assert [row["step"] for row in read_curves(Path(killed.work) / "curves.jsonl")] == [0, 1, 2]
    caplog.clear()
    train(killed, World())
    assert "steps 2…4" in caplog.messages[0]
    assert files_of(Path(whole.out)) == files_of(Path(killed.out))
    assert {
        "generator.safetensors",
        "discriminator.safetensors",
        "card.json",
        "curves.jsonl",
        "strips/step_0000004.png",
    } <= set(files_of(Path(whole.out)))


def test_killed_at_ten_random_steps_equals_never_killed(
    settings: Settings, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"steps": 16, "checkpoint_every": 2, "strip_every": 8}
    whole, killed = (generator_job(settings, data_dir, tmp_path / name, **given) for name in ("whole", "killed"))
    train(whole, World())

    class Killed(BaseException):
        pass

    random, real, deaths = (
        np.random.default_rng(0),
        Trainer.step,
        sorted(np.random.default_rng(1).choice(16, 10, replace=False).tolist()),
    )

    def mortal(self: Trainer, step: int, parts: list[Batch]) -> dict[str, float]:
        if deaths and step == deaths[0]:
            if random.random() < 0.5:  # in the middle of the step: weights already moved, nothing saved
                real(self, step, parts)
            raise Killed
        return real(self, step, parts)

    monkeypatch.setattr(Trainer, "step", mortal)
    kills = 0
    while deaths:
        with pytest.raises(Killed):
            train(killed, World())
        deaths.pop(0)
        kills += 1
        torch.manual_seed(kills)  # another process has other random numbers
    train(killed, World())
    assert kills == 10 and files_of(Path(whole.out)) == files_of(Path(killed.out))


def test_kill_9_and_another_process_resume_to_the_bit(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    given = {"steps": 8, "checkpoint_every": 2, "strip_every": 4}
    whole, killed = (generator_job(settings, data_dir, tmp_path / name, **given) for name in ("whole", "killed"))
    train(whole, World())
    (tmp_path / "job.json").write_text(killed.to_json())
    command = [sys.executable, "-m", "s3dnerf.training.train_s3dnerf", "--job", str(tmp_path / "job.json")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.getcwd()})
    checkpoint = Path(killed.work) / "checkpoint.pt"
    end = time.monotonic() + 300
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    train(killed, World())
    assert files_of(Path(whole.out)) == files_of(Path(killed.out))


def test_an_interrupt_saves_first(
    settings: Settings, data_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = generator_job(settings, data_dir, tmp_path, checkpoint_every=1000)

    def interrupt(line: str) -> None:
        if "step 1/" in line:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt, match="stopped at step 2 of 4; start again"), on_log_line(interrupt):
        train(job, World())
    caplog.clear()
    train(job, World())
    assert "steps 2…4" in caplog.messages[0]


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with interruptible() as asked:
        assert not asked() and signal.getsignal(signal.SIGTERM) != before
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
    assert signal.getsignal(signal.SIGTERM) == before


def test_curves_are_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "curves.jsonl")
    for step in range(5):
        curves.add(step, {"total": 1.0 / (step + 1)})
    with open(curves.path, "a") as handle:
        handle.write('{"step": 5, "tot')  # cut short by a kill
    assert [row["step"] for row in read_curves(curves.path)] == [0, 1, 2, 3, 4]
    Curves(curves.path, start=3).add(3, {"total": 7.0})
    assert [(row["step"], row["total"]) for row in read_curves(curves.path)] == [
        (0, 1.0),
        (1, 0.5),
        (2, 0.333333),
        (3, 7.0),
    ]
