"""Lay what the catalogue lists where the settings look for it; what is there already is not downloaded again."""

from __future__ import annotations

import json
import shutil
import stat
import tempfile
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from flows.download import DownloadError, Received, RemoteFile, download, readable_size
from flows.fetch_catalogue import Item
from s3dnerf.core.whole_files import taking_the_place_of
from s3dnerf.video.packs import file_sha256

RECORD = Path("weights") / "fetched.json"


def lay(item: Item, place: str, top: Path) -> bool:
    """Put an item's files where a setting looks for them; whether anything had to be downloaded.

    Parameters
    ----------
    place : what the setting says: a file, a folder, or for the form ``hub`` also a hub name
    top : the folder that relative paths are meant from

    Raises
    ------
    DownloadError
        As :func:`flows.download.download`; also for a file there that is another one, and an archive that is unsafe.
    """
    if item.form == "zip":
        return _lay_zip(item, top / place, top)
    if item.form == "file":
        return _lay_file(item, item.files[0], top / place, top)
    if item.form == "folder":
        return any([_lay_file(item, file, top / place / file.name, top) for file in item.files])
    named = place.count("/") == 1 and not place.startswith((".", "/")) and not (top / place).is_dir()
    folder = _hub_folder(item, place) if named else top / place
    new = [_lay_file(item, file, folder / file.name, top) for file in item.files]
    if named:
        reference = folder.parent.parent / "refs" / "main"
        if not reference.exists():
            with taking_the_place_of(reference) as part:
                part.write_text(folder.name)
    return any(new)


def _hub_folder(item: Item, place: str) -> Path:
    """The folder of the pinned revision in the local hub cache, where transformers and the hub's own client look."""
    from huggingface_hub.constants import HF_HUB_CACHE

    before, _, after = item.files[0].url.partition("/resolve/")
    (owner, model), revision = before.split("/")[-2:], after.split("/")[0]
    if place != f"{owner}/{model}":
        raise DownloadError(
            f"{item.setting}: got {place}, expected {owner}/{model} or a folder: no other one is pinned"
        )
    top = Path(HF_HUB_CACHE) / f"models--{owner}--{model}"
    reference = top / "refs" / "main"
    if reference.exists() and reference.read_text().strip() != revision:
        raise DownloadError(
            f"{top}: holds revision {reference.read_text().strip()}, expected {revision}: name a folder in "
            f"{item.setting} instead"
        )
    return top / "snapshots" / revision


def _lay_file(item: Item, file: RemoteFile, path: Path, top: Path) -> bool:
    known = _expected(file, top)
    if path.is_file():
        found = file_sha256(path)
        if not found.startswith(known.sha256):
            raise DownloadError(f"{path}: sha256 {found}, expected {known.sha256}: move it away to have it fetched")
        return False
    _note(item, file, download(known, path), top)
    return True


def _lay_zip(item: Item, folder: Path, top: Path) -> bool:
    if folder.is_dir() and any(folder.iterdir()):
        return False
    file = item.files[0]
    archive = folder.with_name(file.name)
    if not (archive.is_file() and file_sha256(archive) == file.sha256):
        _note(item, file, download(_expected(file, top), archive), top)
    unpack_zip(archive, folder)
    archive.unlink()
    return True


def unpack_zip(archive: Path, folder: Path) -> None:
    """Unpack a zip into ``folder``, which appears whole or not at all; a zip's only top folder is left out.

    Raises DownloadError for what is no zip, for a name outside of the folder, a link or a device, and for too little
    room.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            for member in members:
                name, mode = PurePosixPath(member.filename), member.external_attr >> 16
                outside = name.is_absolute() or ".." in name.parts or "\\" in member.filename
                if outside or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
                    what = "a name outside of its folder" if outside else "no plain file"
                    raise DownloadError(f"{archive}: {member.filename} is {what}: nothing was unpacked")
            wanted, free = sum(m.file_size for m in members), shutil.disk_usage(archive.parent).free
            if wanted > free:
                raise DownloadError(
                    f"{archive}: {readable_size(wanted)} to unpack, {readable_size(free)} free: make room"
                )
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=archive.parent) as made:
                inside = Path(made) / "content"
                opened.extractall(inside, members)
                tops = list(inside.iterdir())
                source = tops[0] if len(tops) == 1 and tops[0].is_dir() else inside
                if folder.is_dir():
                    folder.rmdir()  # an empty one
                source.rename(folder)
    except (zipfile.BadZipFile, OSError) as error:
        raise DownloadError(f"{archive}: cannot be unpacked into {folder}: {error}") from error


def _record(top: Path) -> dict[str, Any]:
    try:
        found = json.loads((top / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DownloadError(f"{top / RECORD}: got no JSON ({error}): expected what s3dnerf fetch wrote") from error
    return dict(found)


def _expected(file: RemoteFile, top: Path) -> RemoteFile:
    """The file with the hash that its first download had, where the catalogue does not know all of it."""
    noted = _record(top).get(file.url, {}).get("sha256", "")
    return replace(file, sha256=noted) if len(file.sha256) < 64 and noted else file


def _note(item: Item, file: RemoteFile, got: Received, top: Path) -> None:
    """Write into ``weights/fetched.json`` what came, from where, when, and under which licence."""
    entry = {
        "source": got.source,
        "size_bytes": got.size_bytes,
        "sha256": got.sha256,
        "pinned": len(file.sha256) == 64,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "licence": item.licence,
    }
    record = _record(top) | {file.url: entry}
    with taking_the_place_of(top / RECORD) as part:
        part.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
