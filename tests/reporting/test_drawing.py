"""SVG, pictures and PNG bytes: what is drawn stands where the data is."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from s3dnerf.reporting.pictures import (
    annotated,
    colour_scale,
    cut_out,
    heat_overlay,
    mel_picture,
    source_picture,
    token_picture,
)
from s3dnerf.reporting.png import photo_uri, png_array, png_bytes
from s3dnerf.reporting.svg import Bar, Series, interval_plot, line_chart, nice_ticks, trace, waveform


def parse(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{markup}</div>")


def test_a_line_chart_is_svg_and_breaks_at_gaps() -> None:
    chart = line_chart(
        [Series("a <b>", [0, 1, 2, 3], [0.0, 1.0, None, 2.0], 0), Series("c", [0, 3], [1.0, 1.0], 1)],
        "x",
        "y & z",
        mark_x=2,
    )
    tree = parse(chart)
    lines = [p for p in tree.iter("path") if "line" in p.get("class", "")]
    assert len(lines) == 2 and lines[0].get("d").count("M") == 2  # a gap begins a new piece
    assert "script" not in chart and len(list(tree.iter("span"))) == 2
    assert parse(line_chart([], "x", "y")).find("p").text == "No data to draw."
    assert parse(line_chart([Series("flat", [1.0], [2.0])], "x", "y")).find("svg") is not None


def test_higher_values_stand_higher() -> None:
    path = next(
        p
        for p in parse(line_chart([Series("a", [0, 1], [0.0, 1.0])], "x", "y")).iter("path")
        if "line" in p.get("class", "")
    )
    (x0, y0), (x1, y1) = (tuple(map(float, part.split())) for part in path.get("d")[1:].split("L"))
    assert x1 > x0 and y1 < y0


def test_ticks() -> None:
    assert nice_ticks(-15, 15, 6) == [-15, -10, -5, 0, 5, 10, 15]
    assert nice_ticks(0.0, 0.0) and nice_ticks(3.0, 3.0)
    with pytest.raises(ValueError, match="finite"):
        nice_ticks(0, float("inf"))


def test_intervals_and_waves_are_svg() -> None:
    plot = parse(
        interval_plot(
            [Bar("SSIM", -0.1, -0.2, 0.0, "−0.1", False), Bar("one", 1.0, None, None, "+1", True)], "differences"
        )
    )
    dots = [c for c in plot.iter("circle")]
    middle = float(next(p for p in plot.iter("path") if p.get("class") == "mark").get("d").split(" ")[0][1:])
    assert float(dots[0].get("cx")) < middle < float(dots[1].get("cx"))
    assert parse(waveform(np.sin(np.arange(1000)))).find("svg") is not None and "No sound" in waveform([])
    marks = [p for p in parse(waveform(np.ones(100), marks=[0.25, 0.5])).iter("path") if p.get("class") == "at"]
    assert marks[0].get("d") == "M130.0 0V64M260.0 0V64"


def test_annotations_stand_where_they_belong() -> None:
    frame = np.full((256, 256, 3), 100, np.uint8)
    landmarks = np.full((68, 2), np.nan)
    landmarks[0], landmarks[50] = (64, 64), (192, 128)
    mask = np.zeros((256, 256), bool)
    mask[100:200, 20:60] = True
    drawn = annotated(frame, landmarks, mask, np.array([150.0, 180, 200, 230]), size_px=256).astype(int)
    assert drawn[64, 64, 2] > 200 and drawn[128, 192, 0] > 200  # blue point, pink point
    # yellow outline, empty inside
    assert drawn[150, 20, 0] > 180 and drawn[150, 20, 2] < 110 and (drawn[150, 40] == 100).all()
    assert drawn[205, 150, 1] > 180
    assert np.array_equal(annotated(frame, size_px=256), frame)
    axes = np.array([[128.0, 128], [200, 128], [128, 60], [128, 200]])
    drawn = annotated(frame, axes=axes, size_px=256).astype(int)
    # x red, y green, z blue
    assert drawn[128, 170].argmax() == 0 and drawn[80, 128].argmax() == 1 and drawn[180, 128].argmax() == 2
    assert (drawn[40, 40] == 100).all()


def test_a_source_frame_shows_its_crop_and_keeps_its_shape() -> None:
    frame = np.full((360, 640, 3), 100, np.uint8)
    drawn = source_picture(frame, (160, 90, 320, 180), 320).astype(int)
    assert (
        drawn.shape == (180, 320, 3)
        and drawn[90, 80, 1] > 180
        and drawn[45, 160, 1] > 180
        and (drawn[90, 160] == 100).all()
    )
    assert (source_picture(frame, None, 320) == 100).all() and source_picture(frame[:, :180], None, 100).shape == (
        100,
        50,
        3,
    )


def test_the_lips_are_what_is_in_the_box() -> None:
    frame = np.zeros((256, 256, 3), np.uint8)
    frame[128:192, 64:128] = (200, 10, 20)
    assert (
        np.abs(cut_out(frame, np.array([64.0, 128, 128, 192]), 64)[2:-2, 2:-2].astype(int) - (200, 10, 20)).max() <= 1
    )
    assert not cut_out(frame, np.array([-64.0, 0, 0, 64]), 32).any()  # beyond the frame


def test_tokens_are_stretched_each_for_itself() -> None:
    ramp = np.linspace(0, 1, 50)
    tokens = np.stack([ramp, 1000 * ramp, np.zeros(50)], axis=1)
    drawn = token_picture(tokens).astype(int).sum(axis=2)
    assert drawn.shape == (3, 50)  # a column a moment, as long as they fit
    assert np.array_equal(drawn[2], drawn[1]) and (np.diff(drawn[2])[2:-2] > 0).mean() > 0.9 and np.ptp(drawn[0]) == 0


def test_a_trace_rises_with_its_values_and_breaks_at_gaps() -> None:
    path = next(parse(trace([0.0, 1.0, float("nan"), 2.0], "a <b>")).iter("path")).get("d")
    heights = [
        float(part.split()[1])
        for part in path.replace("M", " M").replace("L", " L").replace("M", "").replace("L", "").split("  ")
        if part
    ]
    assert path.count("M") == 2 and heights == sorted(heights, reverse=True)
    assert "No data" in trace([float("nan")], "a") and parse(trace([3.0, 3.0], "flat")).find("svg") is not None


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
    assert mel_picture(np.zeros((30, 80))).shape == (64, 30, 3) and mel_picture(np.zeros((900, 80))).shape == (
        64,
        520,
        3,
    )


def test_pictures_come_back() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(png_array(png_bytes(image)), image) and png_bytes(image) == png_bytes(image)
    uri = photo_uri(image)
    assert uri.startswith("data:image/webp;base64,") and uri == photo_uri(image)


def test_thin_coloured_marks_on_a_photograph_in_the_page_are_truer_than_a_jpeg() -> None:
    rows, columns = np.mgrid[:192, :192] / 192
    shades = 127 + 100 * np.stack([np.sin(6 * rows), np.cos(5 * columns), np.sin(4 * (rows + columns))], axis=-1)
    image = annotated(shades.astype(np.uint8), landmarks=np.random.default_rng(0).uniform(20, 170, (68, 2)))
    seen = png_array(base64.b64decode(photo_uri(image).split(",", 1)[1])).astype(float)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=78, optimize=True)  # the usual way
    usual = np.asarray(Image.open(buffer)).astype(float)
    assert (
        np.abs(seen - image).mean() < np.abs(usual - image).mean()
        and ((seen - image) ** 2).mean() < ((usual - image) ** 2).mean()
    )
