"""The pipeline's graph as a picture, drawn from ``dvc.yaml`` itself: a stage is joined to another where it reads an out
of it.

Arrows that follow from others are left out (transitive reduction), and the template of variants is one box. Reads one
file; bytes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networkx

from flows.docs_pictures.charts import dag_svg
from flows.graph import GRAPH, definitions

DATA, FACES, NETWORKS, RESULTS = "#dbe8fb", "#dff3e4", "#fdebd0", "#f6dcea"
# stage → what it does in a few words, and the colour of its kind
ABOUT = {
    "check": ("code and settings agree", DATA),
    "sample": ("made-up speakers", DATA),
    "inventory": ("hashes of raw files", DATA),
    "ingest": ("raw layout to clips", DATA),
    "resample": ("25 Hz clock, 16 kHz sound", FACES),
    "align": ("256² crops, 68 landmarks", FACES),
    "masks": ("3D face, camera, mask", FACES),
    "lips": ("lip boxes", FACES),
    "speech": ("tokens, mel, sync filter", FACES),
    "train_sync_expert": ("lip-sync loss", NETWORKS),
    "train_sync_judge": ("lip-sync metric", NETWORKS),
    "train_s3dnerf": ("generator, each variant", NETWORKS),
    "evaluate": ("test clips, metrics", RESULTS),
    "report": ("tables, page, cards", RESULTS),
}


def edges_of(stages: Mapping[str, Mapping[str, Any]]) -> set[tuple[str, str]]:
    """(stage, stage that reads it): a dep lies in an out, or an out lies in a dep.

    Parameters
    ----------
    stages : name → ``deps`` and ``outs`` as DVC takes them; an out may be a mapping from its path to its options
    """
    outs = [
        (name, Path(out if isinstance(out, str) else next(iter(out))))
        for name, stage in stages.items()
        for out in stage.get("outs", [])
    ]
    return {
        (maker, name)
        for name, stage in stages.items()
        for dep in map(Path, stage.get("deps", []))
        for maker, out in outs
        if maker != name and (dep.is_relative_to(out) or out.is_relative_to(dep))
    }


def graph_picture(path: Path = Path(GRAPH)) -> bytes:
    """The graph of a ``dvc.yaml`` as SVG, top to bottom.

    Raises KeyError for a stage that :data:`ABOUT` does not have.
    """
    stages = definitions(path)
    graph = networkx.DiGraph(sorted(edges_of(stages)))
    graph.add_nodes_from(sorted(stages))
    short = networkx.transitive_reduction(graph)
    boxes: dict[str, dict[str, Any]] = {}
    for row, names in enumerate(networkx.topological_generations(short)):
        # under the middle of what they read, a box's width apart, so that few arrows cross
        above = {n: [boxes[p]["x"] for p in short.predecessors(n)] for n in names}
        wanted = {n: sum(xs) / len(xs) if xs else 0.0 for n, xs in above.items()}
        order = sorted(names, key=lambda n: (wanted[n], list(stages).index(n)))
        middle = sum(wanted.values()) / len(order)
        for column, name in enumerate(order):
            text, colour = ABOUT[name]
            x = middle + column - (len(order) - 1) / 2
            boxes[name] = {"x": x, "y": float(row), "text": text, "colour": colour}
    left = min(box["x"] for box in boxes.values())
    for box in boxes.values():
        box["x"] -= left
    return dag_svg(boxes, sorted(short.edges))
