"""What the explanation pages and the decisions name exists: files, functions and classes, settings, links, pictures.

Names in the pages are written as pytest writes them: ``path/file.py`` or ``path/file.py::Class.method``.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from s3dnerf.settings.loading import as_dict
from s3dnerf.settings.schema import Settings
from tests.project import ROOT

PAGES = sorted([*(ROOT / "docs/explanation").glob("*.md"), *(ROOT / "docs/decisions").glob("*.md")])
CODE = re.compile(r"`([^`\n]+)`")
NAMED = re.compile(r"(?P<path>[\w./-]+\.(?:py|yaml|toml|lock|json|md|tsv))(?:::(?P<name>[A-Za-z_][\w.]*))?")
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?:#[\w-]+)?\)")
MADE = ("data/", ".packs/", ".checkpoints/", ".timings/")  # what a run makes: not in a fresh clone
SECTIONS = {name: set(value) for name, value in as_dict(Settings()).items() if isinstance(value, dict)}


def plain(text: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def names_in(path: Path) -> set[str]:
    """Functions, classes, their methods and fields, and constants of a module, with a class's name before its own."""
    found: set[str] = set()

    def visit(body: list[ast.stmt], above: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.add(above + node.name)
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{above}{node.name}.")
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AnnAssign)
                else []
            )
            for target in targets:
                found.update(above + part.id for part in ast.walk(target) if isinstance(part, ast.Name))

    visit(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found


def missing_names(text: str, root: Path) -> list[str]:
    """What a page names in code type and the project does not have."""
    missing = []
    for code in CODE.findall(plain(text)):
        named = NAMED.fullmatch(code)
        if named is None or "/" not in code and "::" not in code or code.startswith(MADE):
            continue
        path = root / named["path"]
        if not path.is_file() or named["name"] and named["name"] not in names_in(path):
            missing.append(code)
    return missing


def missing_settings(text: str) -> list[str]:
    """Settings ``section.field`` in code type that the schema does not have."""
    missing = []
    for code in CODE.findall(plain(text)):
        words = re.match(r"([a-z_]+)\.([a-z_0-9]+)(?:[.:= ]|$)", code)
        if words and words[1] in SECTIONS and words[2] not in SECTIONS[words[1]] | {"py", "yaml"}:
            missing.append(code)
    return missing


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links that lead nowhere, and pictures without a text that says what is seen."""
    broken = []
    for link in LINK.finditer(plain(text)):
        if re.match(r"[a-z]+:", link["target"]):
            continue
        if not (page.parent / link["target"]).exists():
            broken.append(link["target"])
        if link["picture"] and len(link["text"].split()) < 5:
            broken.append(f"{link['target']}: alt text {link['text']!r}")
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert missing_names(text, ROOT) == [] and missing_settings(text) == [] and broken_links(page, text) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_one_title_and_lines_that_fit(page: Path) -> None:
    lines = plain(page.read_text(encoding="utf-8")).splitlines()
    assert sum(line.startswith("# ") for line in lines) == 1 and lines[0].startswith("# ")
    assert [line for line in lines if len(line) > 120 and not line.startswith(("|", "!["))] == []


def test_a_page_that_names_what_is_not_there_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.py").write_text("X: int = 1\nclass C:\n    y = 2\n    def m(self): ...\n")
    good = "`a/b.py` `a/b.py::C.m` `a/b.py::X` `a/b.py::C.y` `data/tiny/x.json` `x.py`"
    assert missing_names(good, tmp_path) == []
    assert missing_names("`a/c.py` `a/b.py::C.n` `a/b.py::m`", tmp_path) == ["a/c.py", "a/b.py::C.n", "a/b.py::m"]
    assert missing_settings("`train.steps` `train.phases: x` `train.leaps`") == ["train.leaps"]
    (tmp_path / "p.png").touch()
    text = "[x](a/b.py) [y](https://example.org) ![what is seen here, in words](p.png) [z](gone.md) ![short](p.png)"
    assert broken_links(tmp_path / "page.md", text) == ["gone.md", "p.png: alt text 'short'"]


def test_the_methods_page_has_every_equation_and_the_tour_enough_stops() -> None:
    method = (ROOT / "docs/explanation/method.md").read_text(encoding="utf-8")
    assert all(f"eq. {number}" in method for number in range(1, 10))
    tour = (ROOT / "docs/explanation/code_tour.md").read_text(encoding="utf-8")
    stops = re.findall(r"^\d+\. .*$", tour, flags=re.MULTILINE)
    assert 15 <= len(stops) <= 25 and tour.count("::") >= len(stops)


def test_decisions_are_short_numbered_and_complete() -> None:
    records = sorted(path for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1)) and 10 <= len(records) <= 20
    index = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    for path in records:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 25, path.name
        assert all(f"**{head}.**" in text for head in ("Status", "Context", "Decision", "Consequences")), path.name
        assert f"({path.name})" in index, path.name
