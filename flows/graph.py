"""The code deps of ``dvc.yaml``: each stage lists the static import closure of its module.

``s3dnerf deps`` says what differs (exit 1), ``s3dnerf deps --write`` puts it right. What is not code (data, comments,
order) stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s3dnerf.core.yaml_text import load_yaml
from stages.closure import PACKAGES, closure


def module_of(definition: dict[str, Any]) -> str:
    """The stage module that a stage's command runs: ``python -m flows.run NAME …`` → ``stages.NAME``."""
    words = definition["cmd"].split()
    return f"stages.{words[words.index('flows.run') + 1]}"


def is_code(dep: str) -> bool:
    """Whether a dep is a file of the project's own packages: modules, and the templates beside them."""
    return dep.split("/")[0] in PACKAGES


def differences(path: Path = Path("dvc.yaml"), write: bool = False) -> dict[str, tuple[list[str], list[str]]]:
    """Stage → (code deps missing from the file, code deps it lists for nothing); puts them right where ``write``."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=2, offset=0)
    graph = yaml.load(path.read_text(encoding="utf-8"))
    found = {}
    for name, stage in graph["stages"].items():
        definition = stage["do"] if "do" in stage else stage
        expected = list(closure(module_of(definition)))
        listed = [dep for dep in definition["deps"] if is_code(dep)]
        missing = sorted(set(expected) - set(listed))
        extra = sorted((Counter(listed) - Counter(expected)).elements())  # twice is once too often
        if missing or extra:
            found[name] = (missing, extra)
        if write:
            data = [dep for dep in definition["deps"] if not is_code(dep)]
            deps = definition["deps"]
            del deps[:]
            deps.extend(data + expected)
            deps.fa.set_block_style()
    if write and found:
        with open(path, "w", encoding="utf-8") as handle:
            yaml.dump(graph, handle)
    return found


def data_read(
    stage: str, part: str, preset: str, lock: Mapping[str, Mapping[str, str]], path: Path = Path("dvc.yaml")
) -> dict[str, str]:
    """Path → hash of the data that a stage (and part) reads, from the outs of ``lock``: stage → path → hash.

    A dep may be a folder of several outs: each of them counts.
    """
    stages = load_yaml(path.read_bytes())["stages"].values() if path.is_file() else []
    read = set()
    for definition in (found.get("do", found) for found in stages):
        words = definition["cmd"].split()
        named = words[words.index("--part") + 1] if "--part" in words else ""
        if module_of(definition) == f"stages.{stage}" and named in ("", "${item}", part):
            read |= {dep.replace("${preset}", preset) for dep in definition["deps"] if not is_code(dep)}
    outs = {out: digest for made in lock.values() for out, digest in made.items()}
    return {out: digest for out, digest in outs.items() if any(Path(out).is_relative_to(dep) for dep in read)}
