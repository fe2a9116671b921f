"""Files from outside are data: code in a weight file is not run, a path does not climb out, a huge header is refused.
Each with an error that names the file.

A trap that would leave a folder behind stands in every place that reads weights, in every format of pickle that torch
has had.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from s3dnerf.core.errors import SettingsError
from s3dnerf.corpora import hdtf, lrs2, mead
from s3dnerf.corpora.records import RawFile, Span
from s3dnerf.evaluation.other_methods import find_methods
from s3dnerf.faces.insightface_backend import InsightFaceBackend
from s3dnerf.faces.recon.deep3d import standard_points
from s3dnerf.faces.recon.morphable import load_bfm
from s3dnerf.faces.recon.network import load_network
from s3dnerf.metrics import lpips
from s3dnerf.reporting.audit import manifest as manifest_rule
from s3dnerf.reporting.report_files import Report
from s3dnerf.settings.loading import load_settings
from s3dnerf.settings.schema import IngestSettings
from s3dnerf.speech.wav2vec2 import Wav2Vec2
from s3dnerf.sync.expert import SyncExpert, load_expert, save_expert
from s3dnerf.sync.syncnet import load_syncnet
from s3dnerf.synthesis.synthesizer import load_generator
from s3dnerf.training.checkpoints import MAGIC, load_checkpoint
from s3dnerf.training.perceptual import VGG
from s3dnerf.video import pictures
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.packs import CorpusPacks, write_pack, write_table
from s3dnerf.video.pictures import read_picture
from stages.ingest import span_fault


class Trap:
    """A pickle that makes a folder when it is read as one."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.folder,)


KINDS: dict[str, Callable[[object, Path], object]] = {
    "pickle 2": lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2)),
    "pickle 5": lambda value, path: path.write_bytes(pickle.dumps(value, protocol=5)),
    "torch zip": lambda value, path: torch.save(value, path),
    "torch old": lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
}


@pytest.fixture(params=KINDS)
def trapped(request: pytest.FixtureRequest, tmp_path: Path):
    """A weight file with a trap in it; at the end, whether the trap was sprung."""
    path = tmp_path / "outside" / "weights.bin"
    path.parent.mkdir()
    KINDS[request.param]({"features.0.weight": Trap(tmp_path / "ran"), "lm": Trap(tmp_path / "ran")}, path)
    yield path
    assert not (tmp_path / "ran").exists(), "the file's code was run"


def _lpips(backbone: bool) -> Callable[[Path], object]:
    def load(path: Path) -> object:
        network = lpips.LPIPS()
        torch.save({f"features.{n}": v for n, v in network.features.state_dict().items()}, path.parent / lpips.BACKBONE)
        torch.save({f"lin{i}.model.1.weight": v for i, v in enumerate(network.heads)}, path.parent / lpips.HEADS)
        shutil.copy(path, path.parent / (lpips.BACKBONE if backbone else lpips.HEADS))
        return lpips.load_lpips(path.parent)

    return load


def _wav2vec2(name: str) -> Callable[[Path], object]:
    def load(path: Path) -> object:
        _speech_model(path.parent)
        shutil.copy(path, path.parent / name)
        return Wav2Vec2(str(path.parent))

    return load


def _speech_model(folder: Path, **more: object) -> None:
    """A wav2vec2 folder without weights."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor

    sizes = {
        "hidden_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "conv_dim": (16,) * 7,
    }
    Wav2Vec2Config(**sizes, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, **more).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=16000, do_normalize=True).save_pretrained(folder)


def _insightface(path: Path) -> object:
    shutil.copy(path, path.parent / "det_10g.onnx")
    return InsightFaceBackend(path.parent)


def _expert(path: Path) -> object:
    from s3dnerf.settings.loading import as_dict, preset_settings

    sync = preset_settings("tiny").sync
    save_expert(path.parent, SyncExpert(sync).state_dict(), {"settings": as_dict(preset_settings("tiny"))["sync"]})
    shutil.copy(path, path.parent / "weights.safetensors")
    return load_expert(path.parent)


def _generator(path: Path) -> object:
    from s3dnerf.settings.loading import as_dict, preset_settings

    card = {"settings": as_dict(preset_settings("tiny")), "speech_dim": 8, "variant": "full"}
    (path.parent / "card.json").write_text(json.dumps(card))
    shutil.copy(path, path.parent / "generator.safetensors")
    return load_generator(path.parent)


CALL = "(it holds more than tensors, a call of posix.mkdir: refused, nothing of it was run|not a plain file of tensors: Unsupported operand)"
LOADERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "SyncNet": (load_syncnet, f"weights.bin: {CALL}"),
    "Deep3D network": (load_network, f"masks.network: .*weights.bin: {CALL}"),
    "morphable model": (load_bfm, "weights.bin: cannot be read as a MATLAB file"),
    "standard points": (standard_points, "weights.bin: cannot be read as a MATLAB file"),
    "AlexNet": (_lpips(backbone=True), f"{lpips.BACKBONE}: {CALL}"),
    "LPIPS heads": (_lpips(backbone=False), f"{lpips.HEADS}: {CALL}"),
    "wav2vec2, pickle": (_wav2vec2("pytorch_model.bin"), f"outside cannot be loaded as wav2vec2: {CALL}"),
    "wav2vec2, safetensors": (_wav2vec2("model.safetensors"), "outside cannot be loaded as wav2vec2: .*header"),
    "insightface": (_insightface, "outside: holds a file that is no model"),
    "lip-sync expert": (_expert, "weights.safetensors: not a safetensors file"),
    "generator": (_generator, "generator.safetensors: not a safetensors file"),
    "VGG-19": (VGG("vgg19").load, "posix.mkdir|Unsupported operand"),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", LOADERS)
def test_code_in_a_weight_file_is_refused_and_not_run(trapped: Path, name: str) -> None:
    load, said = LOADERS[name]
    with pytest.raises((RuntimeError, ValueError), match=said):  # what ends a stage with one message
        load(trapped)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_checkpoint_is_refused_though_its_hash_is_right(
    trapped: Path, caplog: pytest.LogCaptureFixture
) -> None:
    payload, path = trapped.read_bytes(), trapped.with_name("checkpoint.pt")
    path.write_bytes(MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
    assert load_checkpoint(path) is None
    (line,) = caplog.messages
    assert f"checkpoint {path} refused: cannot be read" in line


def test_objects_in_a_matlab_file_or_an_array_are_not_run(tmp_path: Path) -> None:
    trap = np.empty((1,), object)
    trap[0] = Trap(tmp_path / "ran")
    np.save(tmp_path / "a.npy", trap, allow_pickle=True)
    rows = write_pack(tmp_path / "c/p-0.tar", {"clip": {"landmarks.npy": (tmp_path / "a.npy").read_bytes()}})
    write_table(
        tmp_path / "c/index.parquet",
        [{"pack": "p-0", **row} for row in rows],
        ["pack", "clip", "kind", "offset", "size", "crc32"],
    )
    with pytest.raises(ValueError, match="allow_pickle"):
        CorpusPacks(tmp_path / "c").read("clip", "landmarks.npy")
    savemat(tmp_path / "b.mat", {"lm": np.array([{"a": 1}, "text"], dtype=object)})
    with pytest.raises(ValueError, match="expected lm of shape"):
        standard_points(tmp_path / "b.mat")
    assert not (tmp_path / "ran").exists()


def test_code_beside_a_speech_model_is_not_run(tmp_path: Path) -> None:
    """A hub folder may name a Python file of its own as the class to load: it stays a file."""
    _speech_model(tmp_path / "w", auto_map={"AutoModel": "own.Own", "AutoConfig": "own.Own"})
    (tmp_path / "w/own.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\nclass Own: pass\n")
    torch.save({}, tmp_path / "w/pytorch_model.bin")
    with pytest.raises(RuntimeError, match="lacks .* of the network's weights"):
        Wav2Vec2(str(tmp_path / "w"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir", "!!python/object/new:os.mkdir"])
def test_code_in_the_settings_is_not_run(tmp_path: Path, tag: str) -> None:
    (tmp_path / "params.yaml").write_text(f"preset: {tag} [{tmp_path / 'ran'}]\n")
    with pytest.raises(SettingsError, match="not YAML"):
        load_settings(tmp_path / "params.yaml")
    assert not (tmp_path / "ran").exists()


# paths

CLIMBING = ("../../../secret", "/secret", "..", "a/../../../secret", "..\\..\\secret", "secret\x00.mp4")


def _lists(root: Path, texts: dict[str, str]) -> list[RawFile]:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return [RawFile(name, len(text), "0" * 64) for name, text in texts.items()]


def _stays_inside(layout, files: list[RawFile]) -> None:
    """Whatever the lists say, a span reads only files that were found, and every name is one that can be a file's."""
    held = {file.path for file in files}
    assert {span.video for span in layout.spans} | {span.audio for span in layout.spans} <= held | {""}
    names = [span.name for span in layout.spans] + [row["clip"] for row in layout.excluded]
    assert names and not [
        name for name in names if not name.replace("_", "").replace("-", "").replace("+", "").isalnum()
    ]


@pytest.mark.parametrize("path", CLIMBING)
def test_an_hdtf_list_cannot_name_a_file_outside(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"not to be read")
    entry = f"{path}.mp4"
    texts = {
        "HDTF_dataset/RD_video_url.txt": f"{entry} https://host/{path}\n",
        "HDTF_dataset/RD_annotion_time.txt": f"{entry} 00:00-00:10\n",
        "HDTF_dataset/RD_resolution.txt": f"{entry} 720\n",
        "HDTF_dataset/RD_crop_wh.txt": f"{path}_0.mp4 0 512 0 512\n",
        "videos/Ames.mp4": "",
    }
    root = tmp_path / "raw/corpora/hdtf"
    files = _lists(root, texts)
    layout = hdtf.find(root, files, IngestSettings(hdtf_test_speakers=()))
    assert not layout.spans and "not_held" in {row["reason"] for row in layout.excluded}
    _stays_inside(layout, files)


@pytest.mark.parametrize("path", CLIMBING)
def test_an_lrs2_list_cannot_name_a_file_outside(tmp_path: Path, path: str) -> None:
    root = tmp_path / "raw/corpora/lrs2"
    files = _lists(
        root,
        {"mvlrs_v1/train.txt": f"{path}\n", "mvlrs_v1/test.txt": f"{path}/00001\n", "mvlrs_v1/main/7/00001.mp4": ""},
    )
    layout = lrs2.find(root, files, IngestSettings())
    assert [span.video for span in layout.spans] == ["mvlrs_v1/main/7/00001.mp4"] and layout.excluded
    _stays_inside(layout, files)


@pytest.mark.parametrize("part", ["..", "a b", "<script>", "level_1", "x" * 200, "né", "\\xff"])
def test_mead_s_folders_become_plain_names(tmp_path: Path, part: str) -> None:
    root = tmp_path / "raw/mead"
    files = [
        RawFile(f"{part}/video/front/{part}/level_1/{part}.mp4", 1, "0" * 64),
        RawFile(f"{part}/audio/{part}/level_1/{part}.m4a", 1, "1" * 64),
    ]
    layout = mead.find(root, files, IngestSettings(mead_split="identity"))
    assert len(layout.spans) == 1
    _stays_inside(layout, files)


@pytest.mark.parametrize("clip", ["../evil", "/evil", "a/b", "..", "", "a.b"])
def test_a_pack_s_member_cannot_climb_out(tmp_path: Path, clip: str) -> None:
    with pytest.raises(ValueError, match="clip id"):
        write_pack(tmp_path / "c/p-0.tar", {clip: {"a.json": {}}})
    assert not list(tmp_path.rglob("*evil*")) and not list(tmp_path.rglob("*.part"))


def test_a_foreign_archive_is_read_by_its_index_and_never_unpacked(tmp_path: Path) -> None:
    """A tar may hold members that climb out and links: parts are read as bytes at a place, nothing is laid anywhere."""
    folder = tmp_path / "in/c"
    rows = write_pack(folder / "p-0.tar", {"clip": {"a.json": {"whole": 1}}})
    write_table(
        folder / "index.parquet",
        [{"pack": "p-0", **row} for row in rows],
        ["pack", "clip", "kind", "offset", "size", "crc32"],
    )
    with tarfile.open(folder / "p-0.tar", "a") as tar:
        tar.addfile(tarfile.TarInfo("../../evil.json"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    before = sorted(tmp_path.rglob("*"))
    assert CorpusPacks(folder).read("clip", "a.json") == {"whole": 1}
    assert sorted(tmp_path.rglob("*")) == before


def test_other_methods_videos_are_those_in_their_folder(tmp_path: Path) -> None:
    for name in ("outside.mp4", "methods/a/hdtf/in.mp4", "methods/a/deep/down/no.mp4", "methods/loose.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_methods(str(tmp_path / "methods"))
    assert [(video.name, video.corpus, video.clip, video.label) for video in found] == [
        ("a", "hdtf", "in", "a/hdtf/in.mp4")
    ]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "a/../../secret"])
def test_a_report_s_manifest_cannot_point_outside(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("whole")
    digest = hashlib.sha256(b"whole").hexdigest()
    found = manifest_rule(Report("r", {"MANIFEST.sha256": f"{digest}  {name}\n".encode()}))
    assert not found.passed and f"{name} is missing" in found.detail


# pictures


def _png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        *chunks,
        (b"IDAT", zlib.compress(b"\0" * 100)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts
    )


def _riff(*chunks: bytes) -> bytes:
    named = zip(chunks[::2], chunks[1::2], strict=True)  # name, data, name, data, …
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(data)) + data for name, data in named)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _tiff(width: int, height: int) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 10)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(24)


GROWN = b"a\0\0" + zlib.compress(bytes(100_000_000), 9)  # 100 MB of nothing in 100 kB
LAST, SIDE = 16382, (16382).to_bytes(3, "little")  # of 16,383 pixels, the most that a WebP picture has
LOSSLESS = b"\x2f" + struct.pack("<I", LAST | LAST << 14) + bytes(21)
HUGE = {
    "png": _png(60_000, 60_000),
    "png, the largest": _png(2**31 - 1, 2**31 - 1),
    "png, just over": _png(10_000, 10_001),
    "png, a text that grows": _png(4, 4, (b"zTXt", GROWN)),
    "png, a profile that grows": _png(4, 4, (b"iCCP", GROWN)),
    "jpeg": b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\0\x02\x11\1\x03\x11\1"
    b"\xff\xda\0\x0c\3\1\0\2\x11\3\x11\0\x3f\0\xff\xd9",
    "webp, extended": _riff(b"VP8X", bytes(4) + SIDE + SIDE, b"VP8L", LOSSLESS),
    "webp, lossy": _riff(b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383) + bytes(20)),
    "webp, lossless": _riff(b"VP8L", LOSSLESS),
    "bmp": b"BM"
    + struct.pack("<IHHI", 100, 0, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0)
    + bytes(46),
    "tiff": _tiff(60_000, 60_000),
}


@pytest.mark.parametrize("kind", HUGE)
def test_a_huge_picture_is_refused_before_it_is_decoded(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "decode", lambda *_: pytest.fail("decoded"))
    path = tmp_path / "portrait"
    path.write_bytes(HUGE[kind])
    with pytest.raises(VideoError, match=str(path)) as error:
        read_picture(path)
    assert error.value.reason == "too_large"


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
PCX = b"\x0a\5\1\x08" + bytes(124)


@pytest.mark.parametrize("data", [POSTSCRIPT, b"P6\n9 9\n255\n" + bytes(243), PCX])
def test_a_picture_of_another_format_is_refused_unopened(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "portrait.png").write_bytes(data)
    with pytest.raises(VideoError, match="not a picture in a format that is read here"):
        read_picture(tmp_path / "portrait.png")


@pytest.mark.parametrize(
    ("width", "height", "reason"), [(12288, 12288, "too_large"), (40_000_000, 1, "too_large"), (7680, 4320, None)]
)
def test_a_huge_video_is_left_out_before_its_frames_are_read(width: int, height: int, reason: str | None) -> None:
    """A good header may promise what no memory holds: 450 kB of H.264 were five frames of 450 MB (measured)."""
    facts = {"reason": "", "width_px": width, "height_px": height, "has_audio": True}
    fault = span_fault(Span("a", "A", "train", "a.mp4"), "hdtf", facts, {})
    assert (fault and fault[0]) == reason
    assert fault is None or f"{width}×{height} pixels" in fault[1]
