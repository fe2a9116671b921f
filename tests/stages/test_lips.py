"""The lips stage: boxes from the aligned landmarks, and lips outside the frame left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3dnerf.faces.lips import crop_boxes, lip_boxes
from s3dnerf.settings.loading import preset_settings
from s3dnerf.video.packs import INDEX_COLUMNS, write_pack, write_table
from stages import lips
from stages.preprocessing import PackJob
from tests.faces.drawn_clips import box_at, points_in

SETTINGS = preset_settings("tiny")


@pytest.mark.slow
def test_boxes_of_each_clip_and_lips_outside_quarantined(tmp_path: Path) -> None:
    inside = np.stack([points_in(box_at(128 + i, 140, 110)) for i in range(9)])
    outside = np.stack([points_in(box_at(128, 240, 110))] * 9)
    rows = write_pack(
        tmp_path / "align" / "lrs2-0000.tar",
        {"lrs2_a": {"landmarks.npy": inside}, "lrs2_b": {"landmarks.npy": outside}},
    )
    write_table(tmp_path / "align" / "index.parquet", [{"pack": "lrs2-0000", **r} for r in rows], INDEX_COLUMNS)
    job = PackJob(
        "lips",
        "lrs2",
        "lrs2-0000",
        ({"clip": "lrs2_a"}, {"clip": "lrs2_b"}),
        {"align": str(tmp_path / "align")},
        "",
        SETTINGS,
    )
    good, bad = lips.process(job)
    box, boxes = lip_boxes(inside, SETTINGS.lips.scale)
    assert set(good.parts) == {"lip_box.npy", "boxes.npy", "crop_boxes.npy"}
    assert np.array_equal(good.parts["lip_box.npy"], box) and np.array_equal(good.parts["boxes.npy"], boxes)
    assert np.array_equal(
        good.parts["crop_boxes.npy"], crop_boxes(inside, SETTINGS.lips.scale, SETTINGS.lips.follow_frames)
    )
    assert box.shape == (4,) and boxes.shape == (9, 4) and box.dtype == boxes.dtype == np.float32
    assert bad.reason == "lips_outside" and "px" in bad.detail and bad.parts == {}
