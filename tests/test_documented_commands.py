"""Every command that a page shows is run by a test, or says why it is not: ``tests/documented_commands.yaml``. Each is also
read by the program's own parser, so that no page names an option, a target or a module that there is not.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import tyro
import yaml

from docs.generate import environment
from docs.links import pages
from flows.cli import commands as cli_commands
from tests.documents import OTHER, ROOT, SHELL, Block, Command, blocks, commands, first_word, inline, is_shell, of_line
from tests.documents import PROGRAMS as KNOWN

TABLE = ROOT / "tests" / "documented_commands.yaml"
LISTS = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
KEYS = [*LISTS["run"], *LISTS["scripts"], *LISTS["tested"], *LISTS["needs"]]
SHELL_BLOCKS = [block for page in pages() for block in blocks(page) if is_shell(block)]


def shown() -> list[Command]:
    """Every command of every shell block."""
    return [command for block in SHELL_BLOCKS for command in commands(block)]


def key_of(text: str) -> str | None:
    """The longest key that a command matches."""
    return max((key for key in KEYS if fnmatchcase(text, key.replace("[", "[[]"))), key=len, default=None)


def scripts() -> list[Block]:
    """The blocks that are run whole."""
    return [block for block in SHELL_BLOCKS if any(key_of(c.text) in LISTS["scripts"] for c in commands(block))]


def in_spans() -> list[Command]:
    """Commands within a line of text, as code: those of our own programs alone."""
    found = []
    for page in pages():
        for number, token in inline(page):
            if token.type == "code_inline" and token.content.startswith(("s3dnerf ", "python -m benchmarks.", "make ")):
                for command in of_line(f"{page.relative_to(ROOT)}:{number}", token.content)[:1]:
                    found.append(replace(command, shortened=True))  # what is spoken of need not be whole
    return found


# ---- what a block is


def test_a_block_is_of_commands_or_names_its_language() -> None:
    wrong = []
    for page in pages():
        for block in blocks(page):
            if block.language and block.language not in SHELL | OTHER:
                wrong.append(f"{block.where()}: the language {block.language}: add it to OTHER in tests/documents.py")
            elif block.fenced and not block.language:
                wrong.append(
                    f"{block.where()}: a block without a language: write ```sh for commands, ```text for other text"
                )
            elif is_shell(block) and not block.language:
                for line in block.text.splitlines():
                    if (word := first_word(line.strip())) and not line.startswith(" ") and word not in KNOWN:
                        wrong.append(f"{block.where()}: `{word}` begins a line: name the block's language, or add the program "
                                     "to PROGRAMS in tests/documents.py")  # fmt: skip
    assert not wrong, "\n".join(wrong)


# ---- who runs a command


def test_every_command_is_run_by_a_test_or_says_why_not() -> None:
    in_scripts = {c for block in scripts() for c in commands(block)}
    wrong = [
        f"{c.where}: `{c.text}` is run by no test: add it to {TABLE.relative_to(ROOT)}, under `run`, under `tested` with the "
        "test that runs it, or under `needs` with what it needs"
        for c in shown()
        if key_of(c.text) is None and c not in in_scripts
    ]
    assert not wrong, "\n".join(wrong)


def test_the_table_names_commands_that_the_pages_show() -> None:
    used = {key_of(command.text) for command in shown()}
    wrong = [
        f"{TABLE.relative_to(ROOT)}: `{key}`: no page shows such a command: remove it"
        for key in KEYS
        if key not in used
    ]
    assert not wrong, "\n".join(wrong)


@functools.cache
def source_of(test: str) -> str | None:
    """The source of a test (``file::function``) or of a module of tests; None where it is not there."""
    file, _, name = test.partition("::")
    path = ROOT / file
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    if not name:
        return text
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef) and node.name == name]
    return ast.get_source_segment(text, found[0]) if found else None


def words_of(key: str) -> list[str]:
    """The words of a key that a test has to name: not the program, options, or what is free.

    >>> words_of("s3dnerf audit verify *--measure 3"), words_of("export S3DNERF_SLURM=*")
    (['audit', 'verify'], ['S3DNERF_SLURM'])
    """
    words = [word.partition("=")[0].rstrip("*") for word in key.removeprefix("nohup ").split()[1:]]
    plain = [word for word in words if word and not word.startswith(("-", "*"))]
    return [word for word in plain if not word.isdigit()]


@pytest.mark.parametrize("key", LISTS["tested"])
def test_the_named_test_runs_the_command(key: str) -> None:
    test, _, function = LISTS["tested"][key].partition(" by ")
    source = source_of(test)
    assert source is not None, f"{TABLE.relative_to(ROOT)}: `{key}`: {test} is not there"
    missing = [
        word for word in ([function] if function else words_of(key)) if not re.search(rf"\b{re.escape(word)}\b", source)
    ]
    assert not missing, f"{TABLE.relative_to(ROOT)}: `{key}`: {test} does not name {', '.join(missing)}"


def test_a_test_that_is_gone_or_of_something_else_is_seen() -> None:
    assert source_of("tests/test_gone.py") is None and source_of("tests/test_walls.py::test_gone") is None
    assert source_of("tests/test_walls.py::house").startswith("def house")
    assert words_of("dvc exp run --temp *") == ["exp", "run"]
    assert key_of("dvc exp run --temp -S a=1") == "dvc exp run --temp *" and key_of("rm -rf data") is None


# ---- run here


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's own settings, graph and report in a folder of their own."""
    for name in ("dvc.yaml", "dvc.lock", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "reports" / "sample", tmp_path / "reports" / "sample")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_here(command: Command) -> int:
    """The exit status of a command of ours, by its parser in this process, or of ``python -c …`` in one of its own."""
    if command.words[0] == "python":
        return subprocess.run([sys.executable, *command.words[1:]], capture_output=True).returncode
    with contextlib.redirect_stdout(io.StringIO()):
        return tyro.extras.subcommand_cli_from_dict(cli_commands(), args=command.words[1:], use_underscores=False)


RUN_HERE = {command.text: command for command in shown() if key_of(command.text) in LISTS["run"]}
SECONDS = ("s3dnerf doctor", "s3dnerf code")  # what takes 2 s and more


@pytest.mark.parametrize(
    "text", [pytest.param(text, marks=[pytest.mark.slow] * text.startswith(SECONDS)) for text in sorted(RUN_HERE)]
)
def test_run(text: str, project: Path) -> None:
    status = run_here(RUN_HERE[text])
    # 1 is doctor's answer where files are missing
    assert status == 0 or (text.startswith("s3dnerf doctor") and status == 1), RUN_HERE[text].where


def test_a_line_of_python_is_run_in_the_project(project: Path) -> None:
    (command,) = of_line("", "python -c 'import sys; open(\"dvc.yaml\"); sys.exit(3)'")
    assert run_here(command) == 3


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl (apt-get install openssl)")
def test_the_certificate_that_the_page_makes_is_one_that_signs(tmp_path: Path) -> None:
    from s3dnerf.synthesis.signers import Signer

    (block,) = scripts()
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", block.text], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, f"{block.where()}: {done.stderr}"
    Signer.load(tmp_path / "chain.pem", tmp_path / "key.pem")


# ---- read by the program's own parser


def stub(command: Callable[..., int]) -> Callable[..., int]:
    """A command with the same options that does nothing."""

    @functools.wraps(command)
    def nothing(*_positional: Any, **_named: Any) -> int:
        return 0

    return nothing


STUBS = {name: stub(command) for name, command in cli_commands().items()}


def parsed(words: tuple[str, ...]) -> tuple[int, str]:
    """Exit status and text of the real parser, with nothing done."""
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            tyro.extras.subcommand_cli_from_dict(STUBS, prog="s3dnerf", args=words, use_underscores=False)
    except SystemExit as end:
        return int(end.code or 0), " ".join(re.sub(r"[│╭╮╰╯─-]{3,}|[│╭╮╰╯─]", " ", text.getvalue()).split())
    return 0, ""


@functools.cache
def help_of(name: str) -> str:
    """What ``s3dnerf NAME --help`` prints."""
    return parsed((name, "--help"))[1]


def why_s3dnerf_refuses(command: Command) -> str:
    """Empty for a line that the parser of ``s3dnerf`` takes; for one with words left out, whose options it knows."""
    words = command.words[1:]
    if not words or words[0] in ("--help", "--version", "COMMAND"):
        return ""
    if words[0] not in STUBS:
        return f"no command {words[0]}"
    if command.shortened:
        named = [word.partition("=")[0] for word in words if word.startswith("--") and word != "--"]
        unknown = [word for word in named if not re.search(rf"(?<![\w-]){word}(?![\w-])", help_of(words[0]))]
        return f"no option {', '.join(unknown)}" if unknown else ""
    status, said = parsed(words)
    return said if status else ""


def why_python_refuses(command: Command) -> str:
    """Empty for ``python -m MODULE`` or ``python FILE`` of this project with options that its source names."""
    words = command.words[1:]
    if not words or words[0] == "-c" or (words[0] == "-m" and len(words) < 2):
        return ""
    module, rest = (words[1], words[2:]) if words[0] == "-m" else (words[0], words[1:])
    place = ROOT / (module.replace(".", "/") + ".py" if words[0] == "-m" else module)
    if words[0] == "-m" and module.partition(".")[0] not in ("benchmarks", "flows", "s3dnerf", "stages", "docs"):
        return ""
    place = place if place.is_file() else place.with_suffix("") / "__main__.py"
    if not place.is_file():
        return f"no module or file {module}"
    source = place.read_text(encoding="utf-8")
    unknown = [word for word in rest if word.startswith("--") and f'"{word.partition("=")[0]}"' not in source]
    return f"{module} has no option {', '.join(unknown)}" if unknown else ""


def why_make_refuses(command: Command) -> str:
    """Empty for targets of the Makefile."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    unknown = [
        word for word in command.words[1:] if "=" not in word and not word.startswith("-") and word not in targets
    ]
    return f"no target {', '.join(unknown)}" if unknown else ""


def why_dvc_refuses(command: Command) -> str:
    """Empty for what dvc's parser takes."""
    from dvc.cli import DvcParserError, parse_args

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            parse_args(list(command.words[1:]))
    except (DvcParserError, SystemExit):
        return f"dvc does not take it: {said.getvalue().strip().splitlines()[-1:]}"
    return ""


def why_refused(command: Command) -> str:
    """Why a command cannot be what a person should type; empty where nothing is known against it."""
    if unknown := [name for name in command.variables if name.startswith("S3DNERF_") and name not in OUR_VARIABLES]:
        return f"no variable {', '.join(unknown)}"
    words = command.words[1:] if command.words[0] in ("nohup", "nice", "time", "sudo") else command.words
    plain = Command(command.where, words, command.variables, command.shortened)
    if words[:3] == ("python", "-m", "flows.cli"):
        return why_s3dnerf_refuses(Command(command.where, words[2:], (), command.shortened))
    if words[:3] == ("python", "-m", "dvc"):
        return why_dvc_refuses(Command(command.where, words[2:]))
    parsers = {
        "s3dnerf": why_s3dnerf_refuses,
        "python": why_python_refuses,
        "make": why_make_refuses,
        "dvc": why_dvc_refuses,
    }
    return parsers.get(words[0], lambda _command: "")(plain)


OUR_VARIABLES = {name for part in environment.OURS.values() for name in part}


def test_every_command_is_one_that_its_program_takes() -> None:
    wrong = [f"{c.where}: `{c.text}`: {why}" for c in [*shown(), *in_spans()] if (why := why_refused(c))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line",
    ["s3dnerf nosuch", "s3dnerf report --nosuch", "s3dnerf audit prove", "s3dnerf synthesize … --nosuch", "make nosuch",
     "python -m benchmarks.nosuch", "python -m benchmarks.kills --nosuch 3", "dvc nosuch", "dvc repro --nosuch",
     "S3DNERF_NOSUCH=1 dvc repro", "python examples/nosuch.py", "python -m flows.cli nosuch", "nohup dvc nosuch"],
)  # fmt: skip
def test_what_there_is_not_is_refused(line: str) -> None:
    (command,) = of_line("", line)
    assert why_refused(command)


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("a b  # c | d", ["a b"]),
        ("X=1 Y='2 3' a 'b c' && d > e.txt; f | g &", ["a b c", "d", "f", "g"]),
        ("s3dnerf code bump [PART …]", ["s3dnerf code bump PART"]),
        ("HOME=<this folder> run '#1'", ["run #1"]),
        ("# nothing", []),
    ],
)
def test_lines_are_read_as_a_shell_reads_them(line: str, read: list[str]) -> None:
    assert [command.text for command in of_line("", line)] == read


def test_blocks_are_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.documents.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\n$ a \\\n    --b\nan answer\n$ c 'd\ne'\n```\n\n    make x\n\n    x: 1\n\n```yaml\nmake: y\n```\n"
    )
    first, second, third = blocks(page)
    assert [c.text for c in commands(first)] == ["a --b", "c d e"] and commands(first)[1].where == "page.md:5"
    assert is_shell(first) and is_shell(second) and not is_shell(third)
