"""Sphinx settings of the site that ``make docs`` builds of the Markdown pages here into ``build/docs``.

The pages are plain Markdown, which a code host shows as well; what only the site needs is made here: the navigation, a
group for each folder, and MathML for formulas. The site takes nothing from a network.
"""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from flows.overview import version as version_of  # noqa: E402

# folder → its heading in the navigation
GROUPS = {
    "tutorial": "Tutorial",
    "how-to": "How-to guides",
    "reference": "Reference",
    "explanation": "Explanation",
    "decisions": "Decisions",
}

project = "S³D-NeRF"
author = "the S³D-NeRF authors"
version = release = version_of()
extensions = ["myst_parser", "docs.mathml"]
exclude_patterns = ["generate"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 6
suppress_warnings = ["myst.header"]  # a page may go from # to ###, as on a code host
html_theme = "furo"
html_title = project
html_math_renderer = "mathml"
html_css_files = ["site.css"]
html_static_path = ["static"]
html_copy_source = html_show_sourcelink = False
html_show_search_summary = False  # asked for over HTTP, which a site on a disk has not
html_show_copyright = html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "monokai"


def links_to_the_repository(_app: Sphinx, page: str, text: list[str]) -> None:
    """Point links to files outside of ``docs/`` at copies of them within the site; of a folder, which a site cannot
    show, the link's text is left.
    """

    def replaced(link: re.Match[str]) -> str:
        shown, target = link["shown"], link["target"].partition("#")[0]
        place = ((HERE / page).parent / target).resolve()
        if place.is_relative_to(HERE) or not place.exists():
            return link[0]
        return shown if place.is_dir() else f"[{shown}](path:{target})"

    text[0] = re.sub(r"(?<!!)\[(?P<shown>[^][]+)\]\((?P<target>\.\.?/[^()\s]+)\)", replaced, text[0])


def navigation(_app: Sphinx, page: str, text: list[str]) -> None:
    """Add to the first page the version, and a table of contents for each folder: its README.md, the pages
    that the first page links, in that order, then the others by name.
    """
    if page != "index":
        return
    linked = re.findall(r"\]\(([\w-]+/[\w-]+)\.md", text[0])
    text[0] += f"\n\n*Version {release}*\n"
    for folder, title in GROUPS.items():
        pages = sorted(f"{folder}/{path.stem}" for path in (HERE / folder).glob("*.md"))
        first = [name for name in dict.fromkeys([f"{folder}/README", *linked]) if name in pages]
        listed = "\n".join([*first, *(name for name in pages if name not in first)])
        if pages:
            text[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{listed}\n```\n"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", links_to_the_repository)
    app.connect("source-read", navigation)
