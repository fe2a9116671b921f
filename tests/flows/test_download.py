"""One download against a real HTTP server on loopback: whole, resumed, and each fault named."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flows.download
from flows.download import FOLDER, MIRROR, DownloadError, RemoteFile, address_of, download
from s3dnerf.core.whole_files import OutputRefused, claimed
from tests.flows.file_server import FileServer, file_server

DATA = bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in (FOLDER, MIRROR):
        monkeypatch.delenv(name, raising=False)
    with file_server() as running:
        running.files["/w.bin"] = DATA
        yield running


def _file(server: FileServer, sha256: str = SHA256) -> RemoteFile:
    return RemoteFile(f"{server.url}/w.bin", sha256)


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file(server: FileServer, tmp_path: Path) -> None:
    got = download(_file(server), tmp_path / "new" / "w.bin")
    assert (got.source, got.size_bytes, got.sha256) == (f"{server.url}/w.bin", len(DATA), SHA256)
    assert (tmp_path / "new" / "w.bin").read_bytes() == DATA
    assert _left(tmp_path / "new") == ["w.bin"], "nothing is left beside it"


def test_a_cut_connection_goes_on_where_it_ended(server: FileServer, tmp_path: Path) -> None:
    server.cut["/w.bin"] = [1000, 3000]
    download(_file(server), tmp_path / "w.bin", pause_s=0)
    assert (tmp_path / "w.bin").read_bytes() == DATA
    assert [asked for _, asked in server.asked] == ["", "bytes=1000-", "bytes=4000-"]


def test_what_came_is_kept_between_runs(server: FileServer, tmp_path: Path) -> None:
    server.cut["/w.bin"] = [1000, 1000, 1000]
    with pytest.raises(
        DownloadError, match="cut after 3000 of 10240 bytes, 3 times: what came is kept in .*w.bin.part"
    ):
        download(_file(server), tmp_path / "w.bin", pause_s=0)
    assert (tmp_path / "w.bin.part").read_bytes() == DATA[:3000] and not (tmp_path / "w.bin").exists()
    server.asked.clear()
    download(_file(server), tmp_path / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == DATA and server.asked == [("/w.bin", "bytes=3000-")]


def test_another_version_begins_anew(server: FileServer, tmp_path: Path) -> None:
    server.cut["/w.bin"] = [1000] * 3
    with pytest.raises(DownloadError):
        download(_file(server), tmp_path / "w.bin", pause_s=0)
    server.files["/w.bin"] = changed = DATA[::-1]
    download(_file(server, ""), tmp_path / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == changed, "bytes of two versions are not mixed"


def test_without_an_etag_it_begins_anew(server: FileServer, tmp_path: Path) -> None:
    server.etags, server.cut["/w.bin"] = False, [1000]
    download(_file(server), tmp_path / "w.bin", pause_s=0)
    assert (tmp_path / "w.bin").read_bytes() == DATA and [asked for _, asked in server.asked] == ["", ""]


def test_all_bytes_were_there_already(server: FileServer, tmp_path: Path) -> None:
    etag = f'"{hashlib.md5(DATA).hexdigest()}"'
    (tmp_path / "w.bin.part").write_bytes(DATA)
    (tmp_path / "w.bin.part.etag").write_text(etag)
    download(_file(server), tmp_path / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == DATA and _left(tmp_path) == ["w.bin"]


def test_wrong_bytes_are_removed(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"before")
    server.files["/w.bin"] = DATA + b"!"
    with pytest.raises(DownloadError, match=f"got sha256 [0-9a-f]{{64}}, expected {SHA256}: not the file"):
        download(_file(server), tmp_path / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == b"before" and _left(tmp_path) == ["w.bin"]


def test_the_first_digits_of_a_hash_are_checked(server: FileServer, tmp_path: Path) -> None:
    assert download(_file(server, SHA256[:8]), tmp_path / "w.bin").sha256 == SHA256
    with pytest.raises(DownloadError, match="expected 00000000…"):
        download(_file(server, "00000000"), tmp_path / "w.bin")


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_final(status: int, server: FileServer, tmp_path: Path) -> None:
    server.status["/w.bin"] = status
    with pytest.raises(DownloadError, match=f"w.bin: the server answers {status} .*{MIRROR} or {FOLDER}"):
        download(_file(server), tmp_path / "w.bin")
    assert len(server.asked) == 1 and _left(tmp_path) == []


def test_a_server_in_trouble_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.status["/w.bin"] = 503
    with pytest.raises(DownloadError, match="the server answers 503 Service Unavailable, 3 times"):
        download(_file(server), tmp_path / "w.bin", pause_s=0)
    assert len(server.asked) == 3


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MIRROR, raising=False)
    with file_server() as gone:
        url = f"{gone.url}/w.bin"
    with pytest.raises(DownloadError, match="cannot be reached .*refused.*, 3 times: nothing is kept; another source"):
        download(RemoteFile(url), tmp_path / "w.bin", pause_s=0)


def test_too_little_room_is_seen_before(server: FileServer, tmp_path: Path) -> None:
    server.claims["/w.bin"] = 10**18
    with pytest.raises(DownloadError, match=r"free, 1e\+09 GB more needed: make room"):
        download(_file(server), tmp_path / "w.bin")
    assert _left(tmp_path) == []


def test_the_room_of_an_older_version_counts(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "w.bin.part").write_bytes(b"older")
    (tmp_path / "w.bin.part.etag").write_text('"older"')
    server.claims["/w.bin"] = 10**18
    with pytest.raises(DownloadError, match="more needed: make room; nothing is kept$"):
        download(_file(server), tmp_path / "w.bin")
    assert _left(tmp_path) == [], "the next run could not use it"


def test_a_disk_that_is_full(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "w.bin.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match="w.bin.part: the disk is full: make room; nothing is kept$"):
        download(_file(server), tmp_path / "w.bin")
    assert _left(tmp_path) == []


class FullAfter:
    """A file on a disk that has room for ``room`` bytes: the write that passes it is short, the next one fails."""

    def __init__(self, room: int, *given: Any, **named: Any) -> None:
        self.room, self.file = room, open(*given, **named)

    def __enter__(self) -> FullAfter:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def close(self) -> None:
        self.file.close()

    def write(self, data: memoryview) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self.file.write(data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("etags", [True, False])
def test_a_disk_that_fills_up_meanwhile(
    etags: bool, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.etags = etags
    monkeypatch.setattr(flows.download, "open", functools.partial(FullAfter, 4000), raising=False)
    said = "what came is kept in .*w.bin.part: run the command again to go on$" if etags else "nothing is kept$"
    with pytest.raises(DownloadError, match=f"w.bin.part: the disk is full: make room; {said}"):
        download(_file(server), tmp_path / "w.bin")
    assert _left(tmp_path) == (["w.bin.part", "w.bin.part.etag"] if etags else [])
    monkeypatch.undo()
    server.asked.clear()
    download(_file(server), tmp_path / "w.bin")
    assert server.asked == [("/w.bin", "bytes=4000-" if etags else "")], "as the message said"
    assert (tmp_path / "w.bin").read_bytes() == DATA and _left(tmp_path) == ["w.bin"]


def test_nothing_is_left_of_a_download_that_cannot_go_on(server: FileServer, tmp_path: Path) -> None:
    server.etags, server.cut["/w.bin"] = False, [1000] * 3
    with pytest.raises(DownloadError, match="cut after 1000 of 10240 bytes, 3 times: nothing is kept; another source"):
        download(_file(server), tmp_path / "w.bin", pause_s=0)
    assert _left(tmp_path) == []


def test_two_runs_do_not_write_one_file(server: FileServer, tmp_path: Path) -> None:
    with claimed(tmp_path / "w.bin", "fetch"), pytest.raises(OutputRefused, match="another run is writing"):
        download(_file(server), tmp_path / "w.bin")
    assert server.asked == []


def test_a_mirror(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/m/weights.example/a/w.bin"] = DATA
    monkeypatch.setenv(MIRROR, f"{server.url}/m/")
    got = download(RemoteFile("https://weights.example/a/w.bin", SHA256), tmp_path / "w.bin")
    assert got.source == f"{server.url}/m/weights.example/a/w.bin" and (tmp_path / "w.bin").read_bytes() == DATA
    monkeypatch.setenv(MIRROR, "weights.example")
    with pytest.raises(DownloadError, match=f"{MIRROR}: got 'weights.example', expected an address"):
        address_of("https://weights.example/a/w.bin")


def test_an_offline_folder_asks_no_network(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    with pytest.raises(DownloadError, match=f"{FOLDER}: .*files holds neither w.bin nor"):
        download(_file(server), tmp_path / "w.bin")
    (folder / "w.bin").write_bytes(b"another")
    with pytest.raises(DownloadError, match="not the file that was pinned"):
        download(_file(server), tmp_path / "w.bin")
    assert (folder / "w.bin").read_bytes() == b"another", "the folder's own file stays"
    (folder / "w.bin").write_bytes(DATA)
    assert download(_file(server), tmp_path / "w.bin").source == str(folder / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == DATA and server.asked == []


def test_a_proxy_of_the_environment_is_used(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.url)
    server.files["http://weights.example/w.bin"] = DATA  # a proxy is asked for the whole address
    download(RemoteFile("http://weights.example/w.bin", SHA256), tmp_path / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == DATA
