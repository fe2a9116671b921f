"""The store: an entry is whole or not there, whatever is done to its files, and two processes may store it at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.content_store import MANIFEST, ContentStore, Entry

ROOT = Path(__file__).resolve().parents[2]
FILES = {"pack.tar": b"t" * 5000, "result.json": b'{"rows": []}', "strips/step_1.png": b"picture"}


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def read_all(entry: Entry) -> dict[str, bytes]:
    return {name: entry.read(name) for name in entry.files}


def test_what_is_put_comes_back_and_nothing_else(store: ContentStore, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"w" * 10)
    store.put("align", "k1", FILES | {"weights": tmp_path / "weights"})
    assert store.use("align", "k1", read_all) == FILES | {"weights": b"w" * 10}
    assert store.use("align", "k2", read_all) is None and store.use("masks", "k1", read_all) is None
    assert store.has("align", "k1") and not store.has("align", "k2")
    assert [path.name for path in (store.root / "align").iterdir()] == ["k1"]
    assert store.use("align", "k1", lambda entry: entry.copy_all(tmp_path / "out") or True)
    assert (tmp_path / "out/strips/step_1.png").read_bytes() == b"picture"


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


HARM: dict[str, Callable[[Path], None]] = {
    "a changed byte of the tar": lambda entry: _flip(entry / "pack.tar"),
    "a truncated tar": lambda entry: os.truncate(entry / "pack.tar", 4999),
    "an empty tar": lambda entry: os.truncate(entry / "pack.tar", 0),
    "another result": lambda entry: (entry / "result.json").write_bytes(b'{"rows": [1]}') and None,
    "a missing file": lambda entry: (entry / "result.json").unlink(),
    "a changed manifest": lambda entry: _flip(entry / MANIFEST),
    "a truncated manifest": lambda entry: os.truncate(entry / MANIFEST, 20),
    "no manifest, as a killed run of older code left it": lambda entry: (entry / MANIFEST).unlink(),
    "a manifest that is another thing": lambda entry: (entry / MANIFEST).write_text("[1, 2]") and None,
}


@pytest.mark.parametrize("harm", HARM)
def test_a_harmed_entry_is_never_used_and_is_removed(store: ContentStore, harm: str) -> None:
    store.put("align", "k", FILES)
    HARM[harm](store.folder("align", "k"))
    assert store.use("align", "k", read_all) is None
    assert not store.folder("align", "k").exists() and not list((store.root / "align").iterdir())
    store.put("align", "k", FILES)
    assert store.use("align", "k", read_all) == FILES


def test_an_entry_under_another_name_is_not_believed(store: ContentStore) -> None:
    store.put("align", "k", FILES)
    shutil.copytree(store.folder("align", "k"), store.folder("align", "other"))
    shutil.copytree(store.folder("align", "k"), store.folder("masks", "k"))
    assert store.use("align", "other", read_all) is None and store.use("masks", "k", read_all) is None


def test_no_name_leads_out_of_the_entry(store: ContentStore) -> None:
    from stages.content_store import _sum_of

    folder = store.folder("align", "k")
    store.put("align", "k", FILES)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["../../secret"] = "0" * 64
    manifest["sha256"] = _sum_of(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert store.find("align", "k") is None


def test_an_entry_that_fails_while_it_is_made_is_not_there(store: ContentStore) -> None:
    with pytest.raises(OSError, match="No space left"), store.new("align", "k") as folder:
        (folder / "pack.tar").write_bytes(b"half")
        raise OSError(28, "No space left on device")
    assert not store.has("align", "k") and not list((store.root / "align").iterdir())


def test_a_new_entry_takes_the_place_of_what_stands_there(store: ContentStore) -> None:
    store.put("align", "k", FILES)
    store.put("align", "k", {"pack.tar": b"new"})
    assert store.use("align", "k", read_all) == {"pack.tar": b"new"}
    assert [path.name for path in (store.root / "align").iterdir()] == ["k"]


def test_an_entry_replaced_while_it_is_read_is_read_again_not_removed(store: ContentStore) -> None:
    store.put("align", "k", FILES)
    calls = []

    def slow(entry: Entry) -> dict[str, bytes]:
        calls.append(entry.key)
        if len(calls) == 1:
            store.put("align", "k", {"result.json": b"another"})
        return read_all(entry)

    assert store.use("align", "k", slow) == {"result.json": b"another"} and len(calls) == 2


WRITER = """
import sys
from stages.content_store import ContentStore
store = ContentStore(sys.argv[1])
for _ in range(60):
    store.put("align", "k", {"pack.tar": b"t" * 200_000, "result.json": b"{}"})
    found = store.use("align", "k", lambda entry: {name: len(entry.read(name)) for name in entry.files})
    assert found in (None, {"pack.tar": 200_000, "result.json": 2}), found
"""


def test_processes_that_store_the_same_key_at_once_leave_one_whole_entry(store: ContentStore) -> None:
    command = [sys.executable, "-c", WRITER, str(store.root)]
    started = [
        subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in started:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert [path.name for path in (store.root / "align").iterdir()] == ["k"]
    assert store.use("align", "k", lambda entry: len(entry.read("pack.tar"))) == 200_000
