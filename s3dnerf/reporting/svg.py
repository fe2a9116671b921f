"""Line charts, interval and forest plots and waveforms as inline SVG: text that scales, no script, no outside request.

Colours come from the page's style (classes ``c0`` … ``c5``), so that a dark page has fitting ones. Equal data gives
equal text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

LEFT, RIGHT, TOP, BOTTOM = 58, 12, 14, 40


@dataclass(frozen=True)
class Series:
    """A curve: x and y of one length (y may hold None: a gap), and the number of its colour class."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    colour: int = 0
    dashed: bool = False


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover the range.

    Examples
    --------
    >>> nice_ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not math.isfinite(low) or not math.isfinite(high):
        raise ValueError(f"nice_ticks: finite bounds expected, got {low}, {high}")
    span = high - low or abs(high) or 1.0
    raw = span / max(about, 1)
    step = 10 ** math.floor(math.log10(raw))
    step *= next(m for m in (1, 2, 5, 10) if m * step >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 10) + 0.0 for i in range(first, last + 1)]


def _text(value: float) -> str:
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.0e}"
    return f"{value:g}".replace("-", "−")


def _path(points: list[tuple[float, float] | None]) -> str:
    words, pen = [], False
    for point in points:
        if point is None:
            pen = False
            continue
        words.append(f"{'L' if pen else 'M'}{point[0]:.1f} {point[1]:.1f}")
        pen = True
    return "".join(words)


def line_chart(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    width: int = 520,
    height: int = 260,
    mark_x: float | None = None,
    y_range: tuple[float, float] | None = None,
    title: str = "",
) -> str:
    """A line chart.

    Parameters
    ----------
    mark_x : a vertical line at this x (the expected extreme of an offset curve)
    y_range : fixed bounds; otherwise the data's with a little air
    title : what a screen reader says
    """
    xs = [x for s in series for x in s.x]
    ys = [y for s in series for y in s.y if y is not None and math.isfinite(y)]
    if not xs or not ys:
        return '<p class="empty">No data to draw.</p>'
    x0, x1 = min(xs), max(xs)
    y0, y1 = y_range or (min(ys), max(ys))
    air = 0.06 * ((y1 - y0) or abs(y1) or 1.0)
    if y_range is None:
        y0, y1 = y0 - air, y1 + air
    x1 = x1 if x1 > x0 else x0 + 1

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - x0) / (x1 - x0) * (width - LEFT - RIGHT),
            TOP + (1 - (y - y0) / (y1 - y0)) * (height - TOP - BOTTOM),
        )

    parts = [f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title or y_label)}">']
    for tick in nice_ticks(y0, y1, 4):
        _, y = at(x0, tick)
        parts.append(
            f'<path class="grid" d="M{LEFT} {y:.1f}H{width - RIGHT}"/><text class="tick" x="{LEFT - 6}" '
            f'y="{y + 4:.1f}" '
            f'text-anchor="end">{_text(tick)}</text>'
        )
    for tick in nice_ticks(x0, x1, 6):
        x, _ = at(tick, y0)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{height - BOTTOM + 17}" text-anchor="middle">{_text(tick)}</text>'
        )
    if mark_x is not None and x0 <= mark_x <= x1:
        x, _ = at(mark_x, y0)
        parts.append(f'<path class="mark" d="M{x:.1f} {TOP}V{height - BOTTOM}"/>')
    for s in series:
        points = [at(x, y) if y is not None and math.isfinite(y) else None for x, y in zip(s.x, s.y)]
        dash = ' stroke-dasharray="5 4"' if s.dashed else ""
        parts.append(f'<path class="line c{s.colour}" d="{_path(points)}"{dash}><title>{escape(s.name)}</title></path>')
    parts.append(
        f'<text class="label" x="{(LEFT + width - RIGHT) / 2:.0f}" y="{height - 5}" '
        f'text-anchor="middle">{escape(x_label)}</text>'
    )
    middle = (TOP + height - BOTTOM) / 2
    turned = f'transform="translate(12 {middle:.0f}) rotate(-90)"'
    parts.append(f'<text class="label" {turned} text-anchor="middle">{escape(y_label)}</text></svg>')
    if len(series) < 2:
        return "".join(parts)
    keys = "".join(f'<span class="key"><i class="swatch k{s.colour}"></i>{escape(s.name)}</span>' for s in series)
    return "".join(parts) + f'<div class="legend">{keys}</div>'


@dataclass(frozen=True)
class Bar:
    """One line of an interval plot: a mean with its interval (None: no interval), in units of its own row's scale."""

    name: str
    mean: float
    low: float | None
    high: float | None
    text: str
    good: bool | None


def interval_plot(bars: Sequence[Bar], title: str, width: int = 520) -> str:
    """Differences with their intervals, one a row, each row scaled to itself so that 0 is one line for all."""
    if not bars:
        return '<p class="empty">No data to draw.</p>'
    row, left, right = 34, 120, 158
    height = TOP + row * len(bars) + 8
    middle = (left + width - right) / 2
    reach = (width - right - left) / 2 - 4
    parts = [
        f'<svg class="chart bars" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f'<path class="mark" d="M{middle:.1f} {TOP - 6}V{height - 6}"/>'
    ]
    for i, bar in enumerate(bars):
        y = TOP + row * i + row / 2
        scale = max(abs(v) for v in (bar.mean, bar.low or 0.0, bar.high or 0.0)) or 1.0
        x = [
            middle + reach * v / scale
            for v in (
                bar.mean,
                bar.low if bar.low is not None else bar.mean,
                bar.high if bar.high is not None else bar.mean,
            )
        ]
        colour = "good" if bar.good else "bad" if bar.good is False else "flat"
        parts.append(
            f'<text class="label" x="{left - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(bar.name)}</text>'
            f'<path class="whisker {colour}" d="M{x[1]:.1f} {y:.1f}H{x[2]:.1f}"/>'
            f'<circle class="dot {colour}" cx="{x[0]:.1f}" cy="{y:.1f}" r="4.5"/>'
            f'<text class="tick" x="{width - right + 10}" y="{y + 4:.1f}">{escape(bar.text)}</text>'
        )
    return "".join(parts) + "</svg>"


def forest_plot(groups: Sequence[tuple[str, Sequence[Bar]]], title: str, reach: float, width: int = 460) -> str:
    """Groups of differences with their intervals on one axis in percent, from −reach to reach, right is better.

    What lies beyond the axis ends in an arrow at its edge; its number stands at the right all the same.
    """
    if not any(bars for _, bars in groups):
        return '<p class="empty">No data to draw.</p>'
    row, head, left, right = 24, 26, 120, 70
    height = TOP + sum(head + row * len(bars) for _, bars in groups) + BOTTOM
    end = width - right

    def at(value: float) -> float:
        return left + (max(-reach, min(reach, value)) / reach + 1) / 2 * (end - left)

    parts = [f'<svg class="chart bars" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">']
    for tick in nice_ticks(-reach, reach, 4):
        parts.append(
            f'<path class="{"mark" if tick == 0 else "grid"}" d="M{at(tick):.1f} {TOP}V{height - BOTTOM}"/>'
            f'<text class="tick" x="{at(tick):.1f}" y="{height - BOTTOM + 16}" text-anchor="middle">'
            f"{_text(tick)} %</text>"
        )
    y = float(TOP)
    for name, bars in groups:
        y += head
        parts.append(f'<text class="group" x="4" y="{y - 9:.1f}">{escape(name)}</text>')
        for bar in bars:
            middle = y + row / 2
            low, high = (bar.mean if v is None else v for v in (bar.low, bar.high))
            colour = "good" if bar.good else "bad" if bar.good is False else "flat"
            parts.append(
                f'<text class="label" x="{left - 12}" y="{middle + 4:.1f}" text-anchor="end">{escape(bar.name)}</text>'
                f'<path class="whisker {colour}" d="M{at(low):.1f} {middle:.1f}H{at(high):.1f}"/>'
            )
            if abs(bar.mean) <= reach:
                parts.append(f'<circle class="dot {colour}" cx="{at(bar.mean):.1f}" cy="{middle:.1f}" r="4"/>')
            for beyond, edge, back in ((high > reach, end + 8, -8), (low < -reach, left - 8, 8)):
                if beyond:
                    arrow = f"M{edge} {middle:.1f}l{back} -5v10z"
                    parts.append(f'<path class="dot {colour}" d="{arrow}"/>')
            parts.append(f'<text class="tick" x="{end + 12}" y="{middle + 4:.1f}">{escape(bar.text)}</text>')
            y += row
    ends = (("start", left, "← control better"), ("end", end, "ours better →"))
    for anchor, x, text in ends:
        parts.append(f'<text class="tick" x="{x}" y="{height - 6}" text-anchor="{anchor}">{text}</text>')
    return "".join(parts) + "</svg>"


def trace(values: Sequence[float], title: str, width: int = 520, height: int = 48) -> str:
    """One curve from edge to edge without axes, between its own lowest and highest value; values that are not finite
    leave a gap.
    """
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return '<p class="empty">No data to draw.</p>'
    low, spread = min(finite), (max(finite) - min(finite)) or 1.0
    step = width / max(len(values), 1)
    points = [
        ((i + 0.5) * step, height * (0.94 - 0.88 * (v - low) / spread)) if math.isfinite(v) else None
        for i, v in enumerate(values)
    ]
    box = f'viewBox="0 0 {width} {height}" role="img"'
    head = f'<svg class="wave" {box} aria-label="{escape(title)}" preserveAspectRatio="none">'
    return f'{head}<path class="trace" d="{_path(points)}"/></svg>'


def waveform(samples: Any, width: int = 520, height: int = 64, columns: int = 260, marks: Sequence[float] = ()) -> str:
    """Sound as the envelope of its samples.

    Parameters
    ----------
    samples : numbers in −1 … 1
    marks : places of vertical lines, 0 … 1 of the length
    """
    import numpy as np

    values = np.asarray(samples, dtype=np.float64)
    if not len(values):
        return '<p class="empty">No sound.</p>'
    cuts = np.array_split(values, min(columns, len(values)))
    top = max(float(np.abs(values).max()), 1e-6)
    xs = [i * width / len(cuts) for i in range(len(cuts))]
    up = [height / 2 * (1 - c.max() / top * 0.95) for c in cuts]
    down = [height / 2 * (1 - c.min() / top * 0.95) for c in cuts]
    outline = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in [*zip(xs, up), *reversed(list(zip(xs, down)))]) + "Z"
    head = (
        f'<svg class="wave" viewBox="0 0 {width} {height}" role="img" aria-label="waveform" preserveAspectRatio="none">'
    )
    lines = "".join(f"M{m * width:.1f} 0V{height}" for m in marks)
    marked = f'<path class="at" d="{lines}"/>' if lines else ""
    return f'{head}<path d="{outline}"/>{marked}</svg>'
