"""The links of the pages for people: README.md, CONTRIBUTING.md, examples/README.md and everything below docs/.

python -m docs.links            # links to other sites, one a line; none is fetched
python -m docs.links --check    # links within the project that lead nowhere; exit status 1 where there is one
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "examples/README.md")


def pages(root: Path = ROOT) -> list[Path]:
    """The pages by their paths."""
    return [*(root / name for name in PAGES), *sorted((root / "docs").rglob("*.md"))]


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Line (from 1) and target of every link and picture of a page."""
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        if token.type == "inline":
            for child in token.children or ():
                target = child.attrGet("href" if child.type == "link_open" else "src")
                if isinstance(target, str):
                    yield (token.map or [0])[0] + 1, unquote(target)


def is_external(target: str) -> bool:
    """Whether a link leads to another site, or to a program that is no browser (``mailto:``)."""
    return re.match(r"[a-zA-Z][a-zA-Z+.-]*:", target) is not None


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that a code host and the site give a page's headings: lower case, spaces as hyphens, without other
    punctuation, and a number for one that comes again.
    """
    found: dict[str, int] = {}
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    for before, token in zip(tokens, tokens[1:]):
        if before.type == "heading_open":
            text = "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            while slug in found:
                found[slug] += 1
                slug = f"{slug}-{found[slug]}"
            found[slug] = 0
    return frozenset(found)


def broken(page: Path, root: Path = ROOT) -> list[str]:
    """Why each link of a page that leads nowhere does, with its place."""
    wrong = []
    for line, target in links(page):
        if is_external(target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        why = ""
        if not place.is_relative_to(root.resolve()):
            why = "is outside of the project"
        elif not place.exists():
            why = "is not there"
        elif anchor and (place.suffix != ".md" or anchor not in anchors(place)):
            why = f"has no heading #{anchor}"
        if why:
            wrong.append(f"{page.relative_to(root)}:{line}: {target}: {path or page.name} {why}")
    return wrong


def main() -> int:
    """List or check. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m docs.links", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="say which links within the project lead nowhere")
    if parser.parse_args().check:
        wrong = [line for page in pages() for line in broken(page)]
        print("\n".join(wrong) or "every link within the project leads somewhere")
        return 1 if wrong else 0
    for page in pages():
        for line, target in links(page):
            if is_external(target):
                print(f"{page.relative_to(ROOT)}:{line}: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
