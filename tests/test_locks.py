"""The locks: their lines parse, they pin what pyproject.toml asks for, and what those packages ask for in turn, on every
Python and system that docs/how-to/install.md names.
"""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
DEMO, EXTRAS = "requirements.lock", "requirements-extras.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OPTIONAL = PROJECT["project"]["optional-dependencies"]
ASKED = PROJECT["project"]["dependencies"] + OPTIONAL["pipeline"] + PROJECT["build-system"]["requires"]
BESIDE = OPTIONAL["serve"] + OPTIONAL["photos"] + OPTIONAL["dev"]
# insightface asks for opencv-python; opencv-python-headless has the same module and needs no system libraries
REPLACED = {"opencv-python": "opencv-python-headless"}
# what only other machines install: its own requirements cannot be read here
INSTALLED = {canonicalize_name(each.name) for each in importlib.metadata.distributions()}
ABSENT_HERE = {"async-timeout", "audioop-lts", "decord", "decord2", "pendulum", "whenever"} - INSTALLED
WITH_TORCH = ("nvidia-", "cuda-", "triton")  # a build of torch for CUDA brings these, pinned by itself
SYSTEMS = {
    "linux x86_64": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    "linux aarch64": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    "macos arm64": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
}
PYTHONS = ("3.11.2", "3.11.7", "3.12.1", "3.13.0")


def lines(name: str) -> list[Requirement]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]


def marker_environment(python: str, system: str) -> dict[str, str]:
    return {
        **SYSTEMS[system],
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
    }


def holds(marker: Marker | None, environment: dict[str, str], extra: str = "") -> bool:
    return marker is None or marker.evaluate({**environment, "extra": extra})


def pinned(names: tuple[str, ...], environment: dict[str, str]) -> dict[str, str]:
    """Package → version of locks, as one machine installs them."""
    wanted = [each for name in names for each in lines(name) if holds(each.marker, environment)]
    found = {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in wanted}
    assert len(found) == len(wanted), "a package twice"
    return found


def unmet(asked: list[str], pins: dict[str, str], environment: dict[str, str]) -> set[str]:
    """What requirements, and those of the packages that are installed here, ask for and the pins do not give."""
    wrong, seen = set(), set()
    todo = [(Requirement(text), "") for text in asked]
    while todo:
        each, extra = todo.pop()
        name = canonicalize_name(REPLACED.get(each.name, each.name))
        if not holds(each.marker, environment, extra):
            continue
        if name not in pins or (name == canonicalize_name(each.name) and not each.specifier.contains(pins[name], True)):
            wrong.add(str(each))
            continue
        for inner in each.extras or {""}:
            if (name, inner) not in seen:
                seen.add((name, inner))
                if name in ABSENT_HERE:
                    continue
                for need in map(Requirement, importlib.metadata.requires(name) or []):
                    if not need.name.startswith(WITH_TORCH):
                        todo.append((need, inner))
    return wrong


def test_every_line_pins_one_version() -> None:
    for each in lines(DEMO) + lines(EXTRAS):
        (specifier,) = each.specifier
        assert specifier.operator == "==" and "*" not in specifier.version and not each.extras and each.url is None
        if each.marker is not None:
            assert any(holds(each.marker, marker_environment(p, s)) for p in PYTHONS for s in SYSTEMS), str(each)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_all_that_is_asked_for_is_pinned(python: str, system: str) -> None:
    environment = marker_environment(python, system)
    assert unmet(ASKED, pinned((DEMO,), environment), environment) == set()
    assert unmet(BESIDE, pinned((DEMO, EXTRAS), environment), environment) == set()


def test_a_missing_line_and_a_wrong_version_are_seen() -> None:
    environment = marker_environment("3.13.0", "linux x86_64")
    pins = pinned((DEMO,), environment)
    assert unmet(ASKED, {k: v for k, v in pins.items() if k != "whenever"}, environment)
    assert unmet(ASKED, pins | {"numpy": "1.0"}, environment)
    assert unmet(ASKED, {k: v for k, v in pins.items() if k != "decord"}, environment) == {
        'decord==0.6.0; platform_machine == "x86_64"'
    }
    other = marker_environment("3.13.0", "macos arm64")
    assert "decord2" in pinned((DEMO,), other) and "decord" not in pinned((DEMO,), other)


def test_no_package_stands_in_both() -> None:
    names = [canonicalize_name(each.name) for each in lines(DEMO) + lines(EXTRAS)]
    assert len(set(names)) == len(names)


def test_what_is_installed_here_is_what_the_lock_says() -> None:
    """As far as it is installed: torch's build for a platform is not in the lock."""
    environment = {"extra": ""}
    for each in lines(DEMO):
        if each.marker is None or each.marker.evaluate(environment):
            version = importlib.metadata.version(each.name).partition("+")[0]
            assert each.specifier.contains(version, True), f"{each} is pinned, {version} is here"
