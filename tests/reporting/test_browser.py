"""The page in a real browser: headless Chromium from the system; skipped where there is none."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from s3dnerf.reporting import forest, page, tables, templates, videos
from s3dnerf.reporting.clip_video import side_by_side
from s3dnerf.reporting.sources import Sources
from s3dnerf.reporting.summary import summarise
from s3dnerf.settings.loading import preset_settings
from tests.reporting.test_tables import RECIPES, long_table

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROBE = """
<script>
addEventListener("load", async () => {
  const video = document.querySelector("video");
  await new Promise((done) => {
    video.onloadedmetadata = video.onerror = done;
    if (video.readyState || video.error) done();
  });
  const table = document.querySelector("#tables table.sortable"), heads = table.tHead.rows[1].cells;
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
    video: [video.videoWidth, video.videoHeight, Math.round(video.duration * 25), String(video.error)],
    shown: [video.clientWidth, video.parentElement.clientWidth],
    pictures: [...document.images].map((image) => image.naturalWidth),
    asked: performance.getEntriesByType("resource").filter((r) => !r.name.startsWith("data:")).map((r) => r.name),
  });
  document.body.append(said);
});
</script>
"""


@pytest.fixture(scope="module")
def html() -> str:
    """A page with real tables, a forest plot, one picture, one video with sound and the real style and script."""
    import jinja2

    from s3dnerf.reporting.png import photo_uri, png_bytes

    rows = long_table()
    summary = summarise(rows, "sample", "s3dnerf", 200)
    part = summary["corpora"]["hdtf"]
    shown = [page._numbered(tables.table_1("hdtf", part, RECIPES, "s3dnerf", {"s3dnerf": "full"}, "why"))]
    import numpy as np

    picture = page.figures.Figure(
        "hdtf_0", f'<img src="{photo_uri(np.zeros((40, 300, 3), np.uint8))}" alt="black">', ""
    )
    strip = np.zeros((384, 128, 3), np.uint8)
    names = ["truth", "s3dnerf", "wrong_speech"]
    film = side_by_side({name: np.zeros((25, 256, 256, 3), np.uint8) for name in names}, np.zeros(16000, np.float32))
    settings = preset_settings("tiny")
    people = replace(settings, report=replace(settings.report, people=True))
    about = {"names": names, "video": names, "px": 128}
    pictures = {"hdtf_0.mp4": film, "hdtf_0.png": png_bytes(strip)}
    sources = Sources(people, rows, strips={"hdtf_0": about}, pictures=pictures)
    shares, left_out = forest.shares(rows, summary, RECIPES, "s3dnerf")
    partly = templates.environment().overlay(undefined=jinja2.ChainableUndefined)
    return partly.get_template("page.html").render(
        preset="tiny",
        tables=shown,
        strips=[picture],
        sections=page.SECTIONS,
        chips=["preset tiny"],
        warnings=["A warning."],
        clip_columns=[],
        people=True,
        players=videos.players(sources, videos.posters(sources), {"hdtf_0"}),
        forest=forest.plots(shares),
        forest_columns=forest.COLUMNS,
        forest_rows=forest.table_rows(shares),
        forest_left_out=left_out,
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
    assert found["video"] == [768, 280, 25, "null"] and found["shown"][0] == found["shown"][1]
    assert found["pictures"] == [300] and found["asked"] == []
    assert "CONSOLE" not in done.stderr, done.stderr
