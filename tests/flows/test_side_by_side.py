"""The variants trained at once: real ``dvc`` processes in one folder, with small stages, and once with trainings."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from flows import side_by_side
from flows.side_by_side import places, planned
from s3dnerf.core.errors import SettingsError
from s3dnerf.settings.loading import as_dict, preset_settings, settings_from
from s3dnerf.settings.schema import Settings
from s3dnerf.training.distributed import World
from s3dnerf.training.train_s3dnerf import train
from tests.flows import fake_slurm
from tests.signals import as_in_a_terminal
from tests.small_corpus import make_training_data
from tests.training.generator_job import files_of, generator_job

ROOT = Path(__file__).resolve().parents[2]
# a variant that waits until the others have begun, unless it is to fail or to go on for ever
VARIANT = """
import os, sys, time
from pathlib import Path

name, together = sys.argv[1], int(sys.argv[2])
Path("begun", name).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none") + " " + Path("data/base").read_text())
end = time.monotonic() + 30
while len(list(Path("begun").iterdir())) < together and time.monotonic() < end:
    time.sleep(0.02)
if Path("fails").exists() and name == Path("fails").read_text():
    sys.exit(f"{name} cannot be trained")
while Path("forever").exists():
    time.sleep(0.1)
Path("data", name).mkdir()
Path("data", name, "weights").write_text(name)
"""


def project(folder: Path, stages: dict, variants: tuple[str, ...]) -> Settings:
    """A DVC project of a few stages, and the working directory; its settings are tiny's with these variants."""
    values = as_dict(preset_settings("tiny"))
    values["train"]["variants"] = list(variants)
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return settings_from(values)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A graph with what the variants need, two variants, and what follows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S3DNERF_DEVICE", "cpu")
    python = f"'{sys.executable}'"
    (tmp_path / "variant.py").write_text(VARIANT)
    for name in ("begun", "data"):
        (tmp_path / name).mkdir()
    stages = {
        "base": {"cmd": "printf base > data/base", "outs": ["data/base"]},
        "aside": {"cmd": "printf aside > data/aside", "outs": ["data/aside"]},
        "train_s3dnerf": {
            "foreach": "${train.variants}",
            "do": {
                "cmd": f"{python} variant.py ${{item}} 2",
                "deps": ["data/base"],
                "outs": ["data/${item}"],
            },
        },
        "report": {"cmd": "ls data/full data/naive > data/report", "deps": ["data/full", "data/naive"], "outs": ["data/report"]},
    }  # fmt: skip
    return project(tmp_path, stages, ("full", "naive"))


def command(folder: Path, *words: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=as_in_a_terminal,
    )


def locked(folder: Path) -> dict[str, dict]:
    return yaml.safe_load((folder / "dvc.lock").read_text())["stages"]


def test_what_they_need_comes_first_then_all_at_once_and_what_follows_once_none_failed(
    small: Settings, tmp_path: Path
) -> None:
    (tmp_path / "fails").write_text("full")
    process = command(tmp_path, "report", "--side-by-side", S3DNERF_VARIANTS_AT_ONCE="2")
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 1 and "full | full cannot be trained" in said.splitlines(), said
    assert "s3dnerf: run: train_s3dnerf@full failed, with the message above; train_s3dnerf@naive done." in said
    begun = {path.name: path.read_text() for path in (tmp_path / "begun").iterdir()}
    assert begun == {"full": "none base", "naive": "none base"}  # each waited for the other one
    assert set(locked(tmp_path)) == {"base", "train_s3dnerf@naive"}
    for line in (
        "train_s3dnerf@full: begins",
        "full | Running stage 'train_s3dnerf@full':",
        "train_s3dnerf@naive: done",
    ):
        assert line in said.splitlines(), said
    (tmp_path / "fails").unlink()
    said = command(tmp_path, "report", "--side-by-side", S3DNERF_VARIANTS_AT_ONCE="2").communicate(timeout=100)[0]
    assert "naive | Stage 'train_s3dnerf@naive' didn't change, skipping" in said.splitlines(), said
    assert set(locked(tmp_path)) == {"base", "train_s3dnerf@full", "train_s3dnerf@naive", "report"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_command_ends(small: Settings, tmp_path: Path, number: int) -> None:
    (tmp_path / "forever").touch()
    process = command(tmp_path, "train_s3dnerf", "--side-by-side", S3DNERF_VARIANTS_AT_ONCE="2")
    end = time.monotonic() + 60
    while len(list((tmp_path / "begun").iterdir())) < 2:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    started = psutil.Process(process.pid).children(recursive=True)
    dvcs = [one for one in started if one.ppid() == process.pid]
    process.send_signal(number)
    process.communicate(timeout=30)
    # killed, it takes dvc along, and a stage of ours watches its dvc (tests/flows/test_process_lifetime.py)
    _, left = psutil.wait_procs(dvcs if number == signal.SIGKILL else started, timeout=20)
    (tmp_path / "forever").unlink()
    assert len(dvcs) == 2 and not [one for one in left if one.status() != psutil.STATUS_ZOMBIE]


def test_the_plan_is_the_graph_s(small: Settings) -> None:
    assert planned(()).needed == ("base",) and planned(()).rest
    assert planned(("train_s3dnerf",)).variants == ("train_s3dnerf@full", "train_s3dnerf@naive")
    assert not planned(("train_s3dnerf",)).rest
    assert planned(("train_s3dnerf@naive",)).variants == ("train_s3dnerf@naive",)
    with pytest.raises(SettingsError, match="got aside — expected train_s3dnerf, or a stage that needs it"):
        planned(("aside",))
    with pytest.raises(SettingsError, match="no_such"):
        planned(("no_such",))


@pytest.mark.parametrize(
    ("gpus", "processes", "at_once", "expected"),
    [
        (4, 1, "", ["0", "1", "2", "3"]),
        (4, 2, "", ["0,1", "2,3"]),
        (5, 2, "", ["0,1", "2,3"]),
        (1, 2, "", ["0"]),  # the training itself says that these are too few
        (4, 2, "1", ["0,1"]),
        (2, 2, "3", ["0,1", "0,1", "0,1"]),
        (0, 1, "3", [None, None, None]),
        (0, 2, "", [None, None, None]),
    ],
)
def test_each_has_gpus_of_its_own(
    monkeypatch: pytest.MonkeyPatch, gpus: int, processes: int, at_once: str, expected: list
) -> None:
    monkeypatch.setattr(side_by_side, "usable_gpus", lambda: tuple(map(str, range(gpus))))
    monkeypatch.setattr(side_by_side, "usable_cores", lambda: 7)
    monkeypatch.setenv("S3DNERF_VARIANTS_AT_ONCE", at_once)
    values = as_dict(preset_settings("paper"))
    values["train"]["processes"] = processes
    assert places(settings_from(values)) == expected


def test_a_variant_sees_the_gpus_of_its_place(small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "usable_gpus", lambda: ("MIG-a", "MIG-b"))
    assert side_by_side.run_side_by_side(("train_s3dnerf",), small) == 0
    assert {path.read_text() for path in (tmp_path / "begun").iterdir()} == {"MIG-a base", "MIG-b base"}


def test_where_others_start_processes_gpus_are_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "usable_gpus", lambda: ("0", "1"))
    settings = preset_settings("tiny")
    monkeypatch.setenv("S3DNERF_LAUNCH", "srun {python} {command}")
    assert places(settings) == [None]
    for name, value in fake_slurm.install(tmp_path / "bin").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("S3DNERF_SLURM", "time=60")
    assert places(settings) == []
    monkeypatch.setenv("S3DNERF_VARIANTS_AT_ONCE", "2")
    assert places(settings) == [None, None]
    monkeypatch.setenv("S3DNERF_VARIANTS_AT_ONCE", "two")
    with pytest.raises(SettingsError, match=r"\$S3DNERF_VARIANTS_AT_ONCE: got 'two' — accepted: a whole number from 1"):
        places(settings)


def test_trainings_at_once_write_the_bytes_of_one_after_the_other(tmp_path: Path) -> None:
    definition = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["train_s3dnerf"]
    absent = ("inventory/weights/train.json", "check/train_s3dnerf.json")
    definition["do"]["deps"] = [dep for dep in definition["do"]["deps"] if not dep.endswith(absent)]
    settings = project(tmp_path, {"train_s3dnerf": definition}, ("full", "naive"))
    make_training_data(settings, tmp_path / "data/tiny")
    (tmp_path / "stages").mkdir()
    shutil.copy(ROOT / "stages/versions.yaml", tmp_path / "stages/versions.yaml")
    who = ["-c", "user.name=test", "-c", "user.email=test@test.invalid"]
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "begin"], cwd=tmp_path, check=True)
    quick = {
        "S3DNERF_RUNNER": "inline",
        "S3DNERF_TRACKING": "off",
        "S3DNERF_DEVICE": "cpu",
        "S3DNERF_VARIANTS_AT_ONCE": "2",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    process = command(tmp_path, "--side-by-side", **quick)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert set(locked(tmp_path)) == {"train_s3dnerf@full", "train_s3dnerf@naive"}
    for variant in ("full", "naive"):
        job = generator_job(settings, tmp_path / "data/tiny", tmp_path / "after" / variant, variant)
        train(job, World())
        assert files_of(Path(job.out)) == files_of(tmp_path / "data/tiny/train_s3dnerf" / variant)
