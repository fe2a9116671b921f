"""The pages for people: links lead somewhere, generated pages are up to date, and the site is built without a warning and
needs no network.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.conf import GROUPS
from docs.links import anchors, broken, is_external, links, pages
from tests.documents import ROOT

FOLDERS = ("s3dnerf", "stages", "flows", "benchmarks", "tests", "examples", "docs")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert not broken(page), "\n".join(broken(page))


def test_links_that_lead_nowhere_are_seen(tmp_path: Path) -> None:
    page, other = tmp_path / "docs" / "page.md", tmp_path / "other.md"
    page.parent.mkdir()
    page.write_text("# A page\n\n[a](../other.md#two-words) [b](../gone.md) [c](#a-page) [d](#gone) ![e](gone.png)\n\n"
                    "[f](https://example.org/x) [g](../../elsewhere) [h](../other.md#gone) [i](../other.md#two-words-1)\n")  # fmt: skip
    other.write_text("# `Two` words!\n\n## Two words\n")
    assert anchors(other) == {"two-words", "two-words-1"}
    assert [line.partition(": ")[2].partition(":")[0] for line in broken(page, tmp_path)] == [
        "../gone.md", "#gone", "gone.png", "../../elsewhere", "../other.md#gone",
    ]  # fmt: skip
    assert [target for _line, target in links(page) if is_external(target)] == ["https://example.org/x"]


def test_pages_that_are_named_are_there() -> None:
    """Also in comments, messages and docstrings."""
    files = [*pages(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
    named = {
        (str(path.relative_to(ROOT)), name)
        for path in files
        for name in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    assert not {(path, name) for path, name in named if not (ROOT / name).is_file()}


def test_every_page_is_in_a_folder_of_the_navigation() -> None:
    folders = {page.relative_to(ROOT / "docs").parts[0] for page in (ROOT / "docs").rglob("*.md")}
    assert folders <= {"index.md", *GROUPS}, "a new folder of pages: add it to GROUPS in docs/conf.py"


@pytest.mark.slow
def test_generated_pages_say_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def sphinx(source: Path, built: Path) -> subprocess.CompletedProcess:
    """The site of a folder of pages, by the command of the Makefile."""
    (line,) = re.findall(r"python (-m sphinx .*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    words = [
        {"docs": str(source), "build/docs": str(built), "build/doctrees": f"{built}.trees"}.get(w, w)
        for w in shlex.split(line)
    ]
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_needs_no_network(tmp_path: Path) -> None:
    done = sphinx(ROOT / "docs", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    made = list((tmp_path / "site").rglob("*.html"))
    assert len(made) >= len(list((ROOT / "docs").rglob("*.md")))
    for path in made:
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=\"([^\"]*)\"", text)
        loaded += re.findall(r"<link\b[^>]*\bhref=\"([^\"]*)\"", text)
        assert not [address for address in loaded if re.match(r"(https?:)?//", address)], path
    styles = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.css"))
    assert not re.search(r"(url\(\s*['\"]?|@import\s+['\"])(https?:)?//", styles)


@pytest.mark.slow
def test_what_is_wrong_with_a_page_fails_the_build(tmp_path: Path) -> None:
    source = tmp_path / "repository" / "docs"
    source.mkdir(parents=True)
    for name in ("conf.py", "mathml.py", "__init__.py"):
        shutil.copy(ROOT / "docs" / name, source / name)
    shutil.copytree(ROOT / "docs" / "static", source / "static")
    (source / "how-to").mkdir()
    (source.parent / "README.md").write_text("# A first page\n")
    good = "# A page\n\n[up](../index.md#the-start) [the first page](../../README.md) [all](../..)\n\n$$\\hat x_1 = \\frac{a}{b}$$\n"
    (source / "index.md").write_text("# The start\n\n[a](how-to/a.md#a-page)\n")
    (source / "how-to" / "a.md").write_text(good)
    done = sphinx(source, tmp_path / "good")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "good" / "how-to" / "a.html").read_text(encoding="utf-8")
    assert "<mfrac>" in text and "\\hat" not in text and "README.md" in text and ">all<" not in text
    (source / "how-to" / "a.md").write_text(good + "[b](../index.md#gone) [c](gone.md) ![d](gone.png) $\\nosuch x$\n")
    (source / "elsewhere").mkdir()
    (source / "elsewhere" / "lost.md").write_text("# Lost\n")
    done = sphinx(source, tmp_path / "bad")
    assert done.returncode != 0
    for said in ("'gone'", "gone.md", "gone.png", "nosuch", "lost"):
        assert said in done.stderr, said
