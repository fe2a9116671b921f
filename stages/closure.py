"""The static import closure of a module inside the project: a stage's code deps, and its code version.

``dvc.yaml`` lists the closure of each stage as deps (``s3dnerf deps --write`` fills them, a test compares), and its
hash keys the pack store. Imports are read from the source, so an import inside a function counts as well.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("s3dnerf", "stages")
TEMPLATES = (".html", ".css", ".js")  # read by modules beside them


def _module_file(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imports(path: Path, package: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = (
                ".".join(
                    [
                        *package.split(".")[: len(package.split(".")) - node.level + 1],
                        *([node.module] if node.module else []),
                    ]
                )
                if node.level
                else (node.module or "")
            )
            names.add(base)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in PACKAGES}


def _templates(modules: set[Path]) -> set[Path]:
    """Templates beside these modules that one of them names, or another such template."""
    beside = {data for path in modules for data in path.parent.iterdir() if data.suffix in TEMPLATES}
    found: set[Path] = set()
    while True:
        text = "".join(path.read_text(encoding="utf-8") for path in modules | found)
        named = {data for data in beside if data.name in text}
        if named == found:
            return found
        found = named


@functools.cache
def closure(module: str) -> tuple[str, ...]:
    """Files (relative to the repository root, sorted) that ``module`` imports, itself included, with the templates they
    name.

    Raises ValueError when the module is not a file of the project.
    """
    if _module_file(module) is None:
        raise ValueError(f"{module}: no such module in the project")
    found: dict[str, Path] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        path = _module_file(name)
        if name in found or path is None:
            continue
        found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        todo += [".".join(name.split(".")[:i]) for i in range(1, name.count(".") + 1)]
        todo += _imports(path, package)
    return tuple(sorted(str(path.relative_to(ROOT)) for path in {*found.values(), *_templates(set(found.values()))}))


@functools.cache
def code_version(module: str) -> str:
    """Hex hash of the closure's files, names and bytes."""
    digest = hashlib.sha256()
    for name in closure(module):
        data = (ROOT / name).read_bytes()
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:16]
