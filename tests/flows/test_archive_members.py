"""What is in an archive: parts as one file, a tar's headers one at a time."""

from __future__ import annotations

import gc
import io
import os
import tarfile
from pathlib import Path

import pytest

from flows.archive_members import Archive, ArchiveError, JoinedParts, archives_in, check_parts, members_of
from tests.flows.small_archives import tar_bytes, write, zip_bytes


def test_parts_are_read_as_one_file(tmp_path: Path) -> None:
    data = os.urandom(3000)
    paths = [tmp_path / str(number) for number in range(4)]
    for path, (low, high) in zip(paths, ((0, 1000), (1000, 1000), (1000, 2500), (2500, 3000))):
        path.write_bytes(data[low:high])
    with io.BufferedReader(JoinedParts(paths), 64) as joined:
        assert joined.read() == data and joined.seek(0, os.SEEK_END) == 3000 and joined.read(1) == b""
        for at, count in ((990, 20), (2499, 2), (0, 3000), (2600, 1000)):
            joined.seek(at)
            assert joined.read(count) == data[at : at + count]


def test_a_header_is_kept_no_longer_than_its_turn(tmp_path: Path) -> None:
    """A tar of all LRS2 has hundreds of thousands of them, of more than a kilobyte each."""
    write(tmp_path, a__tar=tar_bytes({f"main/{number}/00001.mp4": b"" for number in range(300)}))
    ((archive,), _) = archives_in(tmp_path)
    for number, member in enumerate(members_of(archive)):
        if number == 299:  # looked at once: all objects of the process are
            alive = sum(issubclass(type(one), tarfile.TarInfo) for one in gc.get_objects())
            assert alive < 5 and member.name == "main/299/00001.mp4"
    assert number == 299


def test_members_give_their_bytes_in_turn(tmp_path: Path) -> None:
    files = {f"{number}.txt": os.urandom(3000) for number in range(20)}
    write(tmp_path, a__tar=tar_bytes(files), b__tar__gz=tar_bytes(files, "w:gz"), c__zip=zip_bytes(files))
    found, _ = archives_in(tmp_path)
    for archive in found:
        came = {member.name: (member.size_bytes, member.open().read()) for member in members_of(archive)}
        assert came == {name: (3000, data) for name, data in files.items()}, archive.name


def test_which_files_are_archives(tmp_path: Path) -> None:
    names = (
        "a.tar",
        "x/b.TGZ",
        "x/c_partab",
        "x/c_partaa",
        "c_partaa",
        "part.txt",
        ".hidden/d.tar",
        "e.tar.gz",
        "f.rar",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found, others = archives_in(tmp_path)
    assert {one.name: [path.name for path in one.files] for one in found} == {
        "a.tar": ["a.tar"],
        "c": ["c_partaa"],
        "e.tar.gz": ["e.tar.gz"],
        "x/b.TGZ": ["b.TGZ"],
        "x/c": ["c_partaa", "c_partab"],
    }
    assert [path.name for path in others] == ["f.rar", "part.txt"]


def test_the_parts_are_counted(tmp_path: Path) -> None:
    letters = [first + second for first in "ab" for second in "abcdefghijklmnopqrstuvwxyz"]
    parts = tuple(tmp_path / f"x_part{two}" for two in letters)
    check_parts(Archive("x", parts))
    with pytest.raises(ArchiveError, match="x: got part ba, expected part az before it"):
        check_parts(Archive("x", (*parts[:25], *parts[26:])))


def test_a_zip_with_a_password(tmp_path: Path) -> None:
    data = bytearray(zip_bytes({"a.txt": b"text"}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    ((archive,), _) = archives_in(write(tmp_path, a__zip=bytes(data)))
    with pytest.raises(ArchiveError, match="a.zip: a.txt is locked by a password, expected none"):
        list(members_of(archive))
