"""``train.compile``: the same step, each of the named networks in one graph."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from s3dnerf.settings.schema import Settings
from s3dnerf.sync.expert import load_expert
from s3dnerf.training.compiling import convolutional_networks
from s3dnerf.training.distributed import World
from s3dnerf.training.generator_data import GeneratorData
from s3dnerf.training.train_s3dnerf import Trainer
from tests.training.generator_job import generator_job


def test_compiled_networks_make_the_same_steps(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "settings").write_bytes(pickle.dumps(settings))
    words = ["-m", "tests.training.compiled_step", str(tmp_path / "settings"), str(data_dir), str(tmp_path)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["graphs"] >= found["networks"]
    for step, (expected, got) in enumerate(zip(found["plain"], found["compiled"], strict=True)):
        # R1's second derivatives are asked for in the first step alone
        assert got == pytest.approx(expected, rel=1e-3, abs=1e-5) and ("r1" in got) == (step == 0)


def test_the_setting_compiles_and_the_average_stays_plain(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    data = GeneratorData(data_dir, settings.model, settings.train, seed=0)
    for wanted in (False, True):
        job = generator_job(settings, data_dir, tmp_path / str(wanted), compile=wanted)
        trainer = Trainer(job, data, load_expert(job.expert)[0], World())
        for network in convolutional_networks(trainer.generator, trainer.discriminator, trainer.perceptual):
            assert (network._compiled_call_impl is not None) == wanted  # nothing is compiled before a call
        assert trainer.averaged.module.superres._compiled_call_impl is None
