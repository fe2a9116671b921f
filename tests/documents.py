"""What the pages for people hold: their headings, links, code blocks and the shell commands in these."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from docs.links import ROOT

SHELL = {"sh", "bash", "shell", "console"}
# languages of blocks without commands; a block must name one, or be of commands
OTHER = {
    "python", "pycon", "text", "yaml", "json", "toml", "ini", "csv", "html", "css", "javascript", "dockerfile", "makefile",
    "markdown", "mermaid", "diff", "nginx", "math", "bibtex", "systemd", "slurm", "xml", "sql",
}  # fmt: skip
# what a command of a block without a language begins with
PROGRAMS = {
    "s3dnerf", "python", "python3", "python3.11", "python3.12", "python3.13", "pip", "make", "dvc", "git", "prefect", "mlflow",
    "dask", "ray", "source", "cd", "docker", "podman", "sudo", "apt-get", "apt", "pytest", "ruff", "mypy", "curl", "wget", "ffmpeg",
    "ffprobe", "sbatch", "srun", "torchrun", "ssh", "rsync", "scp", "uv", "conda", "npm", "jupyter", "sha256sum", "openssl", "export",
    "nvidia-smi", "rm", "cp", "mv", "ls", "mkdir", "tar", "unzip", "cat", "echo", "nice", "timeout", "pre-commit", "c2patool", "tail",
    "nohup", "printf", "sed", "grep", "env", "which", "chmod", "brew", "lscpu", "du",
}  # fmt: skip
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


@dataclass(frozen=True)
class Block:
    """A code block: the page, its first line's number from 1, its language ('' without one), its text."""

    page: Path
    line: int
    language: str
    fenced: bool
    text: str

    def where(self) -> str:
        """``docs/how-to/fetch.md:12``"""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a shell line: where it is, its words, the variables set before it, and whether ``…`` left words
    out.
    """

    where: str
    words: tuple[str, ...]
    variables: tuple[str, ...] = ()
    shortened: bool = False

    @property
    def text(self) -> str:
        """The words with spaces between them."""
        return " ".join(self.words)


def tokens(page: Path) -> list[Token]:
    """A page as CommonMark with tables reads it."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def inline(page: Path) -> Iterator[tuple[int, Token]]:
    """The parts of the lines of text (links, pictures, code …), with a line's number."""
    for token in tokens(page):
        if token.type == "inline":
            for child in token.children or ():
                yield (token.map or [0])[0] + 1, child


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page, fenced and indented."""
    return [
        Block(page, (token.map or [0])[0] + 1 + (token.type == "fence"), token.info.strip().split(" ")[0].strip("{}"),
              token.type == "fence", token.content)
        for token in tokens(page)
        if token.type in ("fence", "code_block")
    ]  # fmt: skip


def first_word(line: str) -> str:
    """The program that a line starts, past prompts and variables; '' for an empty line or a comment."""
    words = _placeholders(line.removeprefix("$ ")).split()
    while words and ASSIGNMENT.match(words[0]):
        words = words[1:]
    return "" if not words or words[0].startswith("#") else words[0].removeprefix(".venv/bin/")


def is_shell(block: Block) -> bool:
    """Whether a block is of commands: by its language, else by the program that one of its lines starts."""
    if block.language:
        return block.language in SHELL
    return any(first_word(line.strip()) in PROGRAMS for line in block.text.splitlines() if not line.startswith(" "))


def commands(block: Block) -> list[Command]:
    """The commands of a block. Of one that shows a prompt (``$ ``), the other lines are answers."""
    lines = list(_lines(block))
    if any(line.startswith("$ ") for _number, line in lines):
        lines = [(number, line[2:]) for number, line in lines if line.startswith("$ ")]
    return [command for number, line in lines for command in of_line(f"{block.page.relative_to(ROOT)}:{number}", line)]


def _lines(block: Block) -> Iterator[tuple[int, str]]:
    """Number and text of the lines, with those that go on behind a backslash or in quotes as one, without here-documents."""
    begun, started, end = "", 0, ""
    for number, line in enumerate(block.text.splitlines(), block.line):
        if end:
            end = "" if line.strip() == end else end
            continue
        started, begun = (started, f"{begun} {line.strip()}") if begun else (number, line.strip())
        if begun.endswith("\\"):
            begun = begun[:-1].strip()
            continue
        if _scanned(begun)[1]:  # a quotation goes on
            continue
        if here := re.search(r"<<-?\s*['\"]?(\w+)['\"]?", begun):
            end, begun = here[1], begun[: here.start()]
        yield started, begun
        begun = ""


def of_line(where: str, line: str) -> list[Command]:
    """The commands of one line, taken apart at ``&&``, ``||``, ``;``, ``|`` and ``&``; comments are left out.

    A word in pointed brackets (``<this folder>``) is one word, square brackets around a name (``[REV]``) are dropped.
    Raises ValueError for a line that no shell reads.

    >>> [c.text for c in of_line("", "A=1 dvc repro && s3dnerf audit verify [REV]   # a comment")]
    ['dvc repro', 's3dnerf audit verify REV']
    """
    line = re.sub(r"\[([A-Z][A-Z_]*)( …)?\]", r"\1", _scanned(_placeholders(line))[0])
    reader = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    reader.whitespace_split, reader.commenters = True, ""
    found: list[list[str]] = [[]]
    target = False
    for word in reader:
        if re.fullmatch(r"[;|&()]+", word):
            found.append([])
        elif re.fullmatch(r"[<>&]+", word):
            target = True
        elif target:  # where output goes
            target = False
        else:
            found[-1].append(word)
    return [command for words in found if words and (command := _command(where, words)).words]


def _placeholders(line: str) -> str:
    """A line with each ``<this folder>`` as one word."""
    return re.sub(r"<(\w[^<>]*)>", lambda found: re.sub(r"\W+", "_", found[1]), line)


def _command(where: str, words: list[str]) -> Command:
    variables = []
    while words and ASSIGNMENT.match(words[0]):
        variables.append(words.pop(0).partition("=")[0])
    kept = [word.removesuffix("…") for word in words]
    if kept:
        kept[0] = kept[0].removeprefix(".venv/bin/")
    return Command(where, tuple(filter(None, kept)), tuple(variables), any("…" in word for word in words))


def _scanned(line: str) -> tuple[str, bool]:
    """A line up to a ``#`` that begins a word outside of quotes, and whether a quotation is open at its end."""
    quote = ""
    for i, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and (i == 0 or line[i - 1].isspace()):
            return line[:i], False
    return line, bool(quote)
