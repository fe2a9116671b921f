"""Everything the report is made of, read once: metrics, cards, curves, pictures, membership, times.

Reads ``data/<preset>/{inventory,ingest,…,train_sync,train_s3dnerf,evaluate}`` and ``.timings/<preset>/*.json``; writes
nothing. A part that is not there stays empty, and the page says so where it would stand.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s3dnerf.evaluation.feature_files import read_features
from s3dnerf.metrics.result import Recipe
from s3dnerf.reporting.clip_order import Place, pictured
from s3dnerf.reporting.distances import distances
from s3dnerf.reporting.membership import counts, empty_table, membership, uses_of
from s3dnerf.settings.schema import Settings
from s3dnerf.training.curves import read_curves
from s3dnerf.video.packs import file_sha256

if TYPE_CHECKING:
    import pandas as pd

SYNC_ROLES = ("expert", "judge")


@dataclass
class Sources:
    """What the stages left behind.

    Attributes
    ----------
    rows : the long table of ``evaluate/clips.parquet``, dicts; missing values nan
    features : (clip, method, network) → float32 (m, d), for whole-corpus distances
    methods, mouth, strips, heatmap, region_ratios : ``evaluate``'s JSON files
    pictures : file name → bytes, of the clips that are shown
    cards : ``expert``, ``judge`` and each variant → card.json
    curves : likewise → rows of curves.jsonl
    offsets : ``expert``, ``judge`` → offsets.json
    membership : the whole table of raw files and clips (:mod:`s3dnerf.reporting.membership`)
    membership_counts : its rows counted
    weights : setting → path, sha256 or missing (inventory/weights)
    hashes : ``expert``, ``judge`` and each variant → sha256 of its weights
    timings : name → content of .timings/<preset>/<name>.json (``stages/<stage>`` for what the runner timed)
    """

    settings: Settings
    rows: list[dict[str, Any]] = field(default_factory=list)
    features: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict)
    methods: dict[str, Any] = field(default_factory=dict)
    mouth: dict[str, Any] = field(default_factory=dict)
    strips: dict[str, Any] = field(default_factory=dict)
    heatmap: dict[str, Any] = field(default_factory=dict)
    region_ratios: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    cards: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    offsets: dict[str, Any] = field(default_factory=dict)
    membership: pd.DataFrame = field(default_factory=empty_table)
    membership_counts: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, Any] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    timings: dict[str, Any] = field(default_factory=dict)

    @property
    def recipes(self) -> list[Recipe]:
        """The metrics' recipes as evaluate used them, in the tables' order."""
        open_ends: dict[str, Any] = {"low": float("-inf"), "high": float("inf"), "perfect": float("nan")}
        return [
            Recipe(**{k: open_ends[k] if v is None else v for k, v in r.items()})
            for r in self.methods.get("recipes", [])
        ]

    @functools.cached_property
    def distances(self) -> dict[str, Any]:
        """Whole-corpus distances (:mod:`s3dnerf.reporting.distances`)."""
        lacking = self.methods.get("backends", {}).get("features", {})
        return distances(self.features, self.rows, lacking, self.settings.evaluate.bootstrap)

    @property
    def variants(self) -> dict[str, str]:
        """Method → variant of our own rows, the main one first."""
        return self.methods.get("variants", {})

    @property
    def pictured(self) -> list[Place]:
        """The clips that are shown in pictures, in the page's order."""
        return pictured(self.rows, self.ours, self.strips, self.settings.report.strips)

    @property
    def ours(self) -> str:
        """The method of the main variant."""
        return "s3dnerf"


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def network_file(data: Path, name: str) -> Path:
    """The weights of a network trained here: the expert's, the judge's or a variant's; its card and curves stand beside
    them.

    >>> network_file(Path("data/tiny"), "full").as_posix()
    'data/tiny/train_s3dnerf/full/generator.safetensors'
    """
    if name in SYNC_ROLES:
        return data / "train_sync" / name / "weights.safetensors"
    return data / "train_s3dnerf" / name / "generator.safetensors"


def load_sources(settings: Settings, timings: dict[str, Any] | None = None) -> Sources:
    """Read what the stages of one preset left behind. Raises FileNotFoundError when nothing was evaluated.

    ``timings``: those to take in place of ``.timings``, which is of the last run on this machine.
    """
    import pandas as pd

    data = settings.data_dir
    out = data / "evaluate"
    if not (out / "clips.parquet").is_file():
        raise FileNotFoundError(f"{out / 'clips.parquet'}: no such file — run: dvc repro evaluate")
    found = Sources(settings, pd.read_parquet(out / "clips.parquet").to_dict("records"))
    if (out / "features.safetensors").is_file():
        found.features = read_features((out / "features.safetensors").read_bytes())
    found.methods, found.mouth = _json(out / "methods.json"), _json(out / "mouth.json")
    found.strips, found.heatmap = _json(out / "strips.json"), _json(out / "heatmap.json")
    found.region_ratios = _json(out / "region_ratios.json")
    files = (out / "pictures" / (p.clip + suffix) for p in found.pictured for suffix in (".png", ".source.png", ".mp4"))
    found.pictures = {path.name: path.read_bytes() for path in files if path.is_file()}
    for name in (*SYNC_ROLES, *settings.train.variants):
        weights = network_file(data, name)
        found.cards[name] = _json(weights.parent / "card.json")
        found.curves[name] = read_curves(weights.parent / "curves.jsonl")
        if weights.is_file():
            found.hashes[name] = file_sha256(weights)
        if name in SYNC_ROLES:
            found.offsets[name] = _json(weights.parent / "offsets.json")
    found.membership = membership(
        data, {r["clip"] for r in found.rows}, settings.evaluate.corpora, uses_of(found.cards)
    )
    found.membership_counts = counts(found.membership)
    for path in sorted((data / "inventory" / "weights").glob("*.json")):
        found.weights |= _json(path)
    times = Path(".timings") / settings.preset
    read = {str(path.relative_to(times).with_suffix("")): _json(path) for path in sorted(times.rglob("*.json"))}
    # in the order that timings.json has, so that the page made from that is the same
    found.timings = json.loads(json.dumps(read if timings is None else timings, sort_keys=True))
    return found
