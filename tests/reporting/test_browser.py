"""The page in a real browser: headless Chromium from the system; skipped where there is none."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from s3dnerf.reporting import page, tables, templates
from s3dnerf.reporting.summary import summarise
from tests.reporting.test_tables import RECIPES, long_table

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROBE = """
<script>
addEventListener("load", () => {
  const table = document.querySelector("table.sortable"), heads = table.tHead.rows[1].cells;
  const column = 7, read = () => [...table.tBodies[0].rows].map((row) => row.cells[column].dataset.sort);
  const before = read();
  heads[column].querySelector("button").click();
  const up = read();
  heads[column].querySelector("button").click();
  const said = document.createElement("pre");
  said.id = "probe";
  said.textContent = JSON.stringify({
    before, up, down: read(), sorted: heads[column].getAttribute("aria-sort"),
    wide: document.documentElement.scrollWidth, window: innerWidth,
    pictures: [...document.images].map((image) => image.naturalWidth),
    asked: performance.getEntriesByType("resource").filter((r) => !r.name.startsWith("data:")).map((r) => r.name),
  });
  document.body.append(said);
});
</script>
"""


@pytest.fixture(scope="module")
def html() -> str:
    """A page with real tables, one picture and the real style and script, without the stages' data."""
    import jinja2

    from s3dnerf.reporting.png import photo_uri

    part = summarise(long_table(), "sample", "s3dnerf", 200)["corpora"]["hdtf"]
    shown = [page._numbered(tables.table_1("hdtf", part, RECIPES, "s3dnerf", {"s3dnerf": "full"}, "why"))]
    import numpy as np

    picture = page.figures.Figure("one", f'<img src="{photo_uri(np.zeros((40, 300, 3), np.uint8))}" alt="black">', "")
    partly = templates.environment().overlay(undefined=jinja2.ChainableUndefined)
    return partly.get_template("page.html").render(
        preset="tiny",
        tables=shown,
        strips=[picture],
        sections=page.SECTIONS,
        chips=["preset tiny"],
        warnings=["A warning."],
        clip_columns=[],
        players={},
    )


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")
def test_tables_sort_pictures_load_and_nothing_is_asked_for(html: str, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    path.write_text(html.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=500,900",
            "--virtual-time-budget=3000",
            "--dump-dom",
            f"file://{path}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = json.loads(re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.S)[1].replace("&quot;", '"'))
    measured = [float(v) for v in found["up"] if v]
    assert measured == sorted(measured) and found["up"] != found["before"]
    assert [float(v) for v in found["down"] if v] == measured[::-1] and found["sorted"] == "descending"
    assert found["up"][-1] == found["down"][-1] == ""  # cells without a value stay last
    assert found["wide"] <= found["window"], (
        "the page is wider than a narrow window: tables must scroll within themselves"
    )
    assert found["pictures"] == [300] and found["asked"] == []
    assert "CONSOLE" not in done.stderr, done.stderr
