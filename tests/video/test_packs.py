"""Packs: equal content is equal bytes, every part comes back, damage is noticed, names cannot climb out."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from s3dnerf.video import packs as video_packs
from s3dnerf.video.packs import INDEX_COLUMNS, CorpusPacks, PackError, copy_sha256, file_sha256, write_pack, write_table


def parts(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    return {
        "landmarks.npy": rng.random((5, 68, 2)).astype(np.float32),
        "mp4": rng.bytes(777),
        "meta.json": {"b": 1, "a": "ü"},
    }


def corpus(folder: Path) -> CorpusPacks:
    rows = []
    for pack, names in (("p-0", ["hdtf_b", "hdtf_a"]), ("p-1", ["hdtf_c"])):
        rows += [
            {"pack": pack, **row} for row in write_pack(folder / f"{pack}.tar", {n: parts(ord(n[-1])) for n in names})
        ]
    write_table(folder / "index.parquet", rows, INDEX_COLUMNS)
    return CorpusPacks(folder)


def test_every_part_comes_back(tmp_path: Path) -> None:
    packs = corpus(tmp_path)
    assert packs.clips == ["hdtf_a", "hdtf_b", "hdtf_c"]
    for clip in packs.clips:
        expected = parts(ord(clip[-1]))
        assert packs.kinds(clip) == sorted(expected)
        np.testing.assert_array_equal(packs.read(clip, "landmarks.npy"), expected["landmarks.npy"])
        assert packs.read(clip, "mp4") == expected["mp4"]
        assert packs.read(clip, "meta.json") == expected["meta.json"]


def test_any_tar_reader_can_read_a_pack(tmp_path: Path) -> None:
    corpus(tmp_path)
    with tarfile.open(tmp_path / "p-1.tar") as tar:
        assert tar.getnames() == ["hdtf_c.landmarks.npy", "hdtf_c.meta.json", "hdtf_c.mp4"]
        member = tar.extractfile("hdtf_c.mp4")
        assert member is not None and member.read() == parts(ord("c"))["mp4"]


def test_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    a, b = {"x_1": parts(1), "x_2": parts(2)}, {"x_2": parts(2), "x_1": parts(1)}
    write_pack(tmp_path / "a.tar", a)
    write_pack(tmp_path / "b.tar", b)
    assert file_sha256(tmp_path / "a.tar") == file_sha256(tmp_path / "b.tar")


def test_a_truncated_pack_is_noticed(tmp_path: Path) -> None:
    packs = corpus(tmp_path)
    path = tmp_path / "p-1.tar"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(PackError, match="truncated"):
        packs.read("hdtf_c", "mp4")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="dvc repro"):
        CorpusPacks(tmp_path)
    with pytest.raises(PackError, match="no wav of clip hdtf_a; its parts here: .*landmarks.npy"):
        corpus(tmp_path).read("hdtf_a", "wav")


@pytest.mark.parametrize("name", ["../etc", "a/b", "a.b", ""])
def test_a_name_cannot_climb_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="clip id"):
        write_pack(tmp_path / "a.tar", {name: parts(1)})
    assert list(tmp_path.iterdir()) == []


def test_one_pack_opened_is_that_pack_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_packs, "ROW_GROUP", 2)  # the rows of a pack lie in several groups
    whole = corpus(tmp_path)
    for pack in ("p-0", "p-1"):
        clips = set(whole.index.loc[whole.index["pack"] == pack, "clip"])
        alone = CorpusPacks(tmp_path, pack)
        assert alone.clips == sorted(clips) and all((clip in alone) == (clip in clips) for clip in whole.clips)
        for clip in alone.clips:
            assert alone.kinds(clip) == whole.kinds(clip) and alone.read(clip, "mp4") == whole.read(clip, "mp4")
    write_table(tmp_path / "index.parquet", [], INDEX_COLUMNS)
    assert CorpusPacks(tmp_path, "p-0").clips == []


def test_a_copy_knows_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_packs, "COPY_BYTES", 7)
    (tmp_path / "a").write_bytes(bytes(range(100)))
    with open(tmp_path / "a", "rb") as source:
        assert copy_sha256(source, tmp_path / "b") == file_sha256(tmp_path / "a")
    assert (tmp_path / "b").read_bytes() == bytes(range(100))
