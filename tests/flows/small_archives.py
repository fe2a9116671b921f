"""Small archives as licensees hold them: LRS2's tar in parts with its lists, MEAD's tar of videos and of sounds a person."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

UTTERANCES = ("main/11/00001", "main/11/00002", "main/12/00001", "pretrain/13/00050")
LISTS = {"train.txt": "11/00001\n11/00002\n", "val.txt": "", "test.txt": "12/00001 NF\n", "pretrain.txt": "13/00050\n"}
MEAD_FILES = tuple(
    f"{person}/{path}"
    for person in ("M003", "W021")
    for path in ("video/front/sad/level_1/001.mp4", "video/top/sad/level_1/001.mp4", "audio/sad/level_1/001.m4a")
)


def tar_bytes(files: dict[str, bytes], form: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_bytes(files: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def content(name: str) -> bytes:
    """Some bytes of a file, other ones for each name."""
    return name.encode() * 300


def lrs2_files() -> dict[str, bytes]:
    return {
        f"mvlrs_v1/{utterance}{suffix}": content(utterance + suffix)
        for utterance in UTTERANCES
        for suffix in (".mp4", ".txt")
    }


def write(folder: Path, **files: bytes | str) -> Path:
    """Files by name, ``__`` for a dot and ``___`` for a slash."""
    for name, data in files.items():
        path = folder / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


def lrs2_archives(folder: Path, whole: bytes | None = None, parts: int = 3) -> Path:
    """One tar in parts, and the four lists beside them."""
    whole = whole or tar_bytes(lrs2_files())
    step = -(-len(whole) // parts)
    pieces = {f"lrs2_v1_parta{'abc'[i]}": whole[i * step : (i + 1) * step] for i in range(parts)}
    return write(folder, **pieces, **{name.replace(".", "__"): text for name, text in LISTS.items()})


def mead_archives(folder: Path) -> Path:
    """A tar of videos and one of sounds a person, in the person's folder, as MEAD is given."""
    for person in ("M003", "W021"):
        for kind in ("video", "audio"):
            inside = {
                name.partition("/")[2]: content(name) for name in MEAD_FILES if name.startswith(f"{person}/{kind}")
            }
            write(folder, **{f"{person}___{kind}__tar": tar_bytes(inside)})
    return folder
