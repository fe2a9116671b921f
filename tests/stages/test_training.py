"""Two working copies that want the same training at once: one trains, the other takes its result."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from s3dnerf.settings.loading import preset_settings
from s3dnerf.training.train_sync import Job, train
from stages.context import Context
from stages.training import run_training


def test_the_same_training_is_never_run_twice_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs, at_work, faults = [], [], []

    def run(preset: str, begin: threading.Barrier) -> None:
        settings = preset_settings(preset)
        context = Context(settings, "train_sync")
        out = context.out("judge")

        def launch(module: str, arguments: list[str], processes: int) -> None:
            runs.append(preset)
            at_work.append(preset)
            out.mkdir(parents=True)
            (out / "weights.safetensors").write_text(preset)
            time.sleep(0.5)
            faults.extend(name for name in at_work if name != preset)
            at_work.remove(preset)

        context.launch = launch
        job: Any = Job(settings, "judge", str(settings.data_dir), ".checkpoints/train_sync/0123", str(out))
        begin.wait()
        run_training(context, job, job.work, job.out, {}, train, 1)

    begin = threading.Barrier(2)
    threads = [threading.Thread(target=run, args=(preset, begin)) for preset in ("tiny", "sample")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(runs) == 1 and not faults
    results = {Path("data", name, "train_sync/judge/weights.safetensors").read_text() for name in ("tiny", "sample")}
    assert results == {runs[0]}
