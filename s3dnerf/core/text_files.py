"""The project's small text files as people, editors and git leave them: read as UTF-8, or refused by name.

An editor may have saved a file in another encoding, and a merge may have left git's marks in it: a parser's message
about a byte or a key would hide that.
"""

from __future__ import annotations

import re
from pathlib import Path

from s3dnerf.core.errors import S3DNeRFError

# the first bytes of text in UTF-16 and UTF-32, with its mark or beginning with a character of ASCII
OTHER_ENCODING = re.compile(rb"\xff\xfe|\xfe\xff|\x00|[^\x00]\x00")
CONFLICT = re.compile(r"^<{7} .*^>{7} ", re.MULTILINE | re.DOTALL)


class TextFileError(S3DNeRFError, ValueError):
    """A file is not text that can be used; the message names it and says what to do."""


def text_of(data: bytes, name: str, then: str = "") -> str:
    """The text of a file's bytes, without a byte order mark.

    Parameters
    ----------
    data : bytes
    name : str
        The file, for messages.
    then : str
        What is to be done after a conflict was settled; empty for nothing.

    Raises
    ------
    TextFileError
        It is in another encoding than UTF-8, or holds a merge's conflict.
    """
    if OTHER_ENCODING.match(data):
        raise TextFileError(f"{name}: text in UTF-16 or another wide encoding — save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        byte = f"byte 0x{data[error.start]:02x} is not UTF-8 (Latin-1 or Windows-1252?)"
        raise TextFileError(f"{name}: line {line}: {byte} — save the file as UTF-8") from error
    if found := CONFLICT.search(text):
        line = text[: found.start()].count("\n") + 1
        after = f", then {then}" if then else ""
        what = f"{name}: line {line}: a merge left two versions of this (<<<<<<< … >>>>>>>)"
        todo = f"put one in place of both, or take a whole side: git checkout --ours {name} (or --theirs){after}"
        raise TextFileError(f"{what} — {todo}")
    return text


def read_text(path: str | Path, then: str = "") -> str:
    """The text of a file. Raises TextFileError as :func:`text_of` does, and for what may not be read."""
    path = Path(path)
    try:
        return text_of(path.read_bytes(), str(path), then)
    except IsADirectoryError:
        raise TextFileError(f"{path}: expected a file, found a folder — move it out of the way") from None
    except PermissionError:
        raise TextFileError(f"{path}: this user may not read it — allow it (chmod u+r, or its owner does)") from None
