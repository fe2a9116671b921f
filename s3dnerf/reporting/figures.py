"""The report's figures from its sources: each is HTML (inline SVG, or a picture as a data URI) with a caption.

Nothing here computes a metric; a figure whose data is missing says so in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from s3dnerf.metrics.result import Recipe
from s3dnerf.reporting.paper import paper_name
from s3dnerf.reporting.pictures import heat_overlay
from s3dnerf.reporting.png import FINE_QUALITY, photo_uri, png_array
from s3dnerf.reporting.sources import Sources
from s3dnerf.reporting.svg import Bar, Series, interval_plot, line_chart
from s3dnerf.reporting.tables import CONTROL_TITLES, CORPUS_TITLES, number

METHOD_TITLES = {
    **CONTROL_TITLES,
    "s3dnerf": "S³D-NeRF (ours)",
    "truth": "Truth",
    "still": "Still",
    "wrong_speech": "Wrong speech",
}


def title_of(method: str) -> str:
    """What a method is called beside its pictures."""
    return METHOD_TITLES.get(method, paper_name(method))


@dataclass(frozen=True)
class Figure:
    """``body`` is HTML; ``caption`` plain text."""

    title: str
    body: str
    caption: str = ""


def _image(uri: str, alt: str, width: int, height: int) -> str:
    return f'<img src="{uri}" alt="{alt}" width="{width}" height="{height}">'


def strips(sources: Sources) -> list[Figure]:
    """Truth, ours, controls and other methods, a few frames of a clip each, in the page's order; without the frames
    where pictures of people are left out.
    """
    found = []
    for place in sources.pictured:
        clip, about = place.clip, sources.strips[place.clip]
        data = sources.pictures.get(f"{clip}.png")
        if data is None:
            continue
        if not sources.settings.report.people:
            found.append(Figure(clip, "", place.in_words()))
            continue
        image, px = png_array(data), about["px"]
        lines = []
        for i, name in enumerate(about["names"]):
            part = image[i * px : (i + 1) * px]
            label = title_of(name)
            uri = photo_uri(part, FINE_QUALITY)  # these are what is judged
            lines.append(
                '<div class="strip"><span '
                f'class="who">{label}</span>{_image(uri, f"{label}, {clip}", part.shape[1], px)}</div>'
            )
        wrong = sources.methods.get("wrong_speech", {}).get(clip, "")
        beside = ", ".join(title_of(name) for name in about.get("video", []))
        notes = [f"in the video from left to right: {beside}"] if beside else []
        notes += [f"wrong speech from {wrong}"] if wrong else []
        notes += [f"{title_of(k)}: {v}" for k, v in sources.methods.get("notes", {}).get(clip, {}).items()]
        frames = ", ".join(map(str, about["frames"]))
        said = "; ".join(notes)
        caption = f"{place.in_words()} Frames {frames}. {said[:1].upper()}{said[1:]}" + ("." if said else "")
        found.append(Figure(clip, "".join(lines), caption))
    return found


def mouths(sources: Sources) -> list[Figure]:
    """How far the mouth opens over time: the truth, ours with the right and with wrong speech."""
    found = []
    for clip in (place.clip for place in sources.pictured):
        curves = sources.mouth.get(clip, {})
        every = sources.settings.evaluate.landmark_every
        series = []
        for colour, name in enumerate(("truth", sources.ours, "wrong_speech")):
            if name in curves:
                times = [k * every / 25 for k in range(len(curves[name]))]
                series.append(Series(title_of(name), times, curves[name], colour, dashed=name == "wrong_speech"))
        if series:
            found.append(
                Figure(clip, line_chart(series, "seconds", "mouth opening (px)", title=f"mouth opening of {clip}"))
            )
    return found


def heat_maps(sources: Sources) -> list[Figure]:
    """Over the source: F_cm's mean over channels (the paper's figure 3), how much it moves with the speech, and
    ‖Δx‖.
    """
    found = []
    for clip in (place.clip for place in sources.pictured if place.clip in sources.heatmap):
        heat = sources.heatmap[clip]
        data = sources.pictures.get(f"{clip}.source.png")
        if data is None:
            continue
        source = png_array(data)
        if not sources.settings.report.people:
            source = np.full_like(source, 96)
        parts = []
        whole = [0.0, 0.0, float(source.shape[1]), float(source.shape[0])]
        layers = (
            ("mean", "F_cm, mean over channels", heat["window"]),
            ("moving", "F_cm, deviation over time", heat["window"]),
            ("moved", "‖Δx‖, mean over time", whole),
        )
        for key, label, window in layers:
            if heat[key] is None:
                continue
            overlay = heat_overlay(source, np.array(heat[key]), window)
            picture = _image(photo_uri(overlay), f"{clip}: {label}", 256, 256)
            parts.append(f'<figure class="tile">{picture}<figcaption>{label}</figcaption></figure>')
        found.append(Figure(clip, f'<div class="tiles">{"".join(parts)}</div>'))
    return found


def offset_curve(sources: Sources, role: str) -> Figure | None:
    """Mean distance of lips and sound at each offset, of the expert or the judge: a clear extreme at 0 is what is
    wanted.
    """
    data = sources.offsets.get(role) or {}
    if not data:
        return None
    series = [Series("all held-out clips", data["offset_frames"], data["distance"], 0)]
    if len(data.get("by_corpus", {})) > 1:
        for i, (corpus, y) in enumerate(data["by_corpus"].items()):
            series.append(Series(CORPUS_TITLES.get(corpus, corpus), data["offset_frames"], y, i + 1, dashed=True))
    card = sources.cards.get(role, {})
    held = card.get("held_out", {})
    caption = ""
    if held:
        span = "" if held.get("low") is None else f" (95 %: {held['low']:.3f} to {held['high']:.3f})"
        verdict = "passed" if card.get("passes") else "did not pass"
        caption = (
            f"Right in {held['accuracy']:.3f}{span} of {held.get('trials', 0)} held-out trials, "
            f"{held.get('speakers', 0)} unseen "
            f"speakers; {verdict} its gate of {card.get('gate', float('nan')):g}."
        )
    chart = line_chart(series, "offset (frames)", "mean distance", mark_x=0.0, title=f"offset curve of the {role}")
    return Figure(role.capitalize(), chart, caption)


def curve_group(rows: list[dict[str, float]], name: str) -> Figure | None:
    """Small multiples of everything a training wrote down, one chart a quantity."""
    if not rows:
        return None
    keys = [k for k in dict.fromkeys(k for row in rows for k in row) if k != "step"]
    parts = []
    for key in keys:
        points = [(row["step"], row[key]) for row in rows if isinstance(row.get(key), int | float)]
        if len(points) < 2:
            continue
        step = max(1, len(points) // 400)  # a chart is a few hundred pixels wide
        points = points[::step]
        series = Series(key, [p[0] for p in points], [p[1] for p in points], 0)
        chart = line_chart([series], "step", key, width=340, height=190, title=f"{name}: {key}")
        parts.append(f'<div class="small">{chart}</div>')
    return Figure(name, f'<div class="multiples">{"".join(parts)}</div>') if parts else None


def difference_plot(summary: dict[str, Any], recipes: list[Recipe], ours: str, control: str) -> str:
    """Ours minus a control with its interval, a row a metric; green where the interval speaks for ours."""
    found = summary["differences"].get(f"{ours} - {control}", {})
    bars = []
    for recipe in recipes:
        d = found.get(recipe.name, {})
        if d.get("mean") is None:
            continue
        good = None if d["verdict"] == "no difference shown" else d["verdict"] == "better"
        p = "p < 0.001" if d["p_holm"] < 0.001 else f"p = {d['p_holm']:.3f}"
        text = f"{'+' if d['mean'] > 0 else ''}{number(d['mean'], recipe.name)}, {p}"
        bars.append(Bar(f"{recipe.title} {recipe.arrow}", d["mean"], d["low"], d["high"], text, good))
    return interval_plot(bars, f"{ours} minus {control}")
