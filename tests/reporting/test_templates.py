"""The templates: text from outside stays text, nothing is left out silently, every page has the one frame."""

from __future__ import annotations

import jinja2
import pytest

from s3dnerf.reporting.templates import HERE, render

COMPARED = {
    "a": "x",
    "b": "y",
    "warnings": [],
    "verdict": "v",
    "method": "m",
    "sections": [("Clips", ["what"], [["<script>"]])],
}


def test_a_page_has_its_frame_its_style_and_text_as_text() -> None:
    page = render("comparison.html", **COMPARED)
    assert page.startswith("<!DOCTYPE html>") and "default-src 'none'" in page and "script-src" not in page
    assert (HERE / "page.css").read_text() in page and "&lt;script&gt;" in page and "<script>" not in page


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="verdict"):
        render("comparison.html", **{k: v for k, v in COMPARED.items() if k != "verdict"})


def test_every_page_stands_in_the_frame() -> None:
    pages = [path for path in HERE.glob("*.html") if path.name not in ("base.html", "sheets.html")]
    assert len(pages) == 3 and all(path.read_text().startswith('{% extends "base.html" %}') for path in pages)
