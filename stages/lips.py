"""``lips``: one square lip box a clip, a box a frame, and the boxes that lip crops are cut by, from the aligned
landmarks.

Reads ``align`` packs (``landmarks.npy``); writes per clip ``lip_box.npy`` float32 (4,), ``boxes.npy`` and
``crop_boxes.npy`` float32 (N, 4): x0, y0, x1, y1 in pixels of the aligned frame (:mod:`s3dnerf.faces.lips`). A clip
whose box leaves the frame by more than a quarter of its side is quarantined: ``lips_outside``. Run: ``python -m
flows.run lips``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from s3dnerf.faces.lips import crop_boxes, lip_boxes
from s3dnerf.settings.schema import LipsSettings
from s3dnerf.video.packs import CorpusPacks
from stages.context import Context
from stages.preprocessing import ClipResult, PackJob, PackStage, Quarantine, each_clip, run_packs

SPEC = PackStage("lips", ("align",))
OUTSIDE = 0.25  # of the box's side


def lips_of(landmarks: np.ndarray, lips: LipsSettings, size_px: int) -> dict[str, Any]:
    """The parts of one clip. Raises Quarantine when the lips are not in the frame."""
    box, boxes = lip_boxes(landmarks, lips.scale)
    side = box[2] - box[0]
    over = max(-box[:2].min(), box[2:].max() - size_px)
    if over > OUTSIDE * side:
        raise Quarantine("lips_outside", f"the lip box of {side:.0f} px reaches {over:.0f} px beyond the aligned frame")
    return {
        "lip_box.npy": box,
        "boxes.npy": boxes,
        "crop_boxes.npy": crop_boxes(landmarks, lips.scale, lips.follow_frames),
    }


def process(job: PackJob) -> Iterator[ClipResult]:
    """The clips of one pack."""
    aligned, settings = CorpusPacks(job.upstream["align"], job.pack), job.settings
    yield from each_clip(
        job, lambda r: lips_of(aligned.read(r["clip"], "landmarks.npy"), settings.lips, settings.align.size_px)
    )


def main(context: Context) -> dict[str, Any]:
    """Run the stage. Returns counts a corpus."""
    return run_packs(SPEC, context)
