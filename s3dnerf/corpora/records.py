"""The nouns of a corpus: raw files, spans of one speaker in a video, clip records, and what became of each file.

A corpus module (:mod:`hdtf`, :mod:`lrs2`, :mod:`mead`, :mod:`portraits`) reads a raw layout: ``find(root, files,
settings) -> Layout``. It looks at names and lists alone; ``stages/ingest.py`` opens the videos and cuts spans into
clips.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.video.file_kinds import meant_as
from s3dnerf.video.signatures import AUDIO, VIDEO

FOLDER = "folder"
CLIP_COLUMNS = {
    "clip": "str",
    "corpus": "str",
    "speaker": "str",
    "split": "str",
    "pack": "str",
    "video": "str",
    "audio": "str",
    "start_s": "float64",
    "end_s": "float64",
    "crop_x": "int64",
    "crop_y": "int64",
    "crop_w": "int64",
    "crop_h": "int64",
    "fps_hz": "float64",
    "width_px": "int64",
    "height_px": "int64",
    "duration_s": "float64",
    "text": "str",
    "video_sha256": "str",
    "audio_sha256": "str",
}
FILE_COLUMNS = {"path": "str", "role": "str", "status": "str", "reason": "str", "detail": "str", "clips": "int64"}
EXCLUDED_COLUMNS = {"clip": "str", "stage": "str", "reason": "str", "detail": "str"}
INVENTORY_COLUMNS = {"corpus": "str", "path": "str", "size": "int64", "sha256": "str", "kind": "str"}

# Left out on purpose or never held: these do not count against ``ingest.max_failed_fraction``.
DELIBERATE = frozenset(
    {
        "view_not_used",
        "training_sentence",
        "over_limit",
        "not_held",
        "no_interval",
        "no_crop",
        "duplicate",
        "not_in_layout",
        "orphan",
        "overlap",
        "companion_file",
        "system_file",
        "editor_file",
        "unfinished_download",
    }
)


class CorpusError(S3DNeRFError, ValueError):
    """A corpus or its lists cannot be used at all; the message says what to do."""


@dataclass(frozen=True)
class RawFile:
    """One row of the inventory.

    Attributes
    ----------
    path : relative to the corpus's raw root, with ``/``
    size : bytes
    sha256 : '' where the file cannot be read
    kind : what its first bytes say (:func:`s3dnerf.video.signatures.content_kind`); :data:`FOLDER` for a folder that
        may not be opened
    """

    path: str
    size: int
    sha256: str
    kind: str = ""

    @property
    def name(self) -> str:
        """The file name with its suffix."""
        return PurePosixPath(self.path).name

    @property
    def stem(self) -> str:
        """The file name without its suffix."""
        return PurePosixPath(self.path).stem

    @property
    def suffix(self) -> str:
        """The suffix in lower case, with its dot."""
        return PurePosixPath(self.path).suffix.lower()

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders below the raw root, then the file name."""
        return PurePosixPath(self.path).parts

    @property
    def is_video(self) -> bool:
        """Whether it is meant as a video: by its suffix, or by its first bytes where the suffix says nothing."""
        return meant_as(self.name, self.kind) == VIDEO

    @property
    def is_audio(self) -> bool:
        """Whether it is meant as a sound file, as :attr:`is_video` says of videos."""
        return meant_as(self.name, self.kind) == AUDIO


@dataclass
class Span:
    """A stretch of one video in which one person speaks.

    Attributes
    ----------
    name : stem of its clips' ids
    speaker, split, video : as in the record
    start_s, end_s : seconds of the file's timeline; ``end_s`` None: to the end
    crop : x, y, w, h in pixels of a picture ``crop_of_height_px`` high (0: of the picture as it is); None: whole frame
    words : (word, start_s, end_s) where the transcript has times, so that each clip gets its own words
    """

    name: str
    speaker: str
    split: str
    video: str
    audio: str = ""
    start_s: float = 0.0
    end_s: float | None = None
    crop: tuple[int, int, int, int] | None = None
    crop_of_height_px: int = 0
    text: str = ""
    words: tuple[tuple[str, float, float], ...] = ()


@dataclass
class FileFate:
    """What a raw file is and what became of it; ``reason`` '' while nothing speaks against it; ``note``: how a used one
    is read.
    """

    role: str
    reason: str = ""
    detail: str = ""
    note: str = ""


@dataclass
class Layout:
    """What :func:`find` of a corpus module found: spans, the fate of every file, and what was left out by name."""

    spans: list[Span] = field(default_factory=list)
    files: dict[str, FileFate] = field(default_factory=dict)
    excluded: list[dict[str, str]] = field(default_factory=list)

    def exclude(self, clip: str, reason: str, detail: str = "") -> None:
        """Account for a clip (or an annotated interval) that never becomes a record."""
        self.excluded.append({"clip": clip, "stage": "ingest", "reason": reason, "detail": detail})

    def drop_file(self, path: str, role: str, reason: str, detail: str = "") -> None:
        """Account for a file that is not used."""
        self.files[path] = FileFate(role, reason, detail)


def slug(name: str) -> str:
    """``name`` as a clip id's part, ``[A-Za-z0-9_-]+``; a changed name gets six digits of its hash, so two never
    meet.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")
    if plain and plain == name:
        return plain
    return f"{plain or 'x'}-{hashlib.sha256(name.encode('utf-8', 'backslashreplace')).hexdigest()[:6]}"


def hash_unit(*names: str) -> float:
    """A number in [0, 1) that depends on the names alone: the same on every machine, in every order, for ever."""
    return int.from_bytes(hashlib.sha256("\0".join(names).encode()).digest()[:8], "big") / 2**64


def read_text(path: Path) -> str:
    """A list or transcript: UTF-8 with or without a byte order mark, other bytes kept visible."""
    return path.read_bytes().decode("utf-8-sig", errors="backslashreplace")


def role_of(file: RawFile) -> str:
    """What a file is meant as: ``video``, ``audio`` or ``other``."""
    if file.is_video:
        return "video"
    return "audio" if file.is_audio else "other"


def table_bytes(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> bytes:
    """Rows as parquet with just these columns and types, also when there are none; equal rows are equal bytes."""
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(columns)).astype(dict(columns))
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()
