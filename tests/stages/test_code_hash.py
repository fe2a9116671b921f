"""The hash of a file stays for what cannot change a result, and moves with everything that can."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.code_hash import function_hashes, read_source

PLAIN = '''"""A module."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LIMIT = 3


class Box:
    """A class."""

    side: float = 1.0
    name: str

    def area(self, scale: float = 2.0) -> float:
        """Its area."""
        total: float = self.side**2 * scale
        return total


def load(path: Path) -> Any:
    return json.loads(path.read_text())
'''


def digest(tmp_path: Path, text: str, name: str = "s3dnerf/box.py") -> str:
    path = tmp_path / "file.py"
    path.write_text(text)
    return read_source(path, name, "s3dnerf").digest


SAME = {
    "docstring": ('"""Its area."""', '"""The area, in pixels."""'),
    "no docstring": ('    """A class."""\n', ""),
    "comment": ("LIMIT = 3", "LIMIT = 3  # measured"),
    "formatting": ("LIMIT = 3", "LIMIT = (\n    3\n)"),
    "argument's annotation": ("scale: float = 2.0", "scale: int | float = 2.0"),
    "return annotation": ("-> Any:", "-> dict[str, int]:"),
    "a field's annotation": ("side: float = 1.0", "side: int = 1.0"),
    "a local annotation": ("total: float =", "total: int ="),
    "import for an annotation alone": ("from typing import Any\n", "from typing import Any, Callable\n"),
    "order of imports": ("import json\nfrom pathlib import Path\n", "from pathlib import Path\nimport json\n"),
    "imports of types": (
        "LIMIT = 3",
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from s3dnerf.other import Thing\n\nLIMIT = 3",
    ),
}
OTHER = {
    "a constant": ("LIMIT = 3", "LIMIT = 4"),
    "a default": ("scale: float = 2.0", "scale: float = 3.0"),
    "a default of a field": ("side: float = 1.0", "side: float = 2.0"),
    "a statement": ("return total", "return total + 1"),
    "a text": ("path.read_text()", 'path.read_text("ascii")'),
    "a name": ("LIMIT = 3", "LIMITS = 3"),
    "a used import": ("import json\n", "import orjson as json\n"),
    "a class variable": ("side: float = 1.0", "side: ClassVar[float] = 1.0"),
    "a field": ("    name: str\n", ""),
    "a decorator": ("    def area", "    @property\n    def area"),
}


@pytest.mark.parametrize("edit", SAME)
def test_what_cannot_change_a_result_leaves_the_hash(tmp_path: Path, edit: str) -> None:
    before, after = SAME[edit]
    assert before in PLAIN
    assert digest(tmp_path, PLAIN.replace(before, after, 1)) == digest(tmp_path, PLAIN)


@pytest.mark.parametrize("edit", OTHER)
def test_what_can_change_a_result_moves_it(tmp_path: Path, edit: str) -> None:
    before, after = OTHER[edit]
    assert before in PLAIN
    assert digest(tmp_path, PLAIN.replace(before, after, 1)) != digest(tmp_path, PLAIN)


def test_a_settings_class_is_converted_by_its_annotations(tmp_path: Path) -> None:
    other = PLAIN.replace("side: float = 1.0", "side: int = 1.0")
    name = "s3dnerf/settings/schema.py"
    assert digest(tmp_path, PLAIN, name) != digest(tmp_path, other, name)


def test_imports_are_found_in_functions_and_relative_ones_resolved(tmp_path: Path) -> None:
    path = tmp_path / "file.py"
    path.write_text("from . import near\ndef f():\n    from s3dnerf.deep.c import thing\n    import numpy.linalg\n")
    found = read_source(path, "s3dnerf/file.py", "s3dnerf").imports
    assert {"s3dnerf.near", "s3dnerf.deep.c", "numpy.linalg"} <= found


def test_a_package_that_only_says_what_it_is_computes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file.py"
    path.write_text('"""A package."""\n')
    assert read_source(path, "s3dnerf/__init__.py", "s3dnerf").empty
    path.write_text('"""A package."""\nx = 1\n')
    assert not read_source(path, "s3dnerf/__init__.py", "s3dnerf").empty


def test_functions_are_told_apart_by_name_and_what_they_compute() -> None:
    before, after = function_hashes(PLAIN), function_hashes(PLAIN.replace("return total", "return total + 1"))
    assert set(before) == {"Box.area", "load", "<module>"}
    assert [name for name in before if before[name][0] != after[name][0]] == ["Box.area"]
    moved = function_hashes(PLAIN.replace("LIMIT = 3", "\n\nLIMIT = 4"))
    assert [name for name in before if before[name][0] != moved[name][0]] == ["<module>"]
    assert moved["load"][1] == before["load"][1] + 2
