"""CTranslate2's format: what was written is read, and a damaged file is refused before anything is taken from it."""

import struct

import numpy as np
import pytest

from s3dnerf.speech.ctranslate2 import CTranslate2Error, read_ctranslate2
from tests.speech.whisper_files import ctranslate2_bytes, text, variable

MADE = {
    "a/weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a/half": np.array([[[1.5, -2.0]]], np.float16),
    "a/heads": np.array(6, np.int16),
    "a/flag": np.array([1, -1], np.int8),
    "a/none": np.zeros((0, 4), np.int32),
}


def read(tmp_path, data):
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    return read_ctranslate2(path)


def test_every_variable_comes_back_with_its_type_and_shape(tmp_path):
    found = read(tmp_path, ctranslate2_bytes(MADE, {"b/weight": "a/weight"}))
    assert (found.kind, found.revision, found.aliases) == ("WhisperSpec", 3, {"b/weight": "a/weight"})
    assert list(found.variables) == list(MADE)
    for name, value in MADE.items():
        assert found.variables[name].dtype == value.dtype and found.variables[name].shape == value.shape
        assert np.array_equal(found.variables[name], value)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    whole = ctranslate2_bytes(MADE, {"b/weight": "a/weight"})
    for length in range(len(whole)):
        with pytest.raises(CTranslate2Error, match="model.bin: not a whole CTranslate2 file"):
            read(tmp_path, whole[:length])


HEAD = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, 1)
NO_ALIASES = struct.pack("<I", 0)
WRONG = {
    "another version": (ctranslate2_bytes(MADE, version=5), "version 5, expected 6"),
    "more after the end": (ctranslate2_bytes(MADE) + b"\0", "1 bytes after the end"),
    "a pickle": (b"\x80\x04\x95" + bytes(40), "version"),
    "an unknown type": (HEAD + text("a") + struct.pack("<BIBI", 1, 1, 5, 2) + b"ab" + NO_ALIASES, "a: type 5"),
    "bytes that do not fit the shape": (
        HEAD + text("a") + struct.pack("<BIBI", 1, 2, 0, 4) + bytes(4) + NO_ALIASES,
        r"a: 4 bytes for float32 of shape \(2,\), which takes 8",
    ),
    "a product that would run over": (
        HEAD + text("a") + struct.pack("<BIIBI", 2, 2**31, 2**31, 0, 0) + NO_ALIASES,
        "which takes 18446744073709551616",
    ),
    "too many dimensions": (HEAD + text("a") + b"\xff" + bytes(2000), "255 dimensions"),
    "a name twice": (
        struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, 2) + 2 * variable("a", np.zeros(1, np.int8)),
        "a second variable",
    ),
    "an alias of nothing": (ctranslate2_bytes(MADE, {"b": "c"}), "b: an alias of c"),
    "an alias over a variable": (ctranslate2_bytes(MADE, {"a/half": "a/weight"}), "a/half: an alias"),
    "a name that does not close": (HEAD + struct.pack("<H", 3) + b"abc" + bytes(20), "closes with a zero"),
    "an empty name": (HEAD + struct.pack("<H", 1) + bytes(20), "closes with a zero"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case, tmp_path):
    data, said = WRONG[case]
    with pytest.raises(CTranslate2Error, match=said):
        read(tmp_path, data)
