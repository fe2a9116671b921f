"""Charts for the documentation by matplotlib, as PNG; white ground, so that they can be read on bright and dark pages.

Numbers in, bytes out. Equal numbers give equal bytes with one version of matplotlib.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from s3dnerf.core.rates import FPS_HZ, SAMPLES_PER_FRAME
from s3dnerf.reporting.pictures import mel_picture, token_picture

DPI = 110
BLUE, RED, GREY, GREEN = "#2266bb", "#c0392b", "#7a7f87", "#2e8b57"
MEL_HZ = 80.0


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def clock_chart(times_s: np.ndarray, shown: np.ndarray, fps_hz: float) -> bytes:
    """Which raw frame each 25 Hz tick shows.

    Parameters
    ----------
    times_s : times of the raw video's frames on the clip's clock
    shown : int (k,), the number of the raw frame that tick i shows, i = 0 … k − 1
    fps_hz : the raw video's rate, for the label
    """
    figure = Figure(figsize=(7.6, 1.9), layout="constrained")
    axes = figure.subplots()
    ticks = np.arange(len(shown)) / FPS_HZ
    last = ticks[-1] + 1 / FPS_HZ
    near = times_s[(times_s >= -0.5 / FPS_HZ) & (times_s <= last)]
    axes.plot(near, np.ones_like(near), "|", color=GREY, markersize=22, markeredgewidth=2)
    axes.plot(ticks, np.zeros_like(ticks), "|", color=BLUE, markersize=22, markeredgewidth=2)
    for tick, frame in zip(ticks, shown):
        axes.plot([tick, times_s[frame]], [0.12, 0.88], color=BLUE, linewidth=1)
    axes.set_yticks([1, 0], [f"raw frames\n{fps_hz:.4g} Hz", f"ticks\n{FPS_HZ} Hz"])
    axes.set(xlabel="time (s)", ylim=(-0.4, 1.4), xlim=(-0.02, last))
    axes.spines[["top", "right", "left"]].set_visible(False)
    return _png(figure)


def speech_chart(samples: np.ndarray, mel: np.ndarray, tokens: np.ndarray, opening_px: np.ndarray) -> bytes:
    """Sound (640 n,) at 16 kHz, mel (m, 80) at 80 Hz, tokens (2 n, D) at 50 Hz and mouth opening (n,) over one time."""
    figure = Figure(figsize=(7.6, 4.6), layout="constrained")
    duration_s = len(opening_px) / FPS_HZ
    rows = figure.subplots(4, 1, sharex=True)
    rate_hz = SAMPLES_PER_FRAME * FPS_HZ
    rows[0].plot(np.arange(len(samples)) / rate_hz, samples, color=GREY, linewidth=0.4)
    rows[0].set_ylabel("sound")
    part = mel[: round(duration_s * MEL_HZ)]
    for axes, picture, name in ((rows[1], mel_picture(part), "mel"), (rows[2], token_picture(tokens), "tokens")):
        axes.imshow(picture, aspect="auto", extent=(0, duration_s, 0, 1), interpolation="nearest")
        axes.set_ylabel(name)
    rows[3].plot((np.arange(len(opening_px)) + 0.5) / FPS_HZ, opening_px, color=BLUE)
    rows[3].set(ylabel="mouth\nopening (px)", xlabel="time (s)", xlim=(0, duration_s))
    for axes in rows[:3]:
        axes.set_yticks([])
    return _png(figure)


def offset_chart(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> bytes:
    """Mean distance of lips and sound at each offset. ``curves``: network → ``offset_frames`` and ``distance``."""
    figure = Figure(figsize=(7.6, 2.8), layout="constrained")
    axes = figure.subplots()
    for (name, curve), colour in zip(curves.items(), (BLUE, RED)):
        axes.plot(curve["offset_frames"], curve["distance"], "o-", color=colour, markersize=3, label=name)
    axes.axvline(0, color=GREY, linewidth=1, linestyle=":")
    axes.set(xlabel="offset of sound and lips (frames of 40 ms; above 0 the sound is early)", ylabel="mean distance")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def metric_chart(
    values: Mapping[str, Sequence[float]],
    intervals: Mapping[str, tuple[float, float | None, float | None]],
    label: str,
) -> bytes:
    """A metric of several methods: a dot for each clip, and the mean with its 95 % interval.

    Parameters
    ----------
    values : method → values of its clips
    intervals : method → mean, lower and upper end; None, None where one speaker gives no interval
    """
    figure = Figure(figsize=(7.6, 0.6 + 0.55 * len(values)), layout="constrained")
    axes = figure.subplots()
    for place, (name, points) in enumerate(values.items()):
        mean, low, high = intervals[name]
        axes.plot(points, np.full(len(points), place), "o", color=GREY, alpha=0.5, markersize=4)
        if low is not None and high is not None:
            axes.plot([low, high], [place + 0.22] * 2, color=BLUE, linewidth=3, solid_capstyle="butt")
        axes.plot([mean], [place + 0.22], "D", color=BLUE, markersize=6)
    axes.set_yticks(range(len(values)), list(values))
    axes.set(xlabel=label, ylim=(len(values) - 0.4, -0.5))
    axes.spines[["top", "right", "left"]].set_visible(False)
    return _png(figure)


def dag_svg(boxes: Mapping[str, Mapping[str, Any]], edges: Sequence[tuple[str, str]]) -> bytes:
    """Boxes joined by arrows, as SVG whose text stays text.

    Parameters
    ----------
    boxes : name → ``x``, ``y`` (centre, in units of a box's width and of a row), ``text`` (under the name), ``colour``
    edges : (from, to)
    """
    import matplotlib
    from matplotlib.patches import FancyBboxPatch

    width, depth = max(b["x"] for b in boxes.values()) + 1.0, max(b["y"] for b in boxes.values()) + 1.0
    figure = Figure(figsize=(2.3 * width, 0.74 * depth))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.5, width - 0.5), ylim=(depth - 0.5, -0.5))
    axes.axis("off")
    half_w, half_h = 0.43, 0.3
    for name, box in boxes.items():
        corner = box["x"] - half_w, box["y"] - half_h
        patch = FancyBboxPatch(
            corner, 2 * half_w, 2 * half_h, boxstyle="round,pad=0,rounding_size=0.06", facecolor=box["colour"],
            edgecolor="#444a55", linewidth=1, mutation_aspect=2.3,
        )  # fmt: skip
        axes.add_patch(patch)
        axes.text(box["x"], box["y"] - 0.1, name, ha="center", va="center", fontsize=10, weight="bold", color="#1b1f27")
        axes.text(box["x"], box["y"] + 0.14, box["text"], ha="center", va="center", fontsize=7.5, color="#30343c")
    for start, end in edges:
        a, b = boxes[start], boxes[end]
        arrow = axes.annotate(
            "", (b["x"], b["y"] - half_h), (a["x"], a["y"] + half_h),
            arrowprops={"arrowstyle": "-|>", "color": "#6b7280", "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
        assert arrow.arrow_patch is not None
        arrow.arrow_patch.set_gid(f"{start}-{end}")
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "s3dnerf"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
