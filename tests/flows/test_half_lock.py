"""``dvc.lock`` half written, as a dvc leaves it that is killed while it writes: named, with the way on."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.project_folder import HalfLock, check_files

LOCK = """schema: '2.0'
stages:
  check:
    cmd: python -m flows.run check
    outs:
    - path: data/tiny/check
      md5: 0123456789abcdef0123456789abcdef.dir
  inventory:
    cmd: python -m flows.run inventory
    outs:
    - path: data/tiny/inventory
      md5: 0123456789abcdef0123456789abcdef.dir
"""


def test_a_whole_lock_and_none_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_files()
    (tmp_path / "dvc.lock").write_text(LOCK)
    check_files()


@pytest.mark.parametrize("cut", ["  inventory:\n", "    cmd: python -m flows.run inv", "      md5: 0123456789abcdef0"])
def test_half_a_lock_is_named(cut: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off inside an entry; where the rest still is what dvc asks for, dvc reads it too."""
    monkeypatch.chdir(tmp_path)
    end = LOCK.index(cut) + len(cut)
    (tmp_path / "dvc.lock").write_text(LOCK[:end])
    if "cmd" in LOCK[:end].rpartition("inventory:")[2] or "inventory" not in LOCK[:end]:
        check_files()
        return
    with pytest.raises(HalfLock, match=r"^dvc\.lock: half a file .*git checkout dvc\.lock, then dvc repro"):
        check_files()
