"""``docs/reference/python.md``: the classes and functions for other programs, from their docstrings."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

from docs.generate.markdown import blocks, generated, prose

# heading → module → names
PUBLIC: dict[str, dict[str, tuple[str, ...]]] = {
    "Make a video": {
        "s3dnerf.synthesis.talking_head": ("TalkingHead", "Animation", "PreparedPortrait"),
        "s3dnerf.synthesis.signers": ("Signer",),
    },
    "Read and change settings": {
        "s3dnerf.settings.loading": ("load_settings", "preset_settings", "settings_from", "as_dict"),
    },
    "Errors": {
        "s3dnerf.core.errors": ("S3DNeRFError", "SettingsError", "InputRefused", "MissingWeights", "PassingFault"),
        "s3dnerf.faces.types": ("FaceError",),
        "s3dnerf.synthesis.synthesizer": ("SynthesisError",),
        "s3dnerf.video.encoding": ("VideoError",),
    },
}
SECTIONS = ("Parameters", "Returns", "Yields", "Attributes", "Raises", "Examples", "References", "Notes")

ABOUT = """\
What a program needs that makes videos is `s3dnerf.TalkingHead`; [examples/talk.py](../../examples/talk.py) shows it
at work. The functions that measure are in [metric recipes](metric_recipes.md).
"""


def docstring(text: str) -> list[str]:
    """A numpydoc docstring as Markdown: its sections as lists, all else as it stands.

    >>> docstring("Add.\\n\\nParameters\\n----------\\na : a number\\n    from 0\\n\\nRaises ValueError.")
    ['Add.', '', '**Parameters**', '', '- `a`: a number from 0', '', 'Raises ValueError.', '']
    """
    parts = re.split(rf"(?m)^({'|'.join(SECTIONS)})\n-+\n", inspect.cleandoc(text))
    lines = blocks(parts[0])
    for name, body in zip(parts[1::2], parts[2::2]):
        lines += [f"**{name}**", ""]
        lines += _section(body) if name in ("Parameters", "Attributes", "Returns", "Raises") else blocks(body)
    return lines


def _section(body: str) -> list[str]:
    """Entries ``name : meaning`` as a list; what stands outside of one as paragraphs."""
    lines: list[str] = []
    for part in re.split(r"\n\s*\n", body.strip("\n")):
        items: list[str] = []
        for line in part.split("\n"):
            named = re.fullmatch(r"([\w*, ]+?) : (.*)", line)
            if named:
                names = ", ".join(f"`{name.strip()}`" for name in named[1].split(","))
                items.append(f"- {names}: {prose(named[2])}")
            elif items and line.startswith(" "):
                items[-1] += f" {prose(line.strip())}"
            else:
                items.append(prose(line.strip()))
        lines += [*items, ""]
    return lines


def signature(name: str, held: Any) -> str:
    """``name(a: int, b: str = "x") -> int``, a parameter a line where it is long.

    >>> signature("talk", inspect.cleandoc)
    'talk(doc)'
    """
    parts, kind = [], None
    given = inspect.signature(held)
    for parameter in given.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and kind is not parameter.kind:
            parts.append("*")
        kind = parameter.kind
        default = parameter.default
        shown = default.__name__ if callable(default) else json.dumps(default) if isinstance(default, str) else default
        part = parameter.name + (f": {parameter.annotation}" if parameter.annotation is not parameter.empty else "")
        parts.append(part if default is parameter.empty else f"{part} = {shown}")
    result = (
        "" if given.return_annotation is given.empty or isinstance(held, type) else f" -> {given.return_annotation}"
    )
    short = f"{name}({', '.join(parts)}){result}"
    return short if len(short) <= 100 else f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){result}"


def _members(held: type) -> Iterator[tuple[str, Any]]:
    """The public methods that a class defines itself, with a docstring."""
    for name, member in vars(held).items():
        function = member.__func__ if isinstance(member, classmethod) else member
        if not name.startswith("_") and inspect.isfunction(function) and function.__doc__:
            yield name, function


def entry(name: str, held: Any, level: int, prefix: str = "") -> list[str]:
    """A class with its methods, or a function: heading, signature, docstring. Raises ValueError without a docstring."""
    if not held.__doc__:
        raise ValueError(f"{prefix}{name}: no docstring")
    lines = [f"{'#' * level} {prefix}{name}", ""]
    if not (isinstance(held, type) and issubclass(held, BaseException)):
        lines += ["```python", signature(f"{prefix}{name}", held), "```", ""]
    lines += docstring(held.__doc__)
    if isinstance(held, type):
        for method, function in _members(held):
            lines += entry(method, function, level + 1, f"{name}.")
    return lines


def page() -> str:
    """The page."""
    lines = generated("Python", "docstrings of the package `s3dnerf`", ABOUT)
    for title, modules in PUBLIC.items():
        lines += [f"## {title}", ""]
        for module, names in modules.items():
            lines += [f"From [`{module}`](../../{module.replace('.', '/')}.py):", ""]
            for name in names:
                lines += entry(name, getattr(importlib.import_module(module), name), 3)
    return "\n".join(lines).rstrip() + "\n"
