r"""Formulas as MathML, made when the site is built: browsers show it without scripts, fonts or a network.

A Sphinx extension; ``html_math_renderer = "mathml"`` chooses it. latex2mathml leaves a command that it does not know as
text; here that is a warning, which ``make docs`` ends with.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


class UnknownCommand(ValueError):
    """A formula has a command that cannot be shown."""


def mathml(formula: str, block: bool) -> str:
    r"""A formula of LaTeX as one MathML element. Raises UnknownCommand for a command that latex2mathml does not know,
    and latex2mathml's own errors for a formula that is not LaTeX.

    >>> mathml(r"\hat x_1", block=False)[:5], mathml("x", block=True)[-7:]
    ('<math', '</math>')
    >>> mathml(r"\nosuch x", block=False)
    Traceback (most recent call last):
    docs.mathml.UnknownCommand: \nosuch: no command that latex2mathml knows, in: \nosuch x
    """
    made = convert(formula, display="block" if block else "inline")
    if unknown := re.search(r"\\[a-zA-Z]+", made):
        raise UnknownCommand(f"{unknown.group()}: no command that latex2mathml knows, in: {formula}")
    return made


def _visit(translator: Any, node: nodes.Element, block: bool) -> None:
    formula = node.astext().strip()
    try:
        made = mathml(formula, block)
    except Exception as error:  # latex2mathml has a class an error, without a common base
        logger.warning("formula: %s", error, location=node)
        made = translator.encode(formula)
    translator.body.append(f'<div class="formula">{made}</div>' if block else made)
    raise nodes.SkipNode


def visit_inline(translator: Any, node: nodes.Element) -> None:
    """A formula within a line."""
    _visit(translator, node, block=False)


def visit_block(translator: Any, node: nodes.Element) -> None:
    """A formula on lines of its own."""
    _visit(translator, node, block=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
