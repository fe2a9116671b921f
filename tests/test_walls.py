"""The rules of the house, held over its source: who imports whom, how long a file is, what an error derives from, what
is documented. Each rule is shown to fail on a small house that breaks it.
"""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "s3dnerf": {"prefect", "dvc", "mlflow", "stages", "flows"},
    "stages": {"prefect", "dvc", "mlflow", "flows"},
    "flows": set[str](),
}
LONGEST = 400
Trees = Mapping[str, ast.Module]  # by module name


def module_name(path: Path) -> str:
    """``s3dnerf/model/__init__.py`` → ``s3dnerf.model``"""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


@pytest.fixture(scope="module")
def house() -> Trees:
    paths = [path for package in FORBIDDEN for path in sorted((ROOT / package).rglob("*.py"))]
    return {module_name(p.relative_to(ROOT)): ast.parse(p.read_text(encoding="utf-8")) for p in paths}


def small_house(**sources: str) -> Trees:
    """Modules by name, ``__`` for a dot."""
    return {name.replace("__", "."): ast.parse(source) for name, source in sources.items()}


def imported(tree: ast.Module) -> set[str]:
    """Full names that a file imports anywhere in it: ``from a import b`` gives ``a`` and ``a.b``."""
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def wrong_way(trees: Trees) -> set[tuple[str, str]]:
    """Imports from a package that a module must not know."""
    return {
        (module, name)
        for module, tree in trees.items()
        for name in imported(tree)
        if name.partition(".")[0] in FORBIDDEN[module.partition(".")[0]]
    }


def circles(trees: Trees) -> list[list[str]]:
    """Modules that import each other, imports inside functions included: the strongly connected components of more than
    one module (Tarjan 1972).
    """
    graph = {module: sorted((imported(tree) & trees.keys()) - {module}) for module, tree in trees.items()}
    # a package's own __init__ holds no code: that a module lies in it is no import
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in graph[module]:
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            at = stack.index(module)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1:
                found.append(sorted(component))

    for module in graph:
        if module not in order:
            visit(module)
    return found


def errors_of_their_own(trees: Trees) -> set[tuple[str, str]]:
    """Error classes that derive from Python's directly and not from S3DNeRFError, which alone may."""
    python = {n for n, v in vars(builtins).items() if isinstance(v, type) and issubclass(v, BaseException)}
    return {
        (module, node.name)
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name != "S3DNeRFError"
        for bases in [{base.id for base in node.bases if isinstance(base, ast.Name)}]
        if bases & python and "S3DNeRFError" not in bases
    }


def prints(trees: Trees) -> set[str]:
    """Modules of ``s3dnerf`` and ``stages`` that print on stdout elsewhere than in a program's ``main``."""
    found = set[str]()

    def visit(node: ast.AST, module: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef) and child.name == "main" and isinstance(node, ast.Module):
                continue
            if isinstance(child, ast.Call) and isinstance(child.func, ast.Name) and child.func.id == "print":
                if not any(keyword.arg == "file" for keyword in child.keywords):
                    found.add(module)
            visit(child, module)

    for module, tree in trees.items():
        if module.partition(".")[0] != "flows":
            visit(tree, module)
    return found


def undocumented(trees: Trees) -> set[str]:
    """Public modules, classes, functions and methods of ``s3dnerf`` without a docstring."""
    found = set[str]()

    def visit(node: ast.Module | ast.ClassDef, name: str) -> None:
        for child in node.body:
            if isinstance(child, (ast.ClassDef, ast.FunctionDef)) and not child.name.startswith("_"):
                full = f"{name}.{child.name}"
                if ast.get_docstring(child) is None:
                    found.add(full)
                if isinstance(child, ast.ClassDef):
                    visit(child, full)

    for module, tree in trees.items():
        if module.partition(".")[0] == "s3dnerf":
            if ast.get_docstring(tree) is None:
                found.add(module)
            visit(tree, module)
    return found


def test_imports_run_one_way(house: Trees) -> None:
    broken = small_house(
        s3dnerf__a="from stages import store", stages__b="import mlflow.entities", flows__c="import dvc"
    )
    assert wrong_way(broken) == {
        ("s3dnerf.a", "stages"),
        ("s3dnerf.a", "stages.store"),
        ("stages.b", "mlflow.entities"),
    }
    assert not wrong_way(house)


def test_no_import_goes_round_in_a_circle(house: Trees) -> None:
    broken = small_house(
        flows__a="import flows.b",
        flows__b="def late():\n    from flows import c",
        flows__c="from flows.a import thing",
        flows__d="import flows.a, flows.e",
        flows__e="",
    )
    assert circles(broken) == [["flows.a", "flows.b", "flows.c"]]
    assert not circles(house)


def test_a_file_is_one_subject() -> None:
    folders = (*FORBIDDEN, "tests", "benchmarks", "examples", "docs")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert len(lines) > 300
    assert {path: count for path, count in lines.items() if count > LONGEST} == {}


def test_an_error_raised_on_purpose_has_our_base_class(house: Trees) -> None:
    broken = small_house(
        s3dnerf__a="class Bad(ValueError): ...\nclass Good(S3DNeRFError, ValueError): ...",
        flows__b="def f():\n    class Hidden(Exception): ...",
    )
    assert errors_of_their_own(broken) == {("s3dnerf.a", "Bad"), ("flows.b", "Hidden")}
    assert not errors_of_their_own(house)


def test_the_library_and_the_stages_log_and_do_not_print(house: Trees) -> None:
    broken = small_house(
        s3dnerf__a="def main():\n    print(1)",
        s3dnerf__b="import sys\nprint(1, file=sys.stderr)",
        stages__c="class C:\n    def main(self):\n        print(1)",
        flows__d="print(1)",
    )
    assert prints(broken) == {"stages.c"}
    assert not prints(house)


def test_what_is_public_is_documented(house: Trees) -> None:
    broken = small_house(
        s3dnerf__a='"""Doc."""\ndef f(): ...\nclass C:\n    """Doc."""\n    def m(self): ...\n    def _n(self): ...',
        s3dnerf__b="",
        flows__c="def g(): ...",
    )
    assert undocumented(broken) == {"s3dnerf.a.f", "s3dnerf.a.C.m", "s3dnerf.b"}
    assert not undocumented(house)


MODEL_LIBRARY = [
    "s3dnerf.settings.schema",
    "s3dnerf.model.s3dnerf",
    "s3dnerf.model.discriminator",
    "s3dnerf.sync.expert",
    "s3dnerf.training.losses",
    "s3dnerf.training.train_s3dnerf",
    "s3dnerf.training.train_sync",
    "s3dnerf.synthesis.synthesizer",
]


def test_the_model_library_needs_only_torch_numpy_scipy_and_skimage() -> None:
    """Imported in a process where everything else that this project installs cannot be found."""
    code = f"""
import sys
class Wall:
    names = {{"av", "pandas", "pyarrow", "yaml", "cv2", "decord", "dlib", "insightface", "onnxruntime", "transformers",
             "jaxtyping", "beartype", "prefect", "dvc", "mlflow", "rich", "tyro", "jinja2", "psutil", "matplotlib",
             "imageio_ffmpeg", "pydantic"}}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Wall())
import importlib
for name in {MODEL_LIBRARY!r}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


WITHOUT_NETWORKS = [  # at the preset tiny; what they import in functions is not looked at
    *(f"stages.{name}" for name in ("inventory", "ingest", "resample", "align", "masks", "lips", "speech", "report")),
    "s3dnerf.evaluation.protocol",
    "flows.audit",
    "flows.doctor",
    "flows.enough_speakers",
    "flows.run",
]


def test_what_runs_no_network_does_not_import_torch() -> None:
    """Its import takes longer than all else in the start of such a stage or command."""
    code = f"""
import importlib, sys
for name in {WITHOUT_NETWORKS!r}:
    importlib.import_module(name)
    assert "torch" not in sys.modules, name
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
