"""The pages that a visitor and a code-hosting site read: their format, and the README's numbers against their source."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.project import ROOT

MINI = "benchmarks/results/trained_mini.json"
COLUMNS = ("m_lmd", "f_lmd", "ssim", "lpips", "identity")
ROWS = {
    "**S³D-NeRF**": "s3dnerf",
    "the same, given another person's speech": "wrong_speech",
    "the portrait, held still": "still",
    "the true video": "truth",
}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_readme_fits_a_screen_and_a_reader() -> None:
    readme = text("README.md")
    words = len(re.findall(r"\w+", re.sub(r"\]\([^)]*\)", "]", readme)))
    assert words < 800 and readme.count("\n") < 90
    prose = [line for line in readme.splitlines() if not line.startswith(("|", "!["))]
    assert max(map(len, prose)) <= 120


def test_the_readmes_numbers_are_those_that_were_measured() -> None:
    measured: dict[str, Any] = json.loads(text(MINI))
    readme, rows = text("README.md"), measured["rows"]["hdtf"]
    for title, method in ROWS.items():
        cells = re.search(rf"^\| {re.escape(title)} \| (.+) \|$", readme, re.MULTILINE)
        assert cells, title
        means = [rows[method][name]["mean"] for name in COLUMNS]
        assert [float(cell) for cell in cells[1].split(" | ")] == [pytest.approx(mean, abs=5e-4) for mean in means], (
            title
        )
    ours, wrong = (rows[method]["m_lmd"]["mean"] for method in ("s3dnerf", "wrong_speech"))
    p = measured["differences"]["hdtf"]["s3dnerf - wrong_speech"]["m_lmd"]["p_holm"]
    assert f"the mouth is {1 - ours / wrong:.0%}".replace("%", " %") in readme and f"(p = {p:.2g})" in readme
    assert f"mean over {rows['s3dnerf']['m_lmd']['clips']} clips" in readme and measured["command"] in readme


def test_the_readmes_pictures_are_here_small_and_described() -> None:
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text("README.md"))
    assert len(pictures) >= 3
    for described, path in pictures:
        assert len(described) > 20 and (ROOT / path).stat().st_size < 1_000_000, path


def test_the_citation_is_valid() -> None:
    cited = yaml.safe_load(text("CITATION.cff"))
    assert cited["cff-version"] == "1.2.0" and cited["license"] == "MIT" and cited["message"] and cited["authors"]
    assert all(reference["title"] and reference["authors"] for reference in cited["references"])
    assert "version" not in cited  # it is git's: a copy here would be out of date


def test_the_changelog_has_the_newest_tag_and_what_came_since() -> None:
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == ("Unreleased", "") and all(day for _, day in headings[1:])
    tags = subprocess.run(["git", "tag", "--merged", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert {tag.removeprefix("v") for tag in tags if re.fullmatch(r"v\d+\.\d+\.\d+", tag)} <= {
        name for name, _ in headings
    }


def test_what_runs_before_a_commit_is_what_make_lint_and_ci_run() -> None:
    hooks = [hook for repo in yaml.safe_load(text(".pre-commit-config.yaml"))["repos"] for hook in repo["hooks"]]
    linted = re.findall(r"-m (ruff check|ruff format --check|mypy)", text("Makefile"))
    entries = " ".join(hook["entry"] for hook in hooks)
    assert len(set(linted)) == 3 and all(tool in entries for tool in linted) and "flows.cli code status" in entries
    assert all(hook["language"] == "system" for hook in hooks)  # the pinned tools of .venv: nothing is downloaded
    assert "make lint" in text(".ci/run")


@pytest.mark.parametrize("path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.md")), ids=lambda path: path.stem)
def test_issue_templates_have_the_head_that_code_hosting_sites_read(path: Path) -> None:
    head = re.match(r"---\n(.+?)\n---\n", path.read_text(encoding="utf-8"), re.DOTALL)
    assert head and set(yaml.safe_load(head[1])) >= {"name", "about"}
