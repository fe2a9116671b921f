"""Put an environment right whose folder was moved or copied: `make setup` runs this file by its name, on every call.

An environment knows its place by absolute paths: the first lines of its commands, ``activate``, and where the project's
own packages lie. Moved, its commands end with "no such file"; copied, they silently run the code of the folder that it
was copied from. Nothing is downloaded or installed anew but those paths. Where they are right, nothing happens.

Needs nothing but the standard library, since it must run before anything can be imported: ``python -I
flows/environment_paths.py`` with the environment's Python.
"""

import importlib.metadata
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

NAME = "s3dnerf"
LONGEST = 127  # bytes of a first line that every kernel reads
# a command's first line, direct or by way of the shell, and the Python of a `.venv` that it names
DIRECT = re.compile(rb"#!(?P<python>/[^\n]*/\.venv/bin/python[0-9.]*)\n")
BY_SHELL = re.compile(
    rb"#!/bin/sh\n'''exec' \"?(?P<python>/[^\n]*?/\.venv/bin/python[0-9.]*)\"? \"\$0\" \"\$@\"\n' '''\n"
)


def first_lines(python: str) -> bytes:
    """The beginning of a command that runs on ``python``: by way of the shell where the kernel could not read it.

    >>> first_lines("/p/.venv/bin/python")
    b'#!/p/.venv/bin/python\\n'
    >>> first_lines("/a b/.venv/bin/python").splitlines()[1].decode()
    '\\'\\'\\'exec\\' "/a b/.venv/bin/python" "$0" "$@"'
    """
    direct = b"#!" + os.fsencode(python) + b"\n"
    if len(direct) <= LONGEST and not re.search(rb"\s", direct[:-1]):
        return direct
    quoted = re.sub(rb'([\\"$`])', rb"\\\1", os.fsencode(python))
    return b"#!/bin/sh\n'''exec' \"" + quoted + b'" "$0" "$@"\n\' \'\'\'\n'


def mend_commands(bin_folder: Path) -> int:
    """Let each command of an environment name this environment's Python. Returns how many did not."""
    count = 0
    for path in sorted(bin_folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            continue
        text = path.read_bytes()
        found = DIRECT.match(text) or BY_SHELL.match(text)
        if found is None:
            continue
        right = first_lines(str(bin_folder / Path(os.fsdecode(found["python"])).name))
        if text[: found.end()] != right:
            part = path.with_name(f".{path.name}.part")  # a command that runs keeps its file
            part.write_bytes(right + text[found.end() :])
            part.chmod(path.stat().st_mode)
            part.replace(path)
            count += 1
    return count


def made_here(environment: Path) -> bool:
    """Whether ``pyvenv.cfg`` says that the environment was made in its folder."""
    lines = (environment / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    command = next((line for line in lines if line.startswith("command")), "")
    return command.endswith(f" {environment}")


def mend_activate(environment: Path) -> bool:
    """Quote the environment's place in ``activate``, which older Pythons write between double quotes whatever is in it.
    Returns whether it had to be.
    """
    path = environment / "bin" / "activate"
    text = path.read_text(encoding="utf-8")
    if not re.search(r'["$`\\]', str(environment)):
        return False
    place = shlex.quote(str(environment))
    # Python 3.12 exports it at once; the other branch, for Windows, is parsed as well
    right = re.sub(r"(?m)^( *(?:export )?VIRTUAL_ENV=)(?!\$\().*$", lambda line: line[1] + place, text, count=1)
    right = re.sub(r"(?m)(?<=\$\(cygpath ).*(?=\)$)", lambda _: place, right)
    if right != text:
        path.write_text(right, encoding="utf-8")
    return right != text


def code_of() -> str:
    """The address of the folder that the project's packages are imported from; empty where they are not installed."""
    try:
        text = importlib.metadata.distribution(NAME).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return ""
    return json.loads(text or "{}").get("url", "")


def mend(environment: Path) -> list[str]:
    """Put an environment's paths right. Returns what was wrong, empty where nothing was."""
    mended, project = [], environment.parent
    if not_here := not made_here(environment):
        base = getattr(sys, "_base_executable", sys.executable)
        subprocess.run([base, "-m", "venv", "--without-pip", str(environment)], check=True)
    if mend_activate(environment) or not_here:
        mended.append("activate")
    if count := mend_commands(environment / "bin"):
        mended.append(f"{count} commands")
    if code_of() not in ("", project.as_uri()):
        here = ["--quiet", "--no-deps", "--no-build-isolation", "--editable", str(project)]
        subprocess.run([sys.executable, "-m", "pip", "install", *here], check=True)
        mend_commands(environment / "bin")  # pip has just written one
        mended.append("where its code lies")
    return mended


def main() -> None:
    """Put the environment of this Python right."""
    environment = Path(sys.prefix).resolve()  # of a linked environment the real one
    try:
        mended = mend(environment)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"make: {environment} was made for another folder and cannot be put right: {error} — remove it, and "
                 "it is made again")  # fmt: skip
    if mended:
        print(f"{environment} is now of its own folder: {', '.join(mended)} put right")


if __name__ == "__main__":
    main()
