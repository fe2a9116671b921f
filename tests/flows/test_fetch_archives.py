"""``s3dnerf fetch lrs2`` and ``fetch mead``: archives as licensees hold them, in any state, into folders that the
pipeline reads.
"""

from __future__ import annotations

import csv
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows import cli, fetch_archives
from flows.download import DownloadError
from flows.fetch_archives import LRS2, MEAD, TABLE, ArchivedCorpus
from flows.fetch_archives import fetch_archives as fetch
from s3dnerf.core.errors import InputRefused, SettingsError
from tests.flows.small_archives import (
    LISTS,
    MEAD_FILES,
    content,
    lrs2_archives,
    lrs2_files,
    mead_archives,
    tar_bytes,
    write,
    zip_bytes,
)  # fmt: skip
from tests.flows.small_videos import video_bytes
from tests.stages.running import reasons, run, settings_for, table


def found(folder: Path) -> dict[str, bytes]:
    """Everything below a folder but the table."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != TABLE
    }


def findings(folder: Path) -> list[tuple[str, str]]:
    with open(folder / TABLE, newline="") as handle:
        return [(row["state"], row["name"]) for row in csv.DictReader(handle)]


def test_lrs2_in_parts(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    archives, folder = lrs2_archives(tmp_path / "archives"), tmp_path / "LRS2"
    assert fetch(LRS2, archives, folder) == 0
    assert found(folder) == lrs2_files() | {f"mvlrs_v1/{name}": text.encode() for name, text in LISTS.items()}
    said = capsys.readouterr().out
    assert "8 files in 1 archives, " in said and "8 files unpacked; 4 videos, 4 utterances in 4 lists" in said
    assert "nothing is missing" in said and findings(folder) == [] and not (folder / ".cache").exists()
    before = {path: os.stat(path).st_mtime_ns for path in folder.rglob("*.mp4")}
    assert fetch(LRS2, archives, folder) == 0 and "0 files unpacked" in capsys.readouterr().out
    assert before == {path: os.stat(path).st_mtime_ns for path in folder.rglob("*.mp4")}, "nothing was written again"


@pytest.mark.parametrize("form", ["w:gz", "w:xz", "w:bz2", "zip"])
def test_lrs2_in_other_archives(form: str, tmp_path: Path) -> None:
    whole = zip_bytes(lrs2_files()) if form == "zip" else tar_bytes(lrs2_files(), form)
    lrs2_archives(tmp_path / "archives", whole, parts=2)
    assert fetch(LRS2, tmp_path / "archives", tmp_path / "LRS2") == 0
    assert found(tmp_path / "LRS2").items() >= lrs2_files().items()


def test_the_pipeline_reads_lrs2(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real utterances, packed as the corpus is, unpacked, listed by inventory and taken by ingest."""
    monkeypatch.chdir(tmp_path)
    top = shared / "corpora" / "LRS2"
    files = {
        p.relative_to(top).as_posix(): p.read_bytes()
        for p in sorted(top.rglob("*"))
        if len(p.parts) - len(top.parts) == 4
    }
    lists = {f"{name}__txt": (top / f"mvlrs_v1/{name}.txt").read_bytes() for name in ("train", "val", "test")}
    write(tmp_path / "archives", lrs2_v1_partaa=tar_bytes(files), pretrain__txt=b"", **lists)
    fetch(LRS2, tmp_path / "archives", tmp_path / "raw")
    assert found(tmp_path / "raw").items() >= files.items() and len(files) == 20
    settings = settings_for(lrs2=tmp_path / "raw")
    assert run(settings, "inventory")["files"] == 20 + 4 + 1
    run(settings, "ingest")
    videos = set(table(settings, "ingest", "lrs2", "clips")["video"])
    short = {clip for clip, reason in reasons(settings, "lrs2").items() if reason == "too_short"}
    assert len(videos) + len(short) == 10 and videos <= files.keys()


def test_what_the_lists_name_and_nobody_has(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = lrs2_files() | {
        "mvlrs_v1/main/14/00007.mp4": b"x",
        "mvlrs_v1/main/14/00007.txt": b"x",
        "mvlrs_v1/README": b"",
    }
    del files["mvlrs_v1/main/11/00002.mp4"], files["mvlrs_v1/main/12/00001.txt"]
    archives, folder = lrs2_archives(tmp_path / "archives", tar_bytes(files)), tmp_path / "LRS2"
    write(archives, val__txt="15/00001\n", notes__pdf=b"x")
    assert fetch(LRS2, archives, folder) == 1
    assert sorted(findings(folder)) == [
        ("extra", "mvlrs_v1/main/14/00007.mp4"),
        ("missing", "mvlrs_v1/main/11/00002.mp4"),
        ("missing", "mvlrs_v1/main/12/00001.txt"),
        ("missing", "mvlrs_v1/main/15/00001.mp4"),
        ("missing", "mvlrs_v1/main/15/00001.txt"),
        ("not_in_layout", "lrs2_v1"),
        ("not_read", "notes.pdf"),
    ]
    assert "1 extra, 4 missing, 1 not in layout, 1 not read" in capsys.readouterr().out


def test_a_list_or_a_part_that_is_not_there(tmp_path: Path) -> None:
    main = {name: data for name, data in lrs2_files().items() if "/main/" in name}
    archives, folder = lrs2_archives(tmp_path / "archives", tar_bytes(main)), tmp_path / "LRS2"
    (archives / "val.txt").unlink()
    assert fetch(LRS2, archives, folder) == 1
    assert findings(folder) == [("missing", "mvlrs_v1/val.txt"), ("missing", "mvlrs_v1/pretrain")]


def test_mead_by_person(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "MEAD"
    assert fetch(MEAD, mead_archives(tmp_path / "archives"), folder) == 0
    assert found(folder) == {name: content(name) for name in MEAD_FILES}
    assert "2 people, 4 videos (front 2, top 2), 2 sounds" in capsys.readouterr().out and findings(folder) == []


def test_the_pipeline_reads_mead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = {name: video_bytes(72, "sound" if "audio" in name else "picture") for name in MEAD_FILES[:3]}
    files |= {
        "W021/video/1/front/sad/level_1/001.mp4": video_bytes(108, "picture"),
        MEAD_FILES[5]: video_bytes(72, "sound"),
    }
    write(tmp_path / "archives", all__zip=zip_bytes({f"MEAD/{name}": data for name, data in files.items()}))
    assert fetch(MEAD, tmp_path / "archives", tmp_path / "raw") == 0
    settings = settings_for(mead=tmp_path / "raw", ingest={"mead_split": "identity", "mead_test_fraction": 1.0})
    assert run(settings, "inventory")["files"] == 5 + 1
    run(settings, "ingest")
    clips = table(settings, "ingest", "mead", "clips")
    assert set(zip(clips["speaker"], clips["audio"])) == {("M003", MEAD_FILES[2]), ("W021", MEAD_FILES[5])}


def test_a_person_without_sound_and_a_sentence_without_one(tmp_path: Path) -> None:
    archives = mead_archives(tmp_path / "archives")
    (archives / "M003/audio.tar").unlink()
    more = {"video/front/sad/level_1/002.mp4": b"x", "audio/sad/level_1/003.m4a": b"x"}
    write(archives, W021_more__zip=zip_bytes(more), all___W021___rest__tar=tar_bytes({"readme": b"x"}))
    folder = tmp_path / "MEAD"
    assert fetch(MEAD, archives, folder) == 1
    assert sorted(findings(folder)) == [
        ("extra", "W021/audio/sad/level_1/003.m4a"),
        ("missing", "M003/audio"),
        ("missing", "W021/video/front/sad/level_1/002.mp4"),
        ("not_in_layout", "all/W021/rest.tar"),
    ]


def damaged_tars() -> dict[str, bytes]:
    good = tar_bytes({name.partition("/")[2]: content(name) for name in MEAD_FILES[:2]})
    second = good.index(b"video/top")
    return {
        "cut in a file": good[: second + 1000],
        "cut in a header": good[: second + 100],
        "cut between two files": good[:second],
        "a wrong header": good[:second] + b"?" * 100 + good[second + 100 :],
        "no archive": b"text" * 1000,
        "empty": b"",
        "gzip cut": tar_bytes({"video/front/sad/level_1/001.mp4": os.urandom(9000)}, "w:gz")[:5000],
        "zip cut": zip_bytes({"video/front/sad/level_1/001.mp4": os.urandom(9000)})[:5000],
    }


@pytest.mark.parametrize("damage", damaged_tars())
def test_a_damaged_archive_is_named_and_the_others_go_on(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    archives, folder = mead_archives(tmp_path / "archives"), tmp_path / "MEAD"
    write(archives, M003___video__tar=damaged_tars()[damage])
    assert fetch(MEAD, archives, folder) == 1
    assert "damaged: M003/video.tar: " in capsys.readouterr().out
    assert sorted(findings(folder)) == [("damaged", "M003/video.tar"), ("held_back", "M003")]
    assert {name for name in found(folder) if not name.startswith(".")} == {n for n in MEAD_FILES if n.startswith("W")}
    mead_archives(archives)
    assert fetch(MEAD, archives, folder) == 0, "with the good one it goes on"
    assert found(folder) == {name: content(name) for name in MEAD_FILES}


def test_wrong_bytes_in_a_zip_are_found_when_they_are_read(tmp_path: Path) -> None:
    files = {name.partition("/")[2]: content(name) for name in MEAD_FILES[:2]}
    data = bytearray(zip_bytes(files, zipfile.ZIP_STORED))
    data[data.index(content(MEAD_FILES[1])) + 50] ^= 1
    archives, folder = mead_archives(tmp_path / "archives"), tmp_path / "MEAD"
    (archives / "M003/video.tar").unlink()
    write(archives, M003___video__zip=bytes(data))
    assert fetch(MEAD, archives, folder) == 1
    assert sorted(findings(folder)) == [("damaged", "M003/video.zip"), ("held_back", "M003")]
    assert not (folder / "M003").exists() and (folder / "W021").exists()


def test_a_part_that_is_not_there(tmp_path: Path) -> None:
    archives, folder = lrs2_archives(tmp_path / "archives"), tmp_path / "LRS2"
    (archives / "lrs2_v1_partab").rename(tmp_path / "kept")
    assert fetch(LRS2, archives, folder) == 1
    with open(folder / TABLE, newline="") as handle:
        assert next(csv.DictReader(handle))["detail"] == "lrs2_v1: got part ac, expected part ab before it"
    (tmp_path / "kept").rename(archives / "lrs2_v1_partab")
    (archives / "lrs2_v1_partac").rename(tmp_path / "kept")
    assert fetch(LRS2, archives, folder) == 1 and findings(folder)[0] == ("damaged", "lrs2_v1"), "the last one"


def unsafe(kind: str) -> bytes:
    """An archive with one good file and one that must not be unpacked."""
    buffer, good = io.BytesIO(), "video/front/sad/level_1/001.mp4"
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(good))
        info = tarfile.TarInfo("video/front/sad/level_1/002.mp4")
        if kind in ("../x", "/x", "video/../../x"):
            info.name = kind
        elif kind in ("symlink", "hard link"):
            info.type, info.linkname = (tarfile.SYMTYPE if kind == "symlink" else tarfile.LNKTYPE), "/etc/passwd"
        else:
            info.type = {"device": tarfile.CHRTYPE, "pipe": tarfile.FIFOTYPE}[kind]
        archive.addfile(info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind", ["../x", "/x", "video/../../x", "symlink", "hard link", "device", "pipe", "zip", "zip link"]
)
def test_an_unsafe_archive_is_refused_whole(kind: str, tmp_path: Path) -> None:
    archives, folder = mead_archives(tmp_path / "archives"), tmp_path / "MEAD"
    name = "video/front/sad/level_1/001.mp4"
    link = zipfile.ZipInfo(name)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    made = {"zip": lambda: zip_bytes({name: b"", "..\\x": b""}), "zip link": lambda: zip_bytes({link: b"/etc/passwd"})}
    write(archives, M003___video__tar=made.get(kind, lambda: unsafe(kind))())
    before = set(tmp_path.rglob("*"))
    assert fetch(MEAD, archives, folder) == 1
    assert sorted(findings(folder)) == [("held_back", "M003"), ("unsafe", "M003/video.tar")]
    made_there = {path for path in set(tmp_path.rglob("*")) - before if not path.is_relative_to(folder)}
    assert not made_there and not any("video" in n for n in found(folder) if "M003" in n)


def test_a_killed_run_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole units were moved in, the files of the others wait; the next run writes just what is missing."""
    archives, folder = lrs2_archives(tmp_path / "archives"), tmp_path / "LRS2"
    written, write_one = [], fetch_archives.Unpacking._write

    def until_the_sixth(self, archive, member, place) -> None:
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(member.name)
        write_one(self, archive, member, place)

    with monkeypatch.context() as patch:
        patch.setattr(fetch_archives.Unpacking, "_write", until_the_sixth)
        with pytest.raises(KeyboardInterrupt):
            fetch(LRS2, archives, folder)
    assert sorted(path.name for path in (folder / "mvlrs_v1/main").iterdir()) == ["11"], "12 has one file of two"
    assert (folder / ".cache/s3dnerf-fetch/mvlrs_v1/main/12/00001.mp4").is_file()
    kept = os.stat(folder / ".cache/s3dnerf-fetch/mvlrs_v1/main/12/00001.mp4").st_ino
    (folder / ".cache/s3dnerf-fetch/mvlrs_v1/main/12/00001.txt.part").write_bytes(b"half")
    assert fetch(LRS2, archives, folder) == 0
    assert os.stat(folder / "mvlrs_v1/main/12/00001.mp4").st_ino == kept, "not written again"
    assert found(folder).items() >= lrs2_files().items() and not (folder / ".cache").exists()


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    archives, folder = mead_archives(tmp_path / "archives"), tmp_path / "MEAD"
    mine = folder / MEAD_FILES[0]
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"my own")
    assert fetch(MEAD, archives, folder) == 1
    assert findings(folder) == [("differs", MEAD_FILES[0])] and mine.read_bytes() == b"my own"
    assert found(folder).keys() == set(MEAD_FILES), "the others came beside it"


def test_the_disk_is_looked_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives, folder = mead_archives(tmp_path / "archives"), tmp_path / "MEAD"
    monkeypatch.setattr(fetch_archives.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DownloadError, match="1 kB free, expected .* kB to unpack into: make room"):
        fetch(MEAD, archives, folder)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("corpus", "archive", "name", "place"),
    [
        (LRS2, "a", "mvlrs_v1/main/1/00001.mp4", "mvlrs_v1/main/1/00001.mp4"),
        (LRS2, "a", "./x/pretrain/1/00001.txt", "mvlrs_v1/pretrain/1/00001.txt"),
        (LRS2, "a", "mvlrs_v1/test.txt", "mvlrs_v1/test.txt"),
        (LRS2, "a", "main/1/test.txt", "mvlrs_v1/main/1/test.txt"),
        (LRS2, "a", "main/1/00001.wav", None),
        (MEAD, "M003/video.tar", "video/front/sad/level_1/001.mp4", "M003/video/front/sad/level_1/001.mp4"),
        (MEAD, "x.zip", "MEAD/W021/video/1/front/sad/level_1/001.mp4", "W021/video/1/front/sad/level_1/001.mp4"),
        (MEAD, "M003_audio.zip", "./audio/sad/level_1/001.m4a", "M003/audio/sad/level_1/001.m4a"),
        (MEAD, "x.zip", "video/front/sad/level_1/001.mp4", None),
        (MEAD, "M003/video.tar", "video/front/sad/001.mp4", None),
        (MEAD, "M003/video.tar", "video/front/sad/level_1/001.txt", None),
    ],
)
def test_where_a_file_belongs(corpus: ArchivedCorpus, archive: str, name: str, place: str | None) -> None:
    found_place = corpus.place(archive, name)
    assert (str(found_place) if found_place else None) == place


def test_what_cannot_be_fetched_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputRefused, match="--archives: got .*none, expected the folder of MEAD's archives"):
        fetch(MEAD, tmp_path / "none", tmp_path / "MEAD")
    with pytest.raises(InputRefused, match="got no archive there, expected tar, zip, or parts named …partaa"):
        fetch(MEAD, write(tmp_path / "empty", readme=b""), tmp_path / "MEAD")
    with pytest.raises(SettingsError, match="fetch lrs2: got no --archives, expected the folder"):
        cli.fetch(("lrs2",), to=tmp_path / "LRS2")
    with pytest.raises(SettingsError, match="--lists, --retry-gone: got one of them for lrs2, expected hdtf"):
        cli.fetch(("lrs2",), to=tmp_path / "LRS2", lists=tmp_path, archives=tmp_path)
    with pytest.raises(SettingsError, match="--archive, --from, --optional: got one of them for a corpus"):
        cli.fetch(("lrs2",), to=tmp_path / "LRS2", archives=tmp_path, optional=True)


def test_the_folder_that_the_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("preset: tiny\n")
    monkeypatch.setattr(cli, "load_settings", lambda: settings_for(mead=tmp_path / "raw" / "here"))
    assert cli.fetch(("mead",), archives=mead_archives(tmp_path / "archives")) == 0
    assert set(found(tmp_path / "raw/here")) == set(MEAD_FILES)
    with pytest.raises(SettingsError, match=r"fetch lrs2: got no folder \(raw.lrs2 is null\), expected --to DIR"):
        cli.fetch(("lrs2",), archives=tmp_path / "archives")
