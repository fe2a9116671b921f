"""Make the pictures of the documentation from the demo's data: ``python -m flows.docs_pictures``.

Reads ``params.yaml``, ``dvc.yaml`` and ``data/<preset>`` up to ``evaluate``; writes the files of :func:`pictures` into
``docs/pictures``. Only presets whose people are made up (``sample.enabled``) are drawn. Clips are chosen by a hash of
their names, not by how they look. About two minutes of processor time, most of it for two renderings of one clip.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tyro

from flows.docs_pictures.charts import metric_chart, offset_chart
from flows.docs_pictures.frames import film_picture, made_clip, model_picture, moving_picture
from flows.docs_pictures.graph import graph_picture
from flows.docs_pictures.preprocessing import (
    align_picture,
    lips_picture,
    masks_picture,
    resample_picture,
    sample_picture,
    shown_clip,
    speech_picture,
)
from s3dnerf.core.errors import SettingsError
from s3dnerf.reporting.sheet_choice import Preprocessed, by_hash
from s3dnerf.reporting.sources import SYNC_ROLES, load_sources
from s3dnerf.reporting.statistics import cluster_interval
from s3dnerf.settings.loading import load_settings
from s3dnerf.settings.schema import CORPORA, Settings
from s3dnerf.video.packs import write_atomic

OUT = Path("docs/pictures")
METRIC, METRIC_LABEL = "m_lmd", "M-LMD: how far the mouth's landmarks are from the truth's (px, lower is better)"
METHODS = {"s3dnerf": "ours", "wrong_speech": "wrong speech", "still": "still"}


def sync_picture(settings: Settings) -> bytes:
    """Distance of lips and sound by offset, by the expert and the judge, of people they never saw."""
    folder = settings.data_dir / "train_sync"
    return offset_chart({role: json.loads((folder / role / "offsets.json").read_text()) for role in SYNC_ROLES})


def metric_picture(settings: Settings, corpus: str) -> bytes:
    """:data:`METRIC` of each test clip of a corpus, ours beside the controls, means with intervals by speaker."""
    sources = load_sources(settings)
    values, intervals = {}, {}
    for method, name in METHODS.items():
        rows = [
            row
            for row in sources.rows
            if (row["corpus"], row["method"], row["metric"]) == (corpus, method, METRIC) and np.isfinite(row["value"])
        ]
        values[name] = [row["value"] for row in rows]
        found = cluster_interval(values[name], [row["speaker"] for row in rows], settings.evaluate.bootstrap)
        intervals[name] = found.mean, found.low, found.high
    return metric_chart(values, intervals, METRIC_LABEL)


def pictures(settings: Settings, graph: Path) -> dict[str, Callable[[], bytes]]:
    """File → what makes it.

    Parameters
    ----------
    graph : the ``dvc.yaml`` that is drawn

    Raises SettingsError for a preset of real people.
    """
    if not settings.sample.enabled:
        raise SettingsError(
            f"preset {settings.preset}: its people are real (sample.enabled is false), expected the made-up people of "
            "the preset sample — run: s3dnerf preset sample"
        )
    made = settings.data_dir / "ingest"
    corpora = [Preprocessed(settings, name) for name in CORPORA if (made / name / "clips.parquet").is_file()]
    corpora = [corpus for corpus in corpora if corpus.records]
    first = corpora[0]
    tests = [clip for clip in first.clips("speech") if first.records[clip]["split"] == "test"]
    clip = by_hash(tests, 1)[0]
    shown = shown_clip(first, clip)
    generated = functools.cache(lambda: made_clip(settings, first.corpus, clip))
    return {
        "graph.svg": lambda: graph_picture(graph),
        "sample.webp": lambda: sample_picture(corpora),
        "resample.png": lambda: resample_picture(first, clip),
        "align.webp": lambda: align_picture(shown),
        "masks.webp": lambda: masks_picture(shown),
        "lips.webp": lambda: lips_picture(shown),
        "speech.png": lambda: speech_picture(shown),
        "sync.png": lambda: sync_picture(settings),
        "model.webp": lambda: model_picture(generated()),
        "film.webp": lambda: film_picture(generated()),
        "talking.webp": lambda: moving_picture(generated()),
        "metric.png": lambda: metric_picture(settings, first.corpus),
    }


def main(out: Path = OUT, only: tuple[str, ...] = ()) -> None:
    """Make the pictures of the documentation from the demo's data.

    Args:
        out: Folder that they are written into.
        only: Names of the files to make; none: all.
    """
    found = pictures(load_settings(), Path("dvc.yaml"))
    unknown = sorted(set(only) - set(found))
    if unknown:
        raise SettingsError(f"--only {' '.join(unknown)}: expected some of {', '.join(found)}")
    total = 0
    for name in only or found:
        data = found[name]()
        write_atomic(out / name, data)
        total += len(data)
        print(f"{out / name}: {len(data) / 1e3:.0f} kB")
    print(f"{total / 1e6:.2f} MB in all")


if __name__ == "__main__":
    tyro.cli(main)
