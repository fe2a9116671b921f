"""The report's templates: one environment for every page, each of which stands in ``base.html`` with its style inside.

Reads the templates beside this file; writes nothing. What a template shows is text unless it says otherwise, a value it
does not get is an error, and a page asks nothing of the network (its content policy forbids it).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@functools.cache
def environment() -> Any:
    """The one jinja2 environment of the templates beside this file."""
    import jinja2
    from markupsafe import Markup

    loader = jinja2.FileSystemLoader(HERE)
    made = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # style and script are put in as they are: a brace in them is no template's
    made.globals["file"] = lambda name: Markup((HERE / name).read_text(encoding="utf-8"))  # noqa: S704 - our own files
    return made


def render(template: str, **values: Any) -> str:
    """A template with ``values``: a page as text. Raises jinja2.UndefinedError for a value that the template wants and
    did not get.
    """
    return environment().get_template(template).render(**values)
