"""Stage ``check`` (always run, a second): is the code what its lock says; and which packages each stage computes with.

The head of the graph: every stage depends on one of its outs, so that changed code stops every ``dvc repro`` before any
work (:mod:`stages.code_lock`). Writes ``data/<preset>/check/<stage>.json``: package → version, for the packages that
can change what the stage writes (:mod:`stages.environment`).

Run: ``python -m flows.run check``
"""

from __future__ import annotations

import json
from typing import Any

from s3dnerf.video.packs import write_atomic
from stages.code_lock import require
from stages.code_parts import STAGES
from stages.context import Context
from stages.environment import stage_environment


def main(context: Context) -> dict[str, Any]:
    """Check the code, then write each stage's packages. Raises CodeChanged before anything is written."""
    require()
    for stage in STAGES:
        found = stage_environment(stage, context.settings)
        write_atomic(context.out(f"{stage}.json"), (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())
    return {"stages": len(STAGES)}
