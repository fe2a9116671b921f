"""From the owners' files to BFM_model_front.mat: every number, what the reconstruction reads, and each fault named."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from benchmarks.random_weights import face_model
from flows import bfm2009, cli
from flows.components import check
from flows.fetch import lay_deep3d
from s3dnerf.core.errors import SettingsError
from s3dnerf.core.weight_files import WeightFileError
from s3dnerf.faces.recon.deep3d import standard_points
from s3dnerf.faces.recon.morphable import five_of, load_bfm
from s3dnerf.settings.schema import Settings
from tests.flows.bfm_files import owners_files


def test_every_number_stands_where_it_belongs(tmp_path: Path) -> None:
    held = owners_files(tmp_path / "BFM")
    found = bfm2009.front_model(tmp_path / "BFM")
    for i, of_m in enumerate(held["idx"].ravel() - 1):
        of_n = int(held["trimIndex"].ravel()[of_m]) - 1
        for axis in range(3):
            row, source, source_exp = 3 * i + axis, 3 * of_n + axis, 3 * int(of_m) + axis
            assert found["meanshape"][0, row] == pytest.approx(held["shapeMU"][source, 0] / 1e5, rel=1e-6)
            assert found["meantex"][0, row] == held["texMU"][source, 0]
            wanted = [held["shapePC"][source, j] * held["shapeEV"][j, 0] / 1e5 for j in range(80)]
            assert found["idBase"][row] == pytest.approx(wanted, rel=1e-5)
            wanted = [held["exp_basis"][j, source_exp] * held["std_exp"][j] / 1e5 for j in range(64)]
            assert found["exBase"][row] == pytest.approx(wanted, rel=1e-5)
            wanted = [held["texPC"][source, j] * held["texEV"][j, 0] for j in range(80)]
            assert found["texBase"][row] == pytest.approx(wanted, rel=1e-5)


def test_the_loader_reads_what_was_written(tmp_path: Path) -> None:
    held = owners_files(tmp_path / "BFM")
    model, points = bfm2009.convert(tmp_path / "BFM", tmp_path / "weights" / "BFM_model_front.mat")
    assert points.name == "similarity_Lm3D_all.mat" and np.allclose(standard_points(points), five_of(held["lm"]))
    loaded, front = load_bfm(model), bfm2009.front_model(tmp_path / "BFM")
    random = np.random.default_rng(1)
    identity, expression = random.standard_normal(80), random.standard_normal(64)
    moved = front["idBase"] @ identity + front["exBase"] @ expression
    assert np.allclose(loaded.shape(identity, expression) - loaded.mean, moved.reshape(-1, 3), atol=1e-5)
    centred = front["meanshape"].reshape(-1, 3) - front["meanshape"].reshape(-1, 3).mean(axis=0)
    assert np.allclose(loaded.mean, centred, atol=1e-5)
    assert np.array_equal(loaded.triangles, held["tri"].astype(int) - 1)
    assert np.array_equal(loaded.keypoints, held["keypoints"].astype(int).ravel() - 1)
    assert "skinmask" in loadmat(model), "what facemodel_info.mat says besides is kept"


def test_the_layout_is_the_one_that_the_benchmark_makes(tmp_path: Path) -> None:
    owners_files(tmp_path / "BFM")
    found, official = bfm2009.front_model(tmp_path / "BFM"), face_model(3_200)
    for name, value in official.items():
        assert found[name].ndim == value.ndim == 2 and found[name].dtype.kind in (value.dtype.kind, "u"), name
    for name in ("idBase", "exBase", "texBase", "keypoints", "tri"):
        assert found[name].shape[1] == official[name].shape[1], name


def test_equal_inputs_give_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    owners_files(tmp_path / "BFM")
    first, _ = bfm2009.convert(tmp_path / "BFM", tmp_path / "a" / "m.mat")
    monkeypatch.setattr(time, "asctime", lambda *_: "Thu Jan  1 00:00:00 1970")
    second, _ = bfm2009.convert(tmp_path / "BFM", tmp_path / "b" / "m.mat")
    assert first.read_bytes() == second.read_bytes()


def test_all_missing_files_are_named_with_who_gives_them(tmp_path: Path) -> None:
    owners_files(tmp_path)
    (tmp_path / "Exp_Pca.bin").unlink()
    (tmp_path / "std_exp.txt").unlink()
    said = r"got 5 of 7 files, expected also Exp_Pca.bin \(github.com/Juyong/3DFace\); std_exp.txt \(github.com/sicxu"
    with pytest.raises(WeightFileError, match=said):
        bfm2009.convert(tmp_path, tmp_path / "weights" / "m.mat")
    assert not (tmp_path / "weights").exists()


def _mat(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        held = {key: value for key, value in loadmat(folder / name).items() if not key.startswith("__")}
        held |= {key: value(held[key]) for key, value in changes.items() if value is not None}
        savemat(folder / name, {key: value for key, value in held.items() if changes.get(key, 1) is not None})

    return change


def _bytes(name: str, content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content((folder / name).read_bytes())) and None


FAULTS = {
    "no MATLAB file": (_bytes("BFM_exp_idx.mat", lambda _: b"text"), "BFM_exp_idx.mat: cannot be read as a MATLAB"),
    "no such array": (
        _mat("01_MorphableModel.mat", texEV=None),
        "01_MorphableModel.mat: texEV: got nothing, expected an",
    ),
    "no numbers": (_mat("BFM_front_idx.mat", idx=lambda _: "text"), "idx: got <U4, expected an array of numbers"),
    "few modes": (
        _mat("01_MorphableModel.mat", shapePC=lambda a: a[:, :70]),
        "shapePC, shapeEV: got shapes (150, 70) and (85, 1), expected (3n, k) and k with k at least 80",
    ),
    "another mean": (_mat("01_MorphableModel.mat", shapeMU=lambda a: a[3:]), "shapeMU: got 147 numbers, expected 150"),
    "another texture": (
        _mat("01_MorphableModel.mat", texMU=lambda a: a[3:], texPC=lambda a: a[3:]),
        "texMU: got 49 vertices, expected 50 of shapeMU",
    ),
    "not finite": (
        _mat("01_MorphableModel.mat", texPC=lambda a: np.where(a > 1, np.nan, a)),
        "texPC, texEV: got numbers that are not finite",
    ),
    "half a file": (
        _bytes("Exp_Pca.bin", lambda b: b[: len(b) // 2]),
        "bytes with the number 70 first, expected e of at",
    ),
    "an empty file": (_bytes("Exp_Pca.bin", lambda _: b""), "got 0 bytes with the number 0 first"),
    "fewer deviations": (_bytes("std_exp.txt", lambda _: b"1 2 3"), "expected (3n, k) and k with k at least 64"),
    "words": (_bytes("std_exp.txt", lambda _: b"one two"), "std_exp.txt: expected 70 numbers"),
    "other vertices": (
        _mat("BFM_exp_idx.mat", trimIndex=lambda a: a[1:]),
        "trimIndex: got 39 vertices, expected 40 as in",
    ),
    "from 0": (_mat("BFM_front_idx.mat", idx=lambda a: a - 1), "idx: got vertices 0 … "),
    "beyond": (_mat("BFM_exp_idx.mat", trimIndex=lambda a: a + 10), "expected some of 1 … 50"),
    "few keypoints": (
        _mat("facemodel_info.mat", keypoints=lambda a: a[:, 1:]),
        "got shapes (1, 67) and (30, 3), expected",
    ),
    "keypoints beyond": (_mat("facemodel_info.mat", keypoints=lambda a: a + 30), "keypoints: got vertices 31 … "),
    "few points": (_mat("similarity_Lm3D_all.mat", lm=lambda a: a[1:]), "lm: got shape (67, 3), expected (68, 3)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named_and_nothing_is_written(fault: str, tmp_path: Path) -> None:
    change, said = FAULTS[fault]
    owners_files(tmp_path)
    change(tmp_path)
    with pytest.raises(WeightFileError, match=re.escape(said)):
        bfm2009.convert(tmp_path, tmp_path / "weights" / "m.mat")
    assert not (tmp_path / "weights").exists()


def test_the_command_lays_all_that_the_backend_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = Settings()
    settings = replace(plain, masks=replace(plain.masks, network="own/net.pth", morphable_model="own/model.mat"))
    Path("params.yaml").write_text("masks: {network: own/net.pth, morphable_model: own/model.mat}\n")
    owners_files(tmp_path / "BFM")

    def lacking() -> list[str]:
        files = next(files for component, _, files in check(settings) if component.key == "face3d")
        return [path for path, here in files.items() if not here]

    assert len(lacking()) == 3
    assert cli.fetch(("deep3d",), source=Path("BFM")) == 0
    said = capsys.readouterr().out
    assert "Basel Face Model: non-commercial" in said and "still missing: own/net.pth: epoch_20.pth of" in said
    assert lacking() == ["own/net.pth"]
    Path("BFM/epoch_20.pth").write_bytes(b"network")
    assert cli.fetch(("deep3d",), source=Path("BFM")) == 0
    assert lacking() == [] and Path("own/net.pth").read_bytes() == b"network"
    assert "written: own/model.mat, own/similarity_Lm3D_all.mat, own/net.pth" in capsys.readouterr().out


def test_other_files_in_their_places_are_not_overwritten(tmp_path: Path) -> None:
    owners_files(tmp_path / "BFM")
    (tmp_path / "BFM" / "epoch_20.pth").write_bytes(b"network")
    lay_deep3d(tmp_path / "BFM", None, tmp_path)
    laid = tmp_path / "weights" / "deep3d"
    for name in ("BFM_model_front.mat", "similarity_Lm3D_all.mat", "epoch_20.pth"):
        kept = (laid / name).read_bytes()
        (laid / name).write_bytes(b"mine")
        with pytest.raises(WeightFileError, match=f"{name}: got another file there, expected none or .*move it away"):
            lay_deep3d(tmp_path / "BFM", None, tmp_path)
        assert (laid / name).read_bytes() == b"mine"
        (laid / name).write_bytes(kept)
    shutil.copytree(laid, tmp_path / "BFM", dirs_exist_ok=True)
    lay_deep3d(tmp_path / "BFM", None, tmp_path)


def test_from_is_of_deep3d_alone(tmp_path: Path) -> None:
    for what in ((), ("vgg19",), ("deep3d", "vgg19")):
        with pytest.raises(SettingsError, match="--from: got .*expected deep3d"):
            cli.fetch(what, source=tmp_path)
