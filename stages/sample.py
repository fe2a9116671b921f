"""Stage ``sample``: make the synthetic corpora in HDTF's, LRS2's and MEAD's own layouts (or note that real ones are
used).

Reads the settings alone. Writes ``data/<preset>/sample/raw/{HDTF,LRS2,MEAD}/`` and, for tests alone, ``…/truth/``;
``README.txt`` says what is there. One video is one job of the runner.

Run: ``python -m flows.run sample``
"""

from __future__ import annotations

import logging
from typing import Any

from s3dnerf.corpora.synthetic.film import make_video
from s3dnerf.corpora.synthetic.layouts import hdtf_plans, lrs2_plans, mead_plans, write_hdtf_lists, write_lrs2_lists
from s3dnerf.video.packs import write_atomic
from stages.context import Context

logger = logging.getLogger(__name__)

_REAL = """No synthetic speakers in this preset (sample.enabled is false).
The raw corpora are read from the folders that raw.* names in params.yaml.
"""
_SYNTHETIC = """Synthetic talking heads with synthesised speech, made from the settings alone.
raw/    what the pipeline reads, in the corpora's own layouts; it holds no hint of pose, landmarks or phonemes
truth/  pose, camera, landmarks, visemes and masks of every frame, for tests alone: no stage reads it
"""


def main(context: Context) -> dict[str, Any]:
    """Make every video of the sample. Returns counts and seconds of video a corpus."""
    settings = context.settings
    if not settings.sample.enabled:
        write_atomic(context.out("README.txt"), _REAL.encode())
        logger.info("sample: off; raw data is read from raw.*")
        return {"enabled": False}
    hdtf, hdtf_lists = hdtf_plans(settings)
    lrs2, lrs2_lists = lrs2_plans(settings)
    plans = [*hdtf, *lrs2, *mead_plans(settings)]
    logger.info(f"sample: {len(plans)} videos to make")
    made = context.run(make_video, plans, [f"{plan.corpus}/{plan.video}" for plan in plans])
    write_hdtf_lists(context.out("raw", "HDTF"), hdtf_lists)
    write_lrs2_lists(context.out("raw", "LRS2"), lrs2_lists)
    write_atomic(context.out("README.txt"), _SYNTHETIC.encode())
    summary: dict[str, Any] = {"enabled": True}
    for corpus in ("hdtf", "lrs2", "mead"):
        rows = [row for plan, row in zip(plans, made, strict=True) if plan.corpus == corpus]
        summary[corpus] = {
            "videos": len(rows),
            "frames": sum(r["frames"] for r in rows),
            "seconds": round(sum(r["seconds"] for r in rows), 2),
        }
        logger.info(f"  {corpus}: {summary[corpus]['videos']} videos, {summary[corpus]['seconds']:.0f} s")
    return summary
