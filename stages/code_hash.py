"""What a Python file computes, as one hash: its syntax tree without what cannot change a result.

Left out: comments and formatting (never in the tree), docstrings, type annotations, imports that only annotations use,
blocks under ``if TYPE_CHECKING``, and the order of imports. Kept although it is an annotation: that of a field in a
class body that names ``ClassVar``, ``InitVar`` or ``KW_ONLY``, and every field of a settings class, since settings are
converted by their annotations. The hash is the same under every Python version that parses the file to the same tree
(empty fields are left out, which is where 3.11, 3.12 and 3.13 differ).
"""

from __future__ import annotations

import ast
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

SKIPPED_FIELDS = frozenset({"annotation", "returns", "ctx", "type_comment", "type_ignores", "kind"})
KEPT_ANNOTATIONS = ("ClassVar", "InitVar", "KW_ONLY")
STATEMENTS = ("body", "orelse", "finalbody", "handlers", "cases")  # the fields that hold statements
CONVERTED_BY_ANNOTATION = "s3dnerf/settings/"
DIGITS = 16  # of the hash: 64 bits are plenty against chance, and the lock stays small


@dataclass(frozen=True)
class Source:
    """One file of the project: the hash of what it computes, the dotted names that it imports (relative ones resolved),
    and whether it computes nothing at all, as a package's ``__init__.py`` that holds a docstring alone.
    """

    digest: str
    imports: frozenset[str]
    empty: bool = False


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _checks_types_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and (
        (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")
        or (isinstance(node.test, ast.Attribute) and node.test.attr == "TYPE_CHECKING")
    )


def _body(node: ast.AST, body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of a body that can change a result."""
    documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    if documented and body and _is_docstring(body[0]):
        body = body[1:]
    return [statement for statement in body if not _checks_types_only(statement)]


class _Dump:
    """The tree as text, without what cannot change a result."""

    def __init__(self, tree: ast.Module, name: str) -> None:
        self.converted = name.startswith(CONVERTED_BY_ANNOTATION)
        self.used: set[str] = set()
        self.imports: list[tuple[str, str | None]] = []  # (text, name that it binds; None: kept whatever it binds)
        rest = self.of(tree)
        kept = sorted(text for text, bound in self.imports if bound is None or bound in self.used)
        self.text = "\n".join([*kept, rest])

    def of(self, value: object, in_class: bool = False) -> str:
        if isinstance(value, list):
            return "[" + ",".join(text for text in (self.of(item, in_class) for item in value) if text) + "]"
        if not isinstance(value, ast.AST):
            return repr(value)
        if isinstance(value, (ast.Import, ast.ImportFrom)):
            return self._import(value)
        if isinstance(value, ast.Name):
            self.used.add(value.id)
        elif isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value.isidentifier():
            self.used.add(value.value)  # a name in __all__ or getattr
        fields = []
        for field in value._fields:
            item = getattr(value, field, None)
            if item is None or (field in SKIPPED_FIELDS and not self._keeps(value, field, in_class)):
                continue
            if field == "body" and isinstance(item, list):
                item = _body(value, item)
            if field == "values" and isinstance(value, ast.JoinedStr):  # 3.12 puts an empty text after a nested format
                item = [part for part in item if not (isinstance(part, ast.Constant) and part.value == "")]
            if item == []:
                continue
            fields.append(f"{field}={self.of(item, isinstance(value, ast.ClassDef))}")
        return f"{type(value).__name__}({' '.join(fields)})"

    def _keeps(self, node: ast.AST, field: str, in_class: bool) -> bool:
        if field != "annotation" or not in_class or not isinstance(node, ast.AnnAssign):
            return False
        named = {part.id for part in ast.walk(node.annotation) if isinstance(part, ast.Name)}
        return self.converted or bool(named & set(KEPT_ANNOTATIONS))

    def _import(self, node: ast.Import | ast.ImportFrom) -> str:
        """Imports stand sorted at the head of the text; ``from … import`` of names that nothing uses is dropped."""
        for alias in node.names:
            if isinstance(node, ast.ImportFrom):
                if node.module != "__future__":
                    text = f"from {'.' * node.level}{node.module or ''} import {alias.name} as {alias.asname}"
                    self.imports.append((text, alias.asname or alias.name))
            else:
                self.imports.append((f"import {alias.name} as {alias.asname}", None))
        return ""


def _imported(tree: ast.AST, package: str) -> frozenset[str]:
    """Dotted names that a tree imports anywhere in it, in functions as well; not under ``if TYPE_CHECKING``."""
    names: set[str] = set()
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and _checks_types_only(node):
            todo += node.orelse
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        for field in STATEMENTS:  # no expression holds an import
            todo += getattr(node, field, ())
    return frozenset(names)


def read_source(path: Path, name: str, package: str) -> Source:
    """One file.

    Parameters
    ----------
    path : Path
    name : str
        Its path in the repository, with slashes.
    package : str
        The dotted package that its relative imports start from.

    Raises
    ------
    SyntaxError
        When it is a Python file that does not parse.
    """
    return _source_of(path.read_bytes(), path.suffix == ".py", name, package)


@functools.lru_cache(maxsize=1024)  # an auditor looks at the same few hundred files again and again
def _source_of(data: bytes, is_python: bool, name: str, package: str) -> Source:
    if not is_python:  # a template: every byte of it is shown
        return Source(hashlib.sha256(data).hexdigest()[:DIGITS], frozenset())
    tree = ast.parse(data, filename=name)
    digest = hashlib.sha256(_Dump(tree, name).text.encode()).hexdigest()[:DIGITS]
    return Source(digest, _imported(tree, package), not _body(tree, tree.body))


def function_hashes(text: str) -> dict[str, tuple[str, int]]:
    """Qualified name → (hash, first line) of each function and method of a file, and ``<module>`` at line 0 for the
    rest.

    A function inside another one belongs to it.
    """
    tree = ast.parse(text)
    found: dict[str, tuple[str, int]] = {}

    def digest(node: ast.stmt) -> str:
        return hashlib.sha256(_Dump(ast.Module([node], []), "").text.encode()).hexdigest()[:DIGITS]

    def take(body: list[ast.stmt], above: str) -> list[ast.stmt]:
        rest: list[ast.stmt] = []
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                found[f"{above}{node.name}"] = digest(node), first
            elif isinstance(node, ast.ClassDef):
                node.body = take(node.body, f"{above}{node.name}.")
                rest.append(node)
            else:
                rest.append(node)
        return rest

    tree.body = take(tree.body, "")
    found["<module>"] = hashlib.sha256(_Dump(tree, "").text.encode()).hexdigest()[:DIGITS], 0
    return found
