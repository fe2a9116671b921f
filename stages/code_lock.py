"""Versions of the code's parts, and the lock that ties each version to the code that it stands for.

``stages/versions.yaml`` (written by hand or by ``s3dnerf code bump``) gives each part of the code a version number.
Stages take the numbers of the parts that they use as DVC params; pack keys and training keys hold the same numbers: so
only a version that somebody raised makes anything stale. ``stages/code.lock`` (written by ``s3dnerf code bump`` and
``keep``) holds for each part its version with the hash of each of its files (:mod:`stages.code_hash`), and for each
stage its parts. Code that differs from the lock stops every run, with one message: nothing stale passes, nothing is
made again for a comment.
"""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.text_files import TextFileError, read_text
from s3dnerf.core.yaml_text import read_mapping
from s3dnerf.settings.schema import Settings
from stages.code_hash import Source, read_source
from stages.code_parts import ALTERNATIVES, HARMLESS, NOT_OUTPUT, PACKAGES, PARTS, STAGES, UnknownModule, part_of

ROOT = Path(__file__).resolve().parent.parent
VERSIONS, LOCK = "stages/versions.yaml", "stages/code.lock"
OWN = ("s3dnerf", "stages")
TEMPLATES = (".html", ".css", ".js")  # read by modules beside them


class CodeChanged(S3DNeRFError, RuntimeError):
    """The code is not what the lock says; the message names parts, stages, files and the two ways on."""


@dataclass(frozen=True)
class Code:
    """The code as it is.

    Attributes
    ----------
    files : part → file → hash
    stages : stage → its parts, sorted
    packages : part → packages whose versions can change what it makes, sorted
    """

    files: dict[str, dict[str, str]]
    stages: dict[str, list[str]]
    packages: dict[str, list[str]]


@dataclass(frozen=True)
class Change:
    """A part whose files are not those of the lock: which, and the stages that use it."""

    part: str
    files: tuple[str, ...]
    stages: tuple[str, ...]


def _module_file(root: Path, name: str) -> Path | None:
    base = root.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


class _Reader:
    """Reads each file once."""

    def __init__(self, root: Path) -> None:
        self.root, self.sources = root, dict[str, tuple[str, Source]]()  # module → (file, what it is)

    def module(self, name: str) -> tuple[str, Source] | None:
        if name not in self.sources:
            path = _module_file(self.root, name)
            if path is None:
                return None
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            file = path.relative_to(self.root).as_posix()
            self.sources[name] = file, read_source(path, file, package)
        return self.sources[name]

    def closure(self, module: str) -> dict[str, tuple[str, Source]]:
        """Module → (file, source) of all that ``module`` imports, itself included, in functions as well."""
        found: dict[str, tuple[str, Source]] = {}
        todo = [module]
        while todo:
            name = todo.pop()
            if name in found or name in NOT_OUTPUT:
                continue
            read = self.module(name)
            if read is None:
                continue
            found[name] = read
            todo += [".".join(name.split(".")[:i]) for i in range(1, name.count(".") + 1)]
            todo += [imported for imported in read[1].imports if imported.split(".")[0] in OWN]
        return found

    def templates(self, modules: dict[str, tuple[str, Source]]) -> dict[str, tuple[str, Source]]:
        """Templates beside these modules that one of them names, or another such template, as if they were modules."""
        folders = {(self.root / file).parent for file, _ in modules.values()}
        beside = {path for folder in folders for path in folder.iterdir() if path.suffix in TEMPLATES}
        named: set[Path] = set()
        files = [
            self.root / file for file, _ in modules.values() if (self.root / file).parent in {p.parent for p in beside}
        ]
        while True:
            text = "".join(path.read_text(encoding="utf-8") for path in [*files, *named])
            found = {path for path in beside if path.name in text}
            if found == named:
                break
            named = found
        result = {}
        for path in named:
            file = path.relative_to(self.root).as_posix()
            result[file.replace("/", ".")] = file, read_source(path, file, "")
        return result


def _packages_of(source: Source, file: str) -> set[str]:
    found: set[str] = set()
    for name in {imported.split(".")[0] for imported in source.imports} - set(OWN) - {"", "flows"}:
        if name in PACKAGES:
            found |= set(PACKAGES[name])
        elif name not in sys.stdlib_module_names and name not in HARMLESS:
            todo = "say in stages/code_parts.py whether its version can change a result (PACKAGES) or not (HARMLESS)"
            raise UnknownModule(f"{file} imports {name}: {todo}")
    return found


def read_code(root: Path = ROOT, stages: tuple[str, ...] = STAGES) -> Code:
    """The code of some stages as it is on disk. Raises UnknownModule, or SyntaxError for a file that does not parse."""
    reader = _Reader(root)
    files: dict[str, dict[str, str]] = {}
    used: dict[str, list[str]] = {}
    packages: dict[str, set[str]] = {}
    for stage in stages:
        modules = reader.closure(f"stages.{stage}")
        parts = set()
        for name, (file, source) in {**modules, **reader.templates(modules)}.items():
            if source.empty:
                continue
            part = part_of(name)
            parts.add(part)
            files.setdefault(part, {})[file] = source.digest
            packages.setdefault(part, set()).update(_packages_of(source, file))
        used[stage] = sorted(parts)
    return Code(
        {part: dict(sorted(named.items())) for part, named in sorted(files.items())},
        used,
        {part: sorted(named) for part, named in sorted(packages.items())},
    )


def flat_versions(values: dict[str, Any], above: str = "") -> dict[str, int]:
    """Part → version of the nested mapping in ``stages/versions.yaml``."""
    found: dict[str, int] = {}
    for name, value in values.items():
        found |= flat_versions(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": int(value)}
    return found


def read_versions(root: Path = ROOT) -> dict[str, int]:
    """Part → version. Raises CodeChanged for a missing file, or other parts than ``stages/code_parts.py`` names;
    TextFileError, YamlError.
    """
    path = root / VERSIONS
    if not path.is_file():
        raise CodeChanged(f"{VERSIONS}: no such file — restore it from git")
    values = read_mapping(path, "s3dnerf code status")
    try:
        versions = flat_versions(values)
    except (TypeError, ValueError) as error:
        raise CodeChanged(f"{VERSIONS}: expected a whole number for each part ({error})") from error
    if set(versions) != set(PARTS):
        missing, extra = sorted(set(PARTS) - set(versions)), sorted(set(versions) - set(PARTS))
        raise CodeChanged(
            f"{VERSIONS}: expected a version for each part in stages/code_parts.py"
            + (f"; missing: {', '.join(missing)} (a new part begins at 1)" if missing else "")
            + (f"; no such part: {', '.join(extra)}" if extra else "")
        )
    return versions


def read_lock(root: Path = ROOT) -> dict[str, Any]:
    """``stages/code.lock`` as it is. Raises CodeChanged where it is missing or not JSON, TextFileError."""
    path = root / LOCK
    try:
        lock = json.loads(read_text(path, "s3dnerf code status"))
    except FileNotFoundError:
        raise CodeChanged(f"{LOCK}: no such file — restore it from git, or write it with: s3dnerf code keep") from None
    except TextFileError:
        raise
    except ValueError as error:
        raise CodeChanged(f"{LOCK}: not JSON ({error}) — restore it from git") from error
    if not isinstance(lock, dict) or not {"parts", "stages"} <= lock.keys():
        raise CodeChanged(f"{LOCK}: holds no parts and stages — restore it from git")
    return lock


def lock_of(code: Code, versions: dict[str, int]) -> bytes:
    """The lock's bytes for this code at these versions."""
    parts = {
        part: {"version": versions[part], "files": named, "packages": code.packages[part]}
        for part, named in code.files.items()
    }
    return (json.dumps({"stages": code.stages, "parts": parts}, indent=1, sort_keys=True) + "\n").encode()


def changes(
    code: Code, lock: dict[str, Any], versions: dict[str, int], stages: tuple[str, ...] = STAGES
) -> list[Change]:
    """The parts of these stages that are not as the lock has them: files, packages, or a version raised by hand."""
    found = []
    for part, named in code.files.items():
        users = tuple(stage for stage in stages if part in code.stages[stage])
        locked = lock["parts"].get(part, {"files": {}, "version": None, "packages": []})
        files = [file for file in sorted({*named, *locked["files"]}) if named.get(file) != locked["files"].get(file)]
        if len(stages) < len(STAGES):  # a stage alone reaches only some files of a shared part
            files = [file for file in files if file in named]
        elif code.packages[part] != locked["packages"]:
            files.append(f"(packages: {', '.join(code.packages[part])})")
        if locked["version"] != versions[part]:
            files.append(f"(version {versions[part]} in {VERSIONS}, {locked['version']} in {LOCK})")
        if files:
            found.append(Change(part, tuple(files), users))
    for stage in stages:
        gone = sorted(set(lock["stages"].get(stage, [])) - set(code.stages[stage]))
        new = sorted(set(code.stages[stage]) - set(lock["stages"].get(stage, [])))
        if gone or new:
            parts = [f"(now uses {part})" for part in new] + [f"(no longer uses {part})" for part in gone]
            found.append(Change(part_of(f"stages.{stage}"), tuple(parts), (stage,)))
    return found


def message(found: list[Change]) -> str:
    """What a person is told of changed code."""
    lines = ["code changed since stages/code.lock was written, and nobody has said whether outputs change:"]
    for change in found:
        shown = ", ".join(change.files[:6]) + (f" and {len(change.files) - 6} more" if len(change.files) > 6 else "")
        lines.append(f"  {change.part} (stages {', '.join(change.stages)}): {shown}")
    named = list(dict.fromkeys(change.part for change in found))
    parts = " ".join(named) if len(named) < 4 else "[PART …]"
    lines += [
        "two ways on:",
        f"  s3dnerf code bump {parts}    what these stages write changes: they and what follows are made again",
        f"  s3dnerf code keep {parts}    it does not: nothing is made again (--proven shows it at preset tiny)",
    ]
    return "\n".join(lines)


def require(stages: tuple[str, ...] = STAGES, root: Path = ROOT) -> None:
    """Raise CodeChanged where the code of these stages is not what the lock says."""
    found = changes(read_code(root, stages), read_lock(root), read_versions(root), stages)
    if found:
        raise CodeChanged(message(found))


def in_force(part: str, settings: Settings) -> bool:
    """Whether a part counts under these settings: of backends that exclude each other only the one that they name."""
    if part not in ALTERNATIVES:
        return True
    field, value = ALTERNATIVES[part]
    section, _, name = field.partition(".")
    return getattr(getattr(settings, section), name) == value


@functools.cache
def _locked(root: Path) -> tuple[dict[str, Any], dict[str, int]]:
    return read_lock(root), read_versions(root)


def stage_versions(stage: str, settings: Settings, root: Path | None = None) -> dict[str, int]:
    """Part → version of all parts that a stage uses under these settings: what its keys hold of the code."""
    lock, versions = _locked(root or ROOT)
    return {part: versions[part] for part in lock["stages"][stage] if in_force(part, settings)}


def stage_packages(stage: str, settings: Settings, root: Path | None = None) -> list[str]:
    """Packages whose versions can change what a stage writes under these settings, sorted."""
    lock, _ = _locked(root or ROOT)
    used = [part for part in lock["stages"][stage] if in_force(part, settings)]
    return sorted({package for part in used for package in lock["parts"][part]["packages"]})
