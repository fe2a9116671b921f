"""SVG, pictures and PNG bytes: what is drawn stands where the data is."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from s3dnerf.reporting.pictures import annotated, colour_scale, heat_overlay, mel_picture
from s3dnerf.reporting.png import jpeg_uri, png_array, png_bytes
from s3dnerf.reporting.svg import Bar, Series, interval_plot, line_chart, nice_ticks, waveform


def parse(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{markup}</div>")


def test_a_line_chart_is_svg_and_breaks_at_gaps() -> None:
    chart = line_chart(
        [Series("a <b>", [0, 1, 2, 3], [0.0, 1.0, None, 2.0], 0), Series("c", [0, 3], [1.0, 1.0], 1)], "x", "y & z", mark_x=2
    )
    tree = parse(chart)
    lines = [p for p in tree.iter("path") if "line" in p.get("class", "")]
    assert len(lines) == 2 and lines[0].get("d").count("M") == 2  # a gap begins a new piece
    assert "script" not in chart and len(list(tree.iter("span"))) == 2
    assert parse(line_chart([], "x", "y")).find("p").text == "No data to draw."
    assert parse(line_chart([Series("flat", [1.0], [2.0])], "x", "y")).find("svg") is not None


def test_higher_values_stand_higher() -> None:
    path = next(p for p in parse(line_chart([Series("a", [0, 1], [0.0, 1.0])], "x", "y")).iter("path") if "line" in p.get("class", ""))
    (x0, y0), (x1, y1) = (tuple(map(float, part.split())) for part in path.get("d")[1:].split("L"))
    assert x1 > x0 and y1 < y0


def test_ticks() -> None:
    assert nice_ticks(-15, 15, 6) == [-15, -10, -5, 0, 5, 10, 15]
    assert nice_ticks(0.0, 0.0) and nice_ticks(3.0, 3.0)
    with pytest.raises(ValueError, match="finite"):
        nice_ticks(0, float("inf"))


def test_intervals_and_waves_are_svg() -> None:
    plot = parse(interval_plot([Bar("SSIM", -0.1, -0.2, 0.0, "−0.1", False), Bar("one", 1.0, None, None, "+1", True)], "differences"))
    dots = [c for c in plot.iter("circle")]
    middle = float(next(p for p in plot.iter("path") if p.get("class") == "mark").get("d").split(" ")[0][1:])
    assert float(dots[0].get("cx")) < middle < float(dots[1].get("cx"))
    assert parse(waveform(np.sin(np.arange(1000)))).find("svg") is not None and "No sound" in waveform([])


def test_annotations_stand_where_they_belong() -> None:
    frame = np.full((256, 256, 3), 100, np.uint8)
    landmarks = np.full((68, 2), np.nan)
    landmarks[0], landmarks[50] = (64, 64), (192, 128)
    mask = np.zeros((256, 256), bool)
    mask[100:200, 20:60] = True
    drawn = annotated(frame, landmarks, mask, np.array([150.0, 180, 200, 230]), 256).astype(int)
    assert drawn[64, 64, 2] > 200 and drawn[128, 192, 0] > 200  # blue point, pink point
    assert drawn[150, 20, 0] > 180 and drawn[150, 20, 2] < 110 and (drawn[150, 40] == 100).all()  # yellow outline, empty inside
    assert drawn[205, 150, 1] > 180
    assert np.array_equal(annotated(frame, None, None, None, 256), frame)


def test_heat_lies_in_its_window() -> None:
    source = np.full((256, 256, 3), 50, np.uint8)
    cells = np.zeros((4, 4))
    cells[3, 0] = 1.0  # bottom left
    drawn = heat_overlay(source, cells, [64, 64, 192, 192]).astype(int)
    assert (drawn[10, 10] == 50).all() and (drawn[200, 100] == 50).all()
    assert drawn[180, 76, 0] > drawn[76, 180, 0] + 80
    assert heat_overlay(source, np.ones((4, 4)), [0, 0, 256, 256]).shape == source.shape


def test_colours_grow_brighter() -> None:
    scale = colour_scale(np.linspace(0, 1, 50)[None])[0].astype(float) @ [0.3, 0.59, 0.11]
    assert (np.diff(scale) > 0).all()
    assert mel_picture(np.zeros((30, 80)), 64, 100).shape == (64, 100, 3)


def test_pictures_come_back() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(png_array(png_bytes(image)), image) and png_bytes(image) == png_bytes(image)
    assert jpeg_uri(image).startswith("data:image/jpeg;base64,")
