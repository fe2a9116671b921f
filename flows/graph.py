"""What ``dvc.yaml`` lists for each stage, held against what the stage uses: settings field by field, versions of code.

``s3dnerf deps`` names what differs (exit 1), ``s3dnerf deps --write`` puts it right. Deps, outs and comments stay as
they are.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3dnerf.core.text_files import read_text
from s3dnerf.core.yaml_text import YamlError, read_mapping
from s3dnerf.video.packs import write_atomic
from stages.code_lock import ROOT, VERSIONS, Code, read_code
from stages.code_parts import ALTERNATIVES
from stages.stage_fields import STAGE_FIELDS

GRAPH = "dvc.yaml"
WIDTH = 118


def stage_of(definition: Mapping[str, Any]) -> str:
    """The stage that a definition's command runs: ``python -m flows.run NAME …`` → ``NAME``."""
    words = definition["cmd"].split()
    return words[words.index("flows.run") + 1]


def version_params(stage: str, code: Code) -> list[str]:
    """The names in ``stages/versions.yaml`` that a stage depends on; of backends, the one that the settings name."""
    names = set()
    for part in code.stages.get(stage, []):
        names.add(f"backends.${{{ALTERNATIVES[part][0]}}}" if part in ALTERNATIVES else part)
    return sorted(names)


def expected_params(name: str, definition: Mapping[str, Any], code: Code) -> list[Any]:
    """The ``params`` of DVC's stage ``name``: its settings, then the versions of the code that it uses."""
    versions = version_params(stage_of(definition), code)
    return [*STAGE_FIELDS[name], *([{VERSIONS: versions}] if versions else [])]


def definitions(path: Path) -> dict[str, Any]:
    """Stage → its definition, of a dvc.yaml. Raises TextFileError, YamlError."""
    stages = read_mapping(path).get("stages")
    if not isinstance(stages, dict):
        raise YamlError(f"{path}: expected a mapping `stages` — restore it from git")
    return {name: stage.get("do", stage) for name, stage in stages.items()}


def _names(params: list[Any]) -> set[str]:
    found = set()
    for item in params:
        found |= (
            {item} if isinstance(item, str) else {f"{file}:{name}" for file, names in item.items() for name in names}
        )
    return found


def _rendered(params: list[Any], indent: str) -> list[str]:
    """A stage's ``params`` as lines: a list in brackets, then the versions."""
    names = ", ".join(item for item in params if isinstance(item, str))
    tables = [f"{{{file}: [{', '.join(_quoted(name) for name in listed)}]}}"
              for item in params if isinstance(item, dict) for file, listed in item.items()]  # fmt: skip
    wrapped: list[str] = []
    for number, text in enumerate([names, *tables] if names else tables):
        first = f"{indent}params: [" if number == 0 else f"{indent}  "
        last = "]" if number == len(tables) - (not names) else ","
        lines = textwrap.wrap(text + last, WIDTH, initial_indent=first, subsequent_indent=f"{indent}  ",
                              break_long_words=False, break_on_hyphens=False)  # fmt: skip
        wrapped += lines
    return wrapped


def _quoted(name: str) -> str:
    return f"'{name}'" if "$" in name else name


def _with_params(text: str, name: str, params: list[Any]) -> str:
    """The file's text with the ``params`` of one stage put in place, after its command; all else as it is."""
    lines = text.split("\n")
    start = next(at for at, line in enumerate(lines) if line == f"  {name}:")
    end = next((at for at, line in enumerate(lines[start + 1 :], start + 1) if re.match(r"  ?\S|\S", line)), len(lines))
    block, kept = lines[start:end], list[str]()
    at = 0
    while at < len(block):
        if re.match(r" +params:", block[at]):
            depth = len(block[at]) - len(block[at].lstrip())
            at += 1
            while at < len(block) and block[at].strip() and len(block[at]) - len(block[at].lstrip()) > depth:
                at += 1
            continue
        kept.append(block[at])
        at += 1
    command = next(at for at, line in enumerate(kept) if re.match(r" +cmd:", line))
    indent = kept[command][: len(kept[command]) - len(kept[command].lstrip())]
    kept[command + 1 : command + 1] = _rendered(params, indent) if params else []
    return "\n".join([*lines[:start], *kept, *lines[end:]])


def differences(
    path: Path = ROOT / GRAPH, code: Code | None = None, write: bool = False
) -> dict[str, tuple[list[str], list[str]]]:
    """DVC's stage → (params that it lacks, params that it lists for nothing); puts the file right where ``write``."""
    text = read_text(path)
    code, found = code or read_code(), {}
    for name, definition in definitions(path).items():
        expected = expected_params(name, definition, code)
        listed, wanted = _names(definition.get("params", [])), _names(expected)
        if listed != wanted:
            found[name] = sorted(wanted - listed), sorted(listed - wanted)
            text = _with_params(text, name, expected)
    if write and found:
        write_atomic(path, text.encode())
    return found


def data_read(
    stage: str, part: str, preset: str, lock: Mapping[str, Mapping[str, str]], path: Path = Path(GRAPH)
) -> dict[str, str]:
    """Path → hash of the data that a stage (and part) reads, from the outs of ``lock``: stage → path → hash.

    A dep may be a folder of several outs: each of them counts. It may be a table in an out: that out counts.
    """
    read: set[str] = set()
    for definition in (definitions(path) if path.exists() else {}).values():
        words = definition["cmd"].split()
        named = words[words.index("--part") + 1] if "--part" in words else ""
        if stage_of(definition) == stage and named in ("", "${item}", part):
            read |= {dep.replace("${preset}", preset) for dep in definition.get("deps", [])}
    outs = {out: digest for made in lock.values() for out, digest in made.items()}
    read |= {str(Path(dep).parent) for dep in read if dep.endswith("/clips.parquet")}
    return {out: digest for out, digest in outs.items() if any(Path(out).is_relative_to(dep) for dep in read)}
