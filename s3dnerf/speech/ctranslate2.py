"""A CTranslate2 ``model.bin`` read as what it is: named arrays. Nothing in it is run.

Layout, little-endian (CTranslate2's ``models/model.cc``, which reads it, and its Python converter's
``model_spec.py``, which writes it): uint32 version of the format; text: the model's kind; uint32 revision of that kind;
uint32 number of variables; for each: text name, uint8 rank, rank × uint32 dimensions, uint8 type, uint32 bytes, the
bytes in row order; uint32 number of aliases; for each: text alias, text name. A text is a uint16 length, the closing
zero included, and its bytes.

Reads one file; writes nothing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3dnerf.core.errors import S3DNeRFError

VERSION = 6  # since CTranslate2 2.0; earlier ones have no aliases or other type numbers
TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}  # 5 is bfloat16, which numpy does not have
MOST_DIMENSIONS = 8


class CTranslate2Error(S3DNeRFError, ValueError):
    """The file is not of CTranslate2's format, or damaged; the message says where."""


@dataclass(frozen=True)
class CTranslate2File:
    """What a file holds.

    Attributes
    ----------
    kind, revision : for example ``WhisperSpec``, 3
    variables : name → array; of the file's own types and shapes, read-only
    aliases : another name of a variable → its name
    """

    kind: str
    revision: int
    variables: dict[str, np.ndarray]
    aliases: dict[str, str]


class _Cursor:
    """A place in bytes that cannot be read past their end."""

    def __init__(self, data: bytes, path: Path) -> None:
        self.data, self.path, self.at = data, path, 0

    def fault(self, what: str) -> CTranslate2Error:
        return CTranslate2Error(f"{self.path}: not a whole CTranslate2 file: {what} (byte {self.at})")

    def take(self, size: int, what: str) -> bytes:
        """The next ``size`` bytes."""
        if size > len(self.data) - self.at:
            raise self.fault(f"{what}: {size} bytes expected, {len(self.data) - self.at} left")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, form: str, what: str) -> int:
        """An unsigned number: ``B``, ``H`` or ``I``."""
        return int(struct.unpack("<" + form, self.take(struct.calcsize("<" + form), what))[0])

    def text(self, what: str) -> str:
        """A text of at least one character that closes with the only zero in it."""
        given = self.take(self.number("H", what), what)
        if len(given) < 2 or given.find(b"\0") != len(given) - 1 or not given[:-1].isascii():
            raise self.fault(f"{what}: expected ASCII text that closes with a zero, got {given[:40]!r}")
        return given[:-1].decode("ascii")

    def variable(self) -> tuple[str, np.ndarray]:
        """Name and array; views of the bytes, nothing is copied."""
        name = self.text("a variable's name")
        rank = self.number("B", f"{name}: number of dimensions")
        if rank > MOST_DIMENSIONS:
            raise self.fault(f"{name}: {rank} dimensions, at most {MOST_DIMENSIONS} expected")
        shape = tuple(self.number("I", f"{name}: a dimension") for _ in range(rank))
        kind = self.number("B", f"{name}: type")
        if kind not in TYPES:
            raise self.fault(f"{name}: type {kind}, expected one of {', '.join(map(str, TYPES))}")
        dtype, size = np.dtype(TYPES[kind]), self.number("I", f"{name}: size")
        expected = dtype.itemsize
        for side in shape:  # Python's numbers: no product of dimensions runs over
            expected *= side
        if size != expected:
            raise self.fault(f"{name}: {size} bytes for {dtype} of shape {shape}, which takes {expected}")
        return name, np.frombuffer(self.take(size, name), dtype).reshape(shape)


def read_ctranslate2(path: str | Path) -> CTranslate2File:
    """Every variable of a CTranslate2 ``model.bin``.

    Raises
    ------
    CTranslate2Error
        For another version of the format, a variable whose bytes do not fit its shape and type, a name that comes
        twice, an alias of nothing, a file that ends early or goes on after its end. OSError where there is no file.
    """
    path = Path(path)
    cursor = _Cursor(path.read_bytes(), path)
    if (version := cursor.number("I", "version")) != VERSION:
        raise cursor.fault(f"version {version}, expected {VERSION}")
    kind, revision = cursor.text("the model's kind"), cursor.number("I", "revision")
    variables: dict[str, np.ndarray] = {}
    for _ in range(cursor.number("I", "number of variables")):
        name, value = cursor.variable()
        if name in variables:
            raise cursor.fault(f"{name}: a second variable of this name")
        variables[name] = value
    aliases: dict[str, str] = {}
    for _ in range(cursor.number("I", "number of aliases")):
        alias, name = cursor.text("an alias"), cursor.text("an alias's variable")
        if name not in variables or alias in variables or alias in aliases:
            raise cursor.fault(f"{alias}: an alias of {name}: expected a new name for a variable that is there")
        aliases[alias] = name
    if cursor.at != len(cursor.data):
        raise cursor.fault(f"{len(cursor.data) - cursor.at} bytes after the end")
    return CTranslate2File(kind, revision, variables, aliases)
