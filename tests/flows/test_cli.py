"""The command line as a person types it: presets, and one clear message for each mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows import doctor
from s3dnerf.config import as_dict, preset_settings, settings_from

ROOT = Path(__file__).resolve().parents[2]


def s3dnerf(folder: Path, *words: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", "flows.cli", *words], cwd=folder, env=environment, capture_output=True, text=True)


def stage(folder: Path, name: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "S3DNERF_RUNNER": "inline"}
    return subprocess.run([sys.executable, "-m", "flows.run", name], cwd=folder, env=environment, capture_output=True, text=True)


def test_preset_writes_every_value(tmp_path: Path) -> None:
    done = s3dnerf(tmp_path, "preset", "mini")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load((tmp_path / "params.yaml").read_text()) == as_dict(preset_settings("mini"))
    assert "already" in s3dnerf(tmp_path, "preset", "mini").stdout


def test_params_in_the_repository_are_the_sample_preset() -> None:
    committed = subprocess.run(["git", "show", "HEAD:params.yaml"], cwd=ROOT, capture_output=True, text=True)
    if committed.returncode:
        pytest.skip("needs the git repository")
    assert yaml.safe_load(committed.stdout) == as_dict(preset_settings("sample"))


def test_an_unknown_preset_is_one_message(tmp_path: Path) -> None:
    done = s3dnerf(tmp_path, "preset", "huge")
    assert done.returncode == 2
    assert done.stderr == "s3dnerf: preset: got 'huge' — accepted: one of tiny, sample, mini, paper\n"


def test_a_settings_typo_stops_a_stage_before_any_work(tmp_path: Path) -> None:
    settings = as_dict(preset_settings("tiny"))
    settings["align"]["detect_evry"] = 3
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    done = stage(tmp_path, "inventory")
    assert done.returncode == 2
    assert (
        done.stderr.startswith("s3dnerf: align.detect_evry: no such setting — did you mean detect_every?") and done.stderr.count("\n") == 1
    )
    assert not (tmp_path / "data").exists()


def test_a_missing_raw_folder_is_one_message(tmp_path: Path) -> None:
    settings = as_dict(preset_settings("tiny")) | {"sample": {"enabled": False}, "raw": {"hdtf": "nowhere/HDTF"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    done = stage(tmp_path, "inventory")
    assert done.returncode in (1, 2)
    assert "raw.hdtf" in done.stderr and "nowhere/HDTF" in done.stderr and "Traceback" not in done.stderr


def test_report_before_any_run_says_what_to_do(tmp_path: Path) -> None:
    s3dnerf(tmp_path, "preset", "tiny")
    done = s3dnerf(tmp_path, "report")
    assert done.returncode == 2 and "dvc repro" in done.stderr


def test_doctor_names_what_is_missing_and_where_to_get_it(tmp_path: Path) -> None:
    s3dnerf(tmp_path, "preset", "tiny")
    done = s3dnerf(tmp_path, "doctor")
    assert done.returncode == 0
    for component in doctor.COMPONENTS:
        assert f"{component.name}: stand-in" in done.stdout or f"{component.name}: off" in done.stdout
        assert component.where in done.stdout and component.licence in done.stdout
    s3dnerf(tmp_path, "preset", "paper")
    done = s3dnerf(tmp_path, "doctor")
    assert done.returncode == 1 and "MISSING FILES" in done.stdout


def test_doctor_writes_what_it_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "weights" / "insightface" / "buffalo_l"
    folder.mkdir(parents=True)
    (folder / "det.onnx").write_bytes(b"x")
    written = doctor.chosen(preset_settings("sample"))
    assert written.align.backend == "insightface" and written.align.model_dir == "weights/insightface/buffalo_l"
    assert written.masks.backend == "fitted" and written.masks.network is None
    assert doctor.chosen(preset_settings("paper")).masks.backend == "fitted"
    assert settings_from(as_dict(written)) == written
