"""The membership table: one fate for every raw file and clip, whatever the stages say or fail to say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from s3dnerf.reporting.membership import COLUMNS, counts, membership, table_bytes, table_facts
from s3dnerf.video.packs import PACK_STAGES


def put(path: Path, columns: str, *rows: tuple[Any, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(list(rows), columns=columns.split()).to_parquet(path, index=False)


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """HDTF with five files and six clips, of which ``a`` is measured, MEAD with one file that the inventory lacks."""
    files = "path role status reason detail clips"
    put(tmp_path / "inventory/files.parquet", "corpus path", *[("hdtf", f"{n}.mp4") for n in "dcba"], ("hdtf", "x.txt"))
    rows = [(f"{n}.mp4", "video", "used", "", "", 2) for n in "abc"]
    put(tmp_path / "ingest/hdtf/files.parquet", files, *rows, ("d.mp4", "video", "excluded", "unreadable", "é", 0))
    put(tmp_path / "ingest/mead/files.parquet", files, ("gone.mp4", "video", "used", "", "", 1))
    put(tmp_path / "ingest/hdtf/excluded.parquet", "clip stage reason detail", ("d", "ingest", "unreadable", "é"))
    split = {"a": "test", "b": "test", "c": "train", "e": "train", "f": "train"}
    clips = [(n, f"{n}.mp4", n.upper(), split[n]) for n in split]
    put(tmp_path / "ingest/hdtf/clips.parquet", "clip video speaker split", *clips)
    for stage in PACK_STAGES:
        stopped = [("e", stage, f"bad_{stage}", "")] if stage in ("align", "lips") else []
        put(tmp_path / stage / "hdtf/quarantine.parquet", "clip stage reason detail", *stopped)
        came = "abcf" if stage in ("resample", "align") else "abc"
        put(tmp_path / stage / "hdtf/index.parquet", "pack clip kind", *[("p", n, k) for n in came for k in ("x", "y")])
    return membership(tmp_path, {"a"}, ("hdtf",), {"train_s3dnerf": {"hdtf/C", "mead/B"}})


def test_every_file_and_clip_has_one_fate(table: pd.DataFrame) -> None:
    assert list(table.columns) == COLUMNS and not table.isna().any().any()
    fates = table.set_index("name")[["status", "stage", "reason", "used_for"]].apply(tuple, axis=1).to_dict()
    silent = ("unaccounted", "ingest", "", "")
    assert fates == {
        "a.mp4": (used := ("used", "", "", "video: 2 clips")),
        "b.mp4": used,
        "c.mp4": used,
        "d.mp4": ("excluded", "ingest", "unreadable", ""),
        "x.txt": silent,
        "gone.mp4": ("unaccounted", "inventory", "", ""),
        "a": ("used", "", "", "evaluate"),
        "b": ("used", "", "", "held out; not measured (evaluate.max_clips_per_speaker)"),
        "c": ("used", "", "", "train_s3dnerf"),
        "d": ("excluded", "ingest", "unreadable", ""),
        "e": ("excluded", "align", "bad_align", ""),
        "f": ("unaccounted", "masks", "", ""),
    }
    assert table["name"].tolist() == ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "x.txt", *"abcdef", "gone.mp4"]
    assert table.set_index("name").loc["a", ["path", "speaker", "split"]].tolist() == ["a.mp4", "A", "test"]


def test_counts_are_of_all_rows_and_equal_tables_are_equal_bytes(table: pd.DataFrame) -> None:
    found = counts(table)
    assert sum(row["count"] for row in found) == len(table) == 12
    one = [row["count"] for row in found if (row["kind"], row["split"], row["status"]) == ("clip", "test", "used")]
    assert one == [2] and found[0] == {
        **{"corpus": "hdtf", "kind": "file", "split": "", "status": "used", "stage": "", "reason": ""},
        "count": 3,
    }
    data = table_bytes(table)
    assert data == table_bytes(table.copy()) and table_facts("a.parquet", data, 12, len(data))["in_report"]
    assert not table_facts("a.parquet", data, 12, len(data) - 1)["in_report"]
