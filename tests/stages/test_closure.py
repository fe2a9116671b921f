"""Import closures: what a stage imports, at the top or inside a function, and nothing else."""

from __future__ import annotations

import pytest

from stages import closure as closures


@pytest.fixture
def tree(tmp_path, monkeypatch):
    files = {
        "stages/__init__.py": "",
        "stages/a.py": "from s3dnerf import b\nimport numpy\ndef f():\n    from s3dnerf.deep.c import thing\n",
        "stages/other.py": "x = 1\n",
        "s3dnerf/__init__.py": "",
        "s3dnerf/b.py": "from .deep import d\n",
        "s3dnerf/unused.py": "",
        "s3dnerf/deep/__init__.py": "",
        "s3dnerf/deep/c.py": "thing = 1\n",
        "s3dnerf/deep/d.py": "import s3dnerf.b\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(closures, "ROOT", tmp_path)
    for cached in (closures.closure, closures.code_version):
        cached.cache_clear()
        monkeypatch.setattr(closures, cached.__name__, cached)
    yield tmp_path
    closures.closure.cache_clear()
    closures.code_version.cache_clear()


def test_the_closure_is_what_is_imported_and_nothing_else(tree) -> None:
    assert closures.closure("stages.a") == (
        "s3dnerf/__init__.py", "s3dnerf/b.py", "s3dnerf/deep/__init__.py", "s3dnerf/deep/c.py", "s3dnerf/deep/d.py", "stages/__init__.py", "stages/a.py",
    )  # fmt: skip


def test_the_version_follows_the_closure_alone(tree) -> None:
    before = closures.code_version("stages.a")
    (tree / "s3dnerf/unused.py").write_text("y = 2\n")
    closures.code_version.cache_clear()
    assert closures.code_version("stages.a") == before
    (tree / "s3dnerf/deep/c.py").write_text("thing = 2\n")
    closures.code_version.cache_clear()
    assert closures.code_version("stages.a") != before


def test_an_unknown_module_is_named(tree) -> None:
    with pytest.raises(ValueError, match="stages.nobody"):
        closures.closure("stages.nobody")


def test_templates_count_where_they_are_named_by_a_module_or_by_one_that_is(tree) -> None:
    for name, text in {"x.html": "{% include 'y.html' %}", "y.html": "", "z.html": "", "s.css": ""}.items():
        (tree / "s3dnerf/deep" / name).write_text(text)
    (tree / "s3dnerf/deep/c.py").write_text("thing = 'x.html'\n")
    closures.closure.cache_clear()
    found = [name for name in closures.closure("stages.a") if not name.endswith(".py")]
    assert found == ["s3dnerf/deep/x.html", "s3dnerf/deep/y.html"] and "s3dnerf/deep/x.html" not in closures.closure(
        "stages.other"
    )
