"""Ingest's records for a test: the columns it names, and values for all the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from s3dnerf.corpora.records import CLIP_COLUMNS

NUMBERS = {"start_s": 0.0, "end_s": 1.0, "fps_hz": 25.0, "width_px": 64, "height_px": 64}
NUMBERS |= {f"crop_{side}": -1 for side in "xywh"}


def write_clip_records(folder: Path, rows: list[dict[str, Any]]) -> None:
    """``clips.parquet`` of a corpus from rows with at least ``clip`` and ``pack``; a clip's bytes are named after it."""
    plain = dict.fromkeys(CLIP_COLUMNS, "") | {name: value for name, value in NUMBERS.items() if name in CLIP_COLUMNS}
    rows = [{name: value for name, value in row.items() if name in CLIP_COLUMNS} for row in rows]
    whole = [plain | {"video_sha256": row["clip"]} | row for row in rows]
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(whole, columns=list(CLIP_COLUMNS)).to_parquet(folder / "clips.parquet")
