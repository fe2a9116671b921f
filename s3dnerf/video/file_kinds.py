"""What each file in a folder of people's is: the one list of suffixes, what the first bytes say, and which files are of
the system and not of anybody's.

:func:`kind_of` reads a file's first kilobytes, everything else looks at names and at what was found there. Whoever
walks a folder accounts for each file by it: used, passed over as what it is (:func:`passed_over`), or named.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass

from s3dnerf.video.signatures import (
    ARCHIVE,
    AUDIO,
    COMPANION,
    DATA,
    DOCUMENT,
    MEDIA,
    PICTURE,
    TEXT,
    UNKNOWN,
    VIDEO,
    content_kind,
)

HEAD_BYTES = 4096
SUFFIXES = {  # lower case; those that several kinds use stand in CONTENT_DECIDES
    VIDEO: (
        ".mp4 .mkv .webm .mov .avi .mpg .mpeg .m4v .flv .ts .wmv .3gp .3g2 .ogv .ogm .m2ts .mts .m2t .dv .mxf .vob .asf"
        " .f4v .gif .m1v .m2v .mpe .mpv .mp4v .qt .divx .rm .rmvb .wtv .ivf .y4m .nut .264 .h264 .265 .h265 .hevc .mjpg"
        " .mjpeg .av1 .obu .tod .mod .dvr-ms"
    ),
    AUDIO: (
        ".wav .m4a .mp3 .aac .flac .ogg .oga .opus .aiff .aif .aifc .caf .au .snd .w64 .rf64 .bwf .wave .amr .awb .ac3"
        " .eac3 .ec3 .dts .wv .tta .wma .mp2 .mp1 .mpa .mka .weba .ape .mpc .ofr .spx .m4b .m4p .voc .sph .gsm .adts"
        " .ra .tak .shn"
    ),
    PICTURE: (
        ".jpg .jpeg .jpe .jfif .png .apng .webp .bmp .dib .tif .tiff .heic .heif .avif .jp2 .j2k .jpx .jxl .psd .ico"
        " .ppm .pgm .pbm .pnm .exr .hdr .tga .dng .cr2 .cr3 .nef .arw .svg .qoi"
    ),
}
KIND_OF_SUFFIX = {suffix: kind for kind, names in SUFFIXES.items() for suffix in names.split()}
VIDEO_SUFFIXES, AUDIO_SUFFIXES, PICTURE_SUFFIXES = (
    tuple(suffix for suffix, k in KIND_OF_SUFFIX.items() if k == kind) for kind in (VIDEO, AUDIO, PICTURE)
)
# one name, several kinds: GIF stands still or moves, Ogg sounds or shows, .ts and .mts are also programs
CONTENT_DECIDES = frozenset({".gif", ".ogg", ".ts", ".mts", ".mod", ".asf", ".rm"})
IN_WORDS = {
    VIDEO: "a video",
    AUDIO: "a sound",
    PICTURE: "a picture",
    MEDIA: "a video or a sound",
    TEXT: "a text",
    DOCUMENT: "a document",
    ARCHIVE: "an archive",
    DATA: "a file of data",
    COMPANION: "what macOS keeps of another file",
    UNKNOWN: "nothing that is known here",
}


@dataclass(frozen=True)
class PassedOver:
    """A file that nobody means to be used: ``role`` and ``reason`` are codes, ``detail`` says it in words."""

    role: str
    reason: str
    detail: str


_COMPANION = PassedOver("companion", "companion_file", "what macOS keeps of another file (AppleDouble)")
_SYSTEM = PassedOver("system", "system_file", "of the operating system or a program, not of anybody's")
_EDITOR = PassedOver("system", "editor_file", "an editor's backup or lock")
_DOWNLOAD = PassedOver("system", "unfinished_download", "a part of a download or of a file that is being written")
COMPANION_FOLDERS = frozenset({"__macosx", ".appledouble"})
SYSTEM_FOLDERS = frozenset(
    ".trashes .trash .spotlight-v100 .fseventsd .temporaryitems .documentrevisions-v100 .ds_store @eadir #recycle"
    " #snapshot .snapshot @recycle $recycle.bin recycler lost+found .git .svn .hg .dvc __pycache__"
    " .ipynb_checkpoints .cache .thumbnails .sync .stfolder .stversions".split()
) | {"system volume information"}
SYSTEM_NAMES = re.compile(
    r"\.ds_store|thumbs\.db(:encryptable)?|ehthumbs(_vista)?\.db|desktop\.ini|\.directory|\.localized|icon\r|\.apdisk"
    r"|\.volumeicon\.icns|\.com\.apple\..*|\.nfs[0-9a-f]+|\.fuse_hidden[0-9a-f]+|\.smbdelete.*|\.metadata_never_index"
    r"|\.gitignore|\.gitattributes|\.gitkeep|\.dvcignore|\.nomedia|\.picasa\.ini|\..*\.lock"
)
EDITOR_NAMES = re.compile(r"\.~lock\..*#|~\$.*|.*~|#.*#|\.#.*|\..*\.sw[a-p]|.*\.(bak|orig|rej|old)")
DOWNLOAD_NAMES = re.compile(
    r".*\.(crdownload|part|partial|filepart|download|opdownload|aria2|ytdl|!qb|!ut|!bt|bc!|td|dlm|unfinished)"
    r"|.*\.part-frag\d+(\.part)?|unconfirmed \d+.*"
)


def passed_over(path: str, content: str = UNKNOWN) -> PassedOver | None:
    """What a file is that nobody means to be used, by its name; None for every other one.

    Parameters
    ----------
    path : relative to the folder that is walked, with ``/``
    content : as :func:`content_kind` says; a ``._x`` that holds sound or pictures is a file like any other

    >>> passed_over("clips/._a.mp4").reason, passed_over("clips/a.mp4.part").reason, passed_over("clips/a.mp4")
    ('companion_file', 'unfinished_download', None)
    """
    parts = path.lower().rstrip("/").split("/")
    name = parts[-1]
    if not COMPANION_FOLDERS.isdisjoint(parts):
        return _COMPANION
    if not SYSTEM_FOLDERS.isdisjoint(parts) or any(part.startswith(".trash-") for part in parts):
        return _SYSTEM
    if name.startswith("._"):
        return None if content in (VIDEO, AUDIO, PICTURE, MEDIA) else _COMPANION
    for names, what in ((SYSTEM_NAMES, _SYSTEM), (DOWNLOAD_NAMES, _DOWNLOAD), (EDITOR_NAMES, _EDITOR)):
        if names.fullmatch(name):
            return what
    return None


def suffix_of(name: str) -> str:
    """The suffix in lower case with its dot; '' where there is none.

    >>> suffix_of("clips/a.MP4"), suffix_of("clips/.mp4"), suffix_of("...mp4")
    ('.mp4', '', '.mp4')
    """
    stem, _, suffix = os.path.basename(name).rpartition(".")
    return f".{suffix.lower()}" if stem and suffix else ""


def named_kind(name: str) -> str:
    """``video``, ``audio`` or ``picture`` by a name's suffix alone; '' for any other."""
    return KIND_OF_SUFFIX.get(suffix_of(name), UNKNOWN)


def first_bytes(path: str | os.PathLike[str]) -> bytes:
    """The first kilobytes of a file. Raises OSError where it cannot be opened."""
    with open(path, "rb") as handle:
        return handle.read(HEAD_BYTES)


def hash_and_kind(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Hex SHA-256 of a file and what its first bytes say, from one reading. Raises OSError."""
    with open(path, "rb") as handle:
        head = handle.read(HEAD_BYTES)
        return hashlib.file_digest(handle, lambda: hashlib.sha256(head)).hexdigest(), content_kind(head)


def kind_by(name: str, content: str) -> str:
    """What a file is, by its content where that is known, else by its name; '' where neither says."""
    if content == MEDIA:
        return AUDIO if named_kind(name) == AUDIO else VIDEO
    return content or named_kind(name)


def kind_of(path: str | os.PathLike[str]) -> str:
    """What a file is: ``video``, ``audio``, ``picture``, ``text``, ``document``, ``archive``, ``data``, ``companion``,
    '' where neither its first bytes nor its name say. Raises OSError where it cannot be opened.
    """
    return kind_by(os.fsdecode(path), content_kind(first_bytes(path)))


def meant_as(name: str, content: str) -> str:
    """What a person means a file to be used as: what its suffix says, and what it is where the suffix says nothing or
    says several things.

    A web page called ``x.mp4`` is meant as a video, and a reader will say what is wrong with it.

    >>> meant_as("x.mp4", "text"), meant_as("x.dat", "video"), meant_as("app.ts", "text"), meant_as("x.TS", "video")
    ('video', 'video', 'text', 'video')
    """
    named = named_kind(name)
    if named and (suffix_of(name) not in CONTENT_DECIDES or not content):
        return named
    return kind_by(name, content)
