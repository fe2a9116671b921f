"""``docs/reference/commands.md``: every command and option of ``s3dnerf``, from the command line's own definitions."""

from __future__ import annotations

import re
import warnings
from typing import Any

import tyro
from docstring_parser import parse

from docs.generate.markdown import generated, literal, prose, table
from flows.cli import commands
from flows.overview import COMMANDS

ABOUT = """\
Commands are about the project in whose folder, or below it, they are typed. Relative paths mean what they mean there.
`s3dnerf COMMAND --help` shows the same text as below; `s3dnerf --version` the version. Exit status: 0 when all went
well, 1 when the answer is no or something failed, 2 when an option or an input cannot be used.
"""


def parser_of(name: str) -> Any:
    """The parser of one command, which is tyro's copy of :class:`argparse.ArgumentParser`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tyro is pinned; it has no other way to list options
        return tyro.extras.get_parser(commands()[name])


def _spelling(action: Any) -> str:
    """How an option is written, with the kind of its value; of a switch that is on, the form that puts it off as
    well.
    """
    if len(action.option_strings) == 2:
        return ", ".join(action.option_strings) if action.default is True else action.option_strings[0]
    value = "" if action.choices else re.findall(r"[A-Z]+", str(action.metavar).replace("{None}", ""))[0]
    many = action.nargs in ("*", "+")
    if not action.option_strings:
        shown = action.dest.upper()
        return f"[{shown} …]" if many else f"[{shown}]" if action.nargs == "?" else shown
    return f"{action.option_strings[0]} {value or 'VALUE'}{' …' if many else ''}"


def rows(name: str) -> list[tuple[str, str, str]]:
    """Of each option of a command: how it is written, its default, what it means. Raises ValueError for an option
    without a sentence in the command's docstring.
    """
    found = []
    for action in parser_of(name)._actions:
        if action.dest == "help":
            continue
        said = re.fullmatch(r"(.*)\s\((required|repeatable|default: ([^()]*))\)", action.help or "", re.DOTALL)
        if said is None or said[1] in ("", action.dest):
            where = action.option_strings or action.dest
            raise ValueError(f"s3dnerf {name}: {where}: no sentence below Args: in its docstring")
        default = {"required": "required", "repeatable": "none; may be repeated"}.get(said[2], said[3] or "")
        if action.option_strings and len(action.option_strings) == 2:
            default = {"True": "on", "False": "off"}[default]
        default = "" if default in ("None", "''") else default
        meaning = prose(said[1])
        if action.choices is not None:
            meaning += f" One of {', '.join(literal(str(choice)) for choice in action.choices)}."
        written = ", ".join(map(literal, _spelling(action).split(", ")))
        default = default if default in ("", "required", "on", "off") or " " in default else literal(default)
        found.append((written, default, meaning))
    return found


def page() -> str:
    """The page."""
    lines = generated("Commands", "the commands' docstrings in `flows/`", ABOUT)
    for group, named in COMMANDS.items():
        lines += [f"## {group}", ""]
        for name in named:
            said, found = parse(commands()[name].__doc__ or ""), rows(name)
            positional = [_spelling(action) for action in parser_of(name)._actions if not action.option_strings]
            options = ["[options]"] if any(written.startswith("`-") for written, *_ in found) else []
            lines += [f"### {name}", "", literal(" ".join(["s3dnerf", name, *positional, *options])), ""]
            between = "\n\n" if said.blank_after_short_description else "\n"
            text = between.join(filter(None, (said.short_description, said.long_description)))
            lines += [*prose(text).splitlines(), ""]
            if found:
                lines += table(("argument or option", "default", "meaning"), found)
    return "\n".join(lines).rstrip() + "\n"
