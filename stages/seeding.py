"""The store filled from the outs on disk: clone, ``dvc pull``, one added video, and one pack is made.

DVC deletes the outs of a stage before it runs, so this happens in ``inventory``, which always runs and runs first. What
the store lacks is put there under the key that ``data/<preset>/keys/`` records (:mod:`stages.out_keys`), and only where
every file has the sha256 recorded with the key. Packs are hard links where the file system allows them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.video.packs import PACK_STAGES, file_sha256
from stages.content_store import ContentStore
from stages.out_keys import KeptEntry, read_keys
from stages.preprocessing import RESULT, TAR, result_bytes

NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES)
Files = Mapping[str, bytes | Path]


class NotThere(S3DNeRFError):
    """An out does not hold what its keys say: nothing is taken from it."""


def pack_files(out: Path, corpus: str, entries: list[KeptEntry]) -> Iterator[tuple[KeptEntry, Files]]:
    """The files of packs' entries, put together from a corpus's out."""
    import pandas as pd

    folder = out / corpus
    try:
        index, bad = pd.read_parquet(folder / "index.parquet"), pd.read_parquet(folder / "quarantine.parquet")
    except FileNotFoundError:
        return
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in index.to_dict("records"):
        rows.setdefault(str(row.pop("pack")), []).append(row)
    quarantine = {str(row["clip"]): row for row in bad.to_dict("records")}
    for entry in entries:
        pack = entry.place.partition("/")[2]
        stopped = [quarantine[clip] for clip in entry.quarantined if clip in quarantine]
        result = result_bytes(rows.get(pack, []), stopped, entry.files.get(TAR, ""))
        yield entry, {TAR: folder / f"{pack}.tar", RESULT: result}


def _packs(out: Path, entries: list[KeptEntry]) -> Iterator[tuple[KeptEntry, Files]]:
    corpora: dict[str, list[KeptEntry]] = {}
    for entry in entries:
        corpora.setdefault(entry.place.partition("/")[0], []).append(entry)
    for corpus, of_corpus in corpora.items():
        yield from pack_files(out, corpus, of_corpus)


def _trainings(out: Path, entries: list[KeptEntry]) -> Iterator[tuple[KeptEntry, Files]]:
    for entry in entries:
        yield entry, {name: out / name for name in entry.files}


def _clips(out: Path, entries: list[KeptEntry]) -> Iterator[tuple[KeptEntry, Files]]:
    from stages.evaluate_out import clip_files  # here: it imports torch, which takes seconds, and mostly nothing lacks

    yield from clip_files(out, entries)


def _link(source: Path, target: Path) -> None:
    """A hard link to a file's bytes (to where a link of DVC's points), or a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(os.path.realpath(source), target)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copyfile(source, target)


def _take(store: ContentStore, kind: str, entry: KeptEntry, files: Files) -> bool:
    """Put an entry into the store where every file is what its keys say; whether it was."""
    if set(files) != set(entry.files):
        return False
    try:
        with store.new(kind, entry.key, entry.files, entry.made) as folder:
            for name, content in files.items():
                if isinstance(content, Path):
                    _link(content, folder / name)
                    sha256 = file_sha256(folder / name)
                else:
                    (folder / name).write_bytes(content)
                    sha256 = hashlib.sha256(content).hexdigest()
                if sha256 != entry.files[name]:
                    raise NotThere(name)
    except (NotThere, FileNotFoundError):
        return False
    return True


def fill_store(data_dir: Path, store: ContentStore | None = None) -> dict[str, int]:
    """Put what a preset's outs hold and the store lacks into the store. Returns how many entries, by kind.

    An out that is missing, or not what its keys say, is passed over. Raises OSError for a full disk.
    """
    store = store or ContentStore()
    counts: dict[str, int] = {}
    readers: dict[str, Callable[[Path, list[KeptEntry]], Iterator[tuple[KeptEntry, Files]]]] = {
        **dict.fromkeys(PACK_STAGES, _packs),
        "train_sync": _trainings,
        "train_s3dnerf": _trainings,
        "evaluate": _clips,
    }
    folder = data_dir / "keys"
    for path in sorted(folder.rglob("*.json")):
        kind, entries = read_keys(path)
        lacking = [entry for entry in entries if not store.has(kind, entry.key)]
        if kind not in readers or not lacking:
            continue
        out = data_dir / path.relative_to(folder).with_suffix("")
        try:
            found = sum(_take(store, kind, entry, files) for entry, files in readers[kind](out, lacking))
        except (ValueError, KeyError, json.JSONDecodeError):
            continue  # tables that are not ours, or of another version
        if found:
            counts[kind] = counts.get(kind, 0) + found
    return counts
