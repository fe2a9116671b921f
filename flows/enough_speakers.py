"""Whether the test split has enough speakers for the report's tests: said when ``ingest`` ends, before any training.

Reads ``data/<preset>/ingest/<corpus>/clips.parquet``; writes nothing. The settings are read from a plain copy: what is
said here decides no output of the stage, and so belongs to none of its settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from s3dnerf.settings.loading import as_dict
from s3dnerf.settings.schema import Settings

if TYPE_CHECKING:
    from s3dnerf.faces.types import FaceBackend


def count_tests(settings: Settings) -> int:
    """How many tests the report corrects together on one corpus against one control: the measured metrics that have a
    direction, without those of motion and time, which are a family of their own.

    Metrics whose weights turn out to be missing are among them.
    """
    from s3dnerf.evaluation.protocol import Tools
    from s3dnerf.reporting.summary import DYNAMICS

    chosen = as_dict(settings)["evaluate"]
    off = {name for name in ("lpips", "identity") if chosen[name] == "off"}
    recipes = Tools(faces=cast("FaceBackend", None)).recipes()  # they ask no backend
    return sum(recipe.direction in ("up", "down") and recipe.name not in {*off, *DYNAMICS} for recipe in recipes)


def too_few_lines(settings: Settings) -> list[str]:
    """One sentence for each measured corpus whose test split has too few speakers for the report's tests.

    A corpus without a test clip is passed over, which ``evaluate`` and the report say themselves.
    """
    import pandas as pd

    from s3dnerf.reporting.comparison import too_few
    from s3dnerf.reporting.statistics import speakers_needed

    lines, tests = [], count_tests(settings)
    needed = speakers_needed(tests)
    for corpus in as_dict(settings)["evaluate"]["corpora"]:
        path = settings.data_dir / "ingest" / corpus / "clips.parquet"
        if not path.is_file():
            continue
        clips = pd.read_parquet(path, columns=["speaker", "split"])
        speakers = clips.loc[clips["split"] == "test", "speaker"].nunique()
        if speakers and (needed is None or speakers < needed):
            lines.append(f"test split of {too_few(corpus, speakers, tests)}")
    return lines
