"""The images' files: what they copy exists and reaches the build, and they name no host, no root user, no loose version."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = ("Dockerfile", ".devcontainer/Dockerfile")
KNOWN = {"FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "ENTRYPOINT", "CMD"}


def steps(text: str) -> list[tuple[str, str]]:
    """A Dockerfile's instructions and what follows them, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined)]


def ignored(path: str, rules: list[str]) -> bool:
    """Whether .dockerignore keeps a file from the build: the last rule that fits decides."""
    out = False
    for rule in rules:
        wanted = rule.removeprefix("!").removeprefix("**/")
        deep = rule.startswith("**/")
        parents = [path, *map(str, Path(path).parents)]
        if any(fnmatch.fnmatch(Path(p).name if deep else p, wanted) for p in parents if deep or "/" not in p):
            out = not rule.startswith("!")
    return out


@pytest.mark.parametrize("name", FILES)
def test_it_parses_and_ends_without_rights(name: str) -> None:
    found = steps((ROOT / name).read_text())
    assert found[0][0] == "FROM" and {word for word, _ in found} <= KNOWN
    assert [rest for word, rest in found if word == "USER"][-1] not in ("root", "0")
    (image,) = (rest for word, rest in found if word == "FROM")
    version = re.fullmatch(r"python:(3\.\d+)-slim-bookworm", image)
    assert version is not None
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert f"Programming Language :: Python :: {version[1]}" in classifiers


@pytest.mark.parametrize("name", [*FILES, ".dockerignore", ".devcontainer/devcontainer.json"])
def test_no_host_is_named(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"://|\b[\w-]+\.(com|org|io|net|dev)\b", text)


def test_what_is_copied_exists_and_reaches_the_build() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    copied = [shlex.split(rest) for word, rest in steps((ROOT / "Dockerfile").read_text()) if word == "COPY"]
    sources = [source for words in copied for source in words[:-1]]
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(sources) > 5
    for source in sources:
        files = [name for name in tracked if name == source or name.startswith(f"{source}/")]
        assert files, f"{source}: copied, and not in git"
        assert not [name for name in files if ignored(name, rules)]
    assert ignored("data/clip.mp4", rules) and ignored(".git/config", rules) and ignored("s3dnerf/a.pyc", rules)
    # what the wheel is made of is all there
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.removesuffix("*") for name in packages} <= set(sources)


def test_torch_is_the_lock_s() -> None:
    (pin,) = (line for line in (ROOT / "requirements.lock").read_text().splitlines() if line.startswith("torch=="))
    for name in ("Dockerfile", "Makefile"):
        assert re.findall(r"torch==[\w.]+", (ROOT / name).read_text()) == [pin]


def test_the_container_for_work_is_json_and_names_its_files() -> None:
    given = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert (ROOT / ".devcontainer" / given["build"]["dockerfile"]).is_file()
    goal = given["postCreateCommand"].removeprefix("make ")
    assert f"\n{goal}:" in (ROOT / "Makefile").read_text()
