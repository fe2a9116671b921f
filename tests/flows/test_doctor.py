"""``s3dnerf doctor``: what the table says of each component and corpus, its size, colours and exit status."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows import cli
from flows.components import COMPONENTS, check, chosen
from flows.doctor import HERE, MISSING, OFF, REPLACEMENT, corpus_rows, run_doctor, table_rows
from flows.fetch import needed
from s3dnerf.core import capacity
from s3dnerf.core.errors import SettingsError
from s3dnerf.core.yaml_text import dump_yaml
from s3dnerf.settings.loading import as_dict, load_settings, preset_settings
from s3dnerf.settings.schema import RawSettings, Settings

KEYS = ["landmarks", "face3d", "speech", "judge", "lpips", "perceptual", "identity"]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return tmp_path


def write_settings(settings: Settings) -> None:
    Path("params.yaml").write_text(dump_yaml(as_dict(settings)))


def lay_files(settings: Settings) -> None:
    """A byte at each place where a backend that the settings name looks; a folder gets one file."""
    for component, backend, files in check(settings):
        for path in files if backend == component.real else ():
            names = [of_one[0] for of_one in component.inside] or ["file"]
            for place in [Path(path)] if Path(path).suffix else [Path(path) / name for name in names]:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(b"x")


def states(settings: Settings) -> dict[str, tuple[str, str]]:
    return {row.component.key: (row.state, row.needs) for row in table_rows(settings)}


def test_one_row_a_setting_in_the_order_of_the_pipeline() -> None:
    rows = table_rows(Settings())
    assert [row.component.key for row in rows] == KEYS
    assert not any(row.component.instead_of for row in rows), "a row is named after the paper's backend"
    named = {component.setting for component in COMPONENTS if not component.by_name}
    assert {row.component.setting for row in rows} == named


@pytest.mark.parametrize("preset", ["sample", "mini", "paper", "tiny"])
def test_the_table_fits_80_columns_and_one_screen(preset: str, capsys: pytest.CaptureFixture) -> None:
    write_settings(preset_settings(preset))
    run_doctor()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80


def test_what_is_missing_and_how_to_get_it() -> None:
    found = states(preset_settings("paper"))
    assert {state for state, _ in found.values()} == {MISSING}
    assert found["landmarks"][1] == found["identity"][1] == "s3dnerf fetch insightface"
    assert found["face3d"][1] == "s3dnerf fetch deep3d" and found["perceptual"][1] == "s3dnerf fetch vgg19"


def test_replacements_say_how_to_get_the_papers_backend() -> None:
    found = states(preset_settings("tiny"))
    assert found["speech"] == (REPLACEMENT, "s3dnerf fetch wav2vec2") and found["lpips"] == (OFF, "s3dnerf fetch lpips")
    assert found["perceptual"] == (REPLACEMENT, "s3dnerf fetch vgg19")
    sample = preset_settings("sample")
    assert states(sample)["speech"] == (MISSING, "s3dnerf fetch whisper"), "Whisper is named, and not here"
    lay_files(sample)
    assert states(sample)["speech"] == (REPLACEMENT, "s3dnerf fetch wav2vec2"), "Whisper is here, and not the paper's"
    Path("weights/vgg19.pth").write_bytes(b"x")
    assert states(sample)["perceptual"] == (REPLACEMENT, "s3dnerf doctor --write")


def test_with_all_files_the_papers_backends_are_here(capsys: pytest.CaptureFixture) -> None:
    settings = replace(preset_settings("paper"), raw=RawSettings(None, None, None, None))
    settings = replace(settings, speech=replace(settings.speech, model="weights/wav2vec2"))
    write_settings(settings)
    assert cli.doctor() == 1
    lay_files(settings)
    found = states(settings)
    assert {state for state, _ in found.values()} == {HERE}
    assert found["landmarks"][1] == "weights/insightface/buffalo_l" and found["face3d"][1] == "weights/deep3d"
    capsys.readouterr()
    assert cli.doctor() == 0 and "MISSING " not in capsys.readouterr().out
    Path("weights/deep3d/similarity_Lm3D_all.mat").unlink()
    assert cli.doctor() == 1, "the reconstruction reads it beside the model"


def test_lpips_needs_its_network_and_its_heads() -> None:
    settings = preset_settings("paper")
    Path("weights/lpips").mkdir(parents=True)
    for name, state in (("vgg16.safetensors", MISSING), ("alexnet.safetensors", MISSING), ("alex.pth", HERE)):
        Path("weights/lpips", name).write_bytes(b"x")
        assert states(settings)["lpips"][0] == state, name


def test_a_corpus_that_is_not_there_ends_with_status_1(capsys: pytest.CaptureFixture) -> None:
    settings = preset_settings("tiny")
    write_settings(settings)
    assert cli.doctor() == 0, "its corpora are made by the stage sample"
    assert "data/tiny/sample/raw/HDTF: made by the stage sample" in capsys.readouterr().out
    settings = replace(settings, raw=RawSettings("raw/HDTF", None, None, None))
    write_settings(settings)
    assert cli.doctor() == 1
    assert "hdtf       MISSING: no folder raw/HDTF (raw.hdtf, local.yaml)" in capsys.readouterr().out
    Path("raw/HDTF").mkdir(parents=True)
    assert cli.doctor() == 0
    assert [(corpus, state) for corpus, state, _ in corpus_rows(settings)] == [
        ("hdtf", HERE),
        *((corpus, OFF) for corpus in ("lrs2", "mead", "portraits")),
    ]


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    write_settings(preset_settings("sample"))
    run_doctor()
    plain = capsys.readouterr().out
    assert "\x1b[" not in plain
    monkeypatch.setenv("FORCE_COLOR", "1")
    run_doctor()
    coloured = capsys.readouterr().out
    assert "\x1b[33mreplacement" in coloured and "\x1b[1;31mMISSING" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    run_doctor()
    assert "\x1b[33m" not in capsys.readouterr().out


def test_the_details_of_one_component(capsys: pytest.CaptureFixture) -> None:
    write_settings(preset_settings("paper"))
    for component in (component for component in COMPONENTS if not component.by_name):
        assert cli.doctor(component.key) == 1
        said = capsys.readouterr().out
        assert f"{component.setting}: " in said and component.where in said and component.licence in said
        assert all(f"missing: {path}\n" in said for path in component.files.values()) and component.note in said
    assert cli.doctor("align.backend") == 1
    assert capsys.readouterr().out.startswith("detector, landmarks: align.backend: insightface (MISSING)\n")
    write_settings(preset_settings("tiny"))
    assert cli.doctor("landmarks") == 0


def test_the_sync_filter_is_a_component_where_the_settings_name_its_weights(capsys: pytest.CaptureFixture) -> None:
    tiny = preset_settings("tiny")
    settings = replace(tiny, speech=replace(tiny.speech, sync_filter="syncnet"))
    write_settings(settings)
    assert cli.doctor() == 1 and len(capsys.readouterr().out.splitlines()) <= 24
    assert states(settings)["filter"] == (MISSING, "s3dnerf fetch syncnet") and needed(settings) == ["syncnet"]
    assert cli.doctor("filter") == 1 and "missing: weights/syncnet_v2.model\n" in capsys.readouterr().out
    lay_files(settings)
    assert cli.doctor() == 0 and states(settings)["filter"] == (HERE, "weights/syncnet_v2.model")
    assert chosen(settings).speech.sync_filter == "syncnet" and chosen(tiny).speech.sync_filter == "off"
    assert chosen(settings).speech.sync_weights == settings.speech.sync_weights


def test_networks_of_fid_and_fvd_are_listed_where_the_settings_name_them(capsys: pytest.CaptureFixture) -> None:
    tiny = preset_settings("tiny")
    assert not {"fid", "fvd"} & states(tiny).keys()
    settings = replace(tiny, evaluate=replace(tiny.evaluate, fid="inception", fvd="i3d", fvd_weights="own/i3d.pt"))
    write_settings(settings)
    assert cli.doctor() == 1 and needed(settings) == ["fid", "fvd"]
    assert states(settings)["fid"] == (MISSING, "s3dnerf fetch fid")
    assert cli.doctor("fvd") == 1 and "missing: own/i3d.pt\n" in capsys.readouterr().out
    lay_files(settings)
    assert states(settings)["fvd"] == (HERE, "own/i3d.pt") and cli.doctor() == 0
    assert cli.fetch(("fid", "fvd")) == 0
    said = capsys.readouterr().out
    assert "sha256sum of it begins with 6726825d" in said and "i3d_torchscript.pt" in said


def test_a_name_that_is_no_component() -> None:
    write_settings(preset_settings("tiny"))
    with pytest.raises(SettingsError, match="doctor: got judges, expected one of landmarks, face3d, .*align.backend"):
        cli.doctor("judges")
    with pytest.raises(SettingsError, match="doctor: got judge and --write, expected one of them"):
        cli.doctor("judge", write=True)


def test_long_paths_are_shortened_and_odd_ones_printed_as_they_are(capsys: pytest.CaptureFixture) -> None:
    settings = preset_settings("tiny")
    folder = "a/long/way/to/the/weights/[bold]of/buffalo_l"
    settings = replace(settings, align=replace(settings.align, backend="insightface", model_dir=folder))
    write_settings(settings)
    lay_files(settings)
    assert cli.doctor() == 0
    assert "here          …/weights/[bold]of/buffalo_l\n" in capsys.readouterr().out
    assert cli.doctor("landmarks") == 0 and f"here: {folder}\n" in capsys.readouterr().out


def test_write_takes_what_is_here() -> None:
    write_settings(preset_settings("tiny"))
    Path("weights").mkdir()
    Path("weights/syncnet_v2.model").write_bytes(b"x")
    assert cli.doctor(write=True) == 0
    written = load_settings()
    assert (written.evaluate.judge, written.evaluate.syncnet_weights) == ("syncnet", "weights/syncnet_v2.model")
    assert written.masks.backend == "fitted" and states(written)["judge"] == (HERE, "weights/syncnet_v2.model")


def test_two_backends_that_share_a_setting_for_their_file() -> None:
    paper = preset_settings("paper")
    Path("weights/lpips").mkdir(parents=True)
    Path("weights/lpips/vgg16.safetensors").write_bytes(b"x")
    train = chosen(paper).train
    assert (train.perceptual, train.vgg_weights) == ("vgg16", "weights/lpips/vgg16.safetensors")
    Path("weights/vgg19.pth").write_bytes(b"x")
    train = chosen(paper).train
    assert (train.perceptual, train.vgg_weights) == ("vgg19", "weights/vgg19.pth")


def test_too_little_memory_is_said_and_enough_is_not(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(preset_settings("tiny"))
    monkeypatch.delenv(capacity.SWITCH, raising=False)
    monkeypatch.setattr(capacity.shutil, "disk_usage", lambda place: SimpleNamespace(free=10**12))
    monkeypatch.setattr(capacity, "memory_bytes", lambda: 10**12)
    run_doctor()
    assert "GB of memory" not in capsys.readouterr().out
    monkeypatch.setattr(capacity, "memory_bytes", lambda: 10**8)
    run_doctor()
    assert "make demo needs " in (said := capsys.readouterr().out) and "this process may use 0.1 GB" in said
