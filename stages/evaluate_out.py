"""The out of ``evaluate``: its tables and pictures put together from the clips, and the clips found in it again.

Writes (and reads) ``data/<preset>/evaluate/``; what is in it, :mod:`stages.evaluate` says. No times, equal results are
equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.evaluation.feature_files import features_bytes, read_features
from s3dnerf.evaluation.protocol import COLUMNS, Tools
from s3dnerf.metrics.distribution import RECIPES
from s3dnerf.settings.schema import Settings
from s3dnerf.video.packs import write_atomic, write_table
from stages.evaluated_clips import FEATURES, SOURCE, STRIP, VIDEO, ClipResult
from stages.out_keys import KeptEntry

OURS, WRONG = "s3dnerf", "wrong_speech"
# file of a clip's entry → how its name in pictures/ ends
PICTURES = {STRIP: ".png", SOURCE: ".source.png", VIDEO: ".mp4"}


def main_variant(settings: Settings) -> str:
    """``full`` where it is trained, otherwise the first of ``train.variants``."""
    return "full" if "full" in settings.train.variants else settings.train.variants[0]


def method_of(settings: Settings, variant: str) -> str:
    """The name of a variant's rows: the main variant is ``s3dnerf``, another ``s3dnerf_<variant>``."""
    return OURS if variant == main_variant(settings) else f"{OURS}_{variant}"


def write_outputs(
    out: Path,
    settings: Settings,
    done: Mapping[str, ClipResult],
    methods: Mapping[str, str],
    used: Mapping[str, list[str]],
    tools: Tools,
) -> None:
    """The stage's out: sorted, rounded by nothing but parquet's own bytes, without times.

    Parameters
    ----------
    out : path
    settings : Settings
    done : clip → what was measured on it, in the order in which clips are shown
    methods : label of each video of another method → the method
    used : clip → labels of the videos that are of it
    tools : Tools, for the recipes and backends behind the rows
    """
    rows = sorted(
        (row for result in done.values() for row in result.rows),
        key=lambda r: (r["corpus"], r["clip"], r["method"], r["metric"]),
    )
    write_table(out / "clips.parquet", rows, COLUMNS)

    def write_json(name: str, value: Any) -> None:
        write_atomic(out / name, (json.dumps(value, indent=None, sort_keys=True, ensure_ascii=False) + "\n").encode())

    features = {(clip, *name): values for clip, result in done.items() for name, values in result.features.items()}
    write_atomic(out / FEATURES, features_bytes(features))
    write_json("mouth.json", {clip: result.mouth for clip, result in done.items()})
    for clip, result in done.items():
        for name, suffix in PICTURES.items():
            if name in result.pictures:
                write_atomic(out / "pictures" / f"{clip}{suffix}", result.pictures[name])
    write_json("strips.json", {clip: result.strip for clip, result in done.items() if result.strip is not None})
    write_json("heatmap.json", {clip: result.heat for clip, result in done.items() if result.heat is not None})
    write_json("region_ratios.json", {clip: result.acts for clip, result in done.items()})
    write_json(
        "methods.json",
        {
            "variants": {method_of(settings, v): v for v in settings.train.variants},
            "wrong_speech": {clip: result.notes.get(WRONG, "") for clip, result in done.items()},
            "notes": {clip: {k: v for k, v in result.notes.items() if k != WRONG} for clip, result in done.items()},
            "other_methods": sorted(set(methods.values())),
            "unused_videos": sorted(set(methods) - {label for labels in used.values() for label in labels}),
            "recipes": [
                vars(r) | {"low": _finite(r.low), "high": _finite(r.high), "perfect": _finite(r.perfect)}
                for r in tools.recipes()
            ],
            "backends": {
                "faces": {"name": tools.faces.name, "real": tools.faces.real},
                "judge": {
                    "name": tools.judge.name if tools.judge else settings.evaluate.judge,
                    "real": bool(tools.judge and tools.judge.real),
                    "protocol": tools.judge.protocol if tools.judge else "",
                    "missing": tools.why.get("judge", ""),
                },
                "features": {name: tools.why.get(name, "") for name in RECIPES},
                "lpips": {"name": "alexnet", "real": tools.network is not None, "missing": tools.why.get("lpips", "")},
                "identity": {
                    "name": tools.identity_name,
                    "real": bool(tools.recogniser and tools.recogniser.real),
                    "missing": tools.why.get("identity", ""),
                },
            },
        },
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def clip_files(out: Path, entries: list[KeptEntry]) -> Iterator[tuple[KeptEntry, dict[str, bytes | Path]]]:
    """The files of clips' entries, put together from the stage's out, as :mod:`stages.seeding` wants them."""
    import pandas as pd

    names = ("mouth", "strips", "heatmap", "region_ratios", "methods")
    try:
        mouth, strips, heats, acts, methods = (json.loads((out / f"{n}.json").read_text("utf-8")) for n in names)
        table = pd.read_parquet(out / "clips.parquet")
        features: dict[str, dict[tuple[str, str], np.ndarray]] = {}
        for (of, method, network), values in read_features((out / FEATURES).read_bytes()).items():
            features.setdefault(of, {})[method, network] = values
    except FileNotFoundError:
        return
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        rows.setdefault(str(row["clip"]), []).append(row)
    for entry in entries:
        clip = entry.place
        if clip not in mouth:
            continue
        wrong = methods["wrong_speech"].get(clip)
        notes = methods["notes"].get(clip, {}) | ({WRONG: wrong} if wrong else {})
        parts = (rows.get(clip, []), mouth[clip], notes, acts[clip], strips.get(clip), heats.get(clip))
        result = ClipResult(*parts, features=features.get(clip, {}))
        pictures = {name: out / "pictures" / f"{clip}{suffix}" for name, suffix in PICTURES.items()}
        yield entry, {**result.files(), **{name: path for name, path in pictures.items() if name in entry.files}}
