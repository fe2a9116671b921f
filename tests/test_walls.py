"""The walls of the house: imports run flows -> stages -> s3dnerf, and only flows knows prefect, dvc and mlflow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "s3dnerf": {"prefect", "dvc", "mlflow", "stages", "flows"},
    "stages": {"prefect", "dvc", "mlflow", "flows"},
    "flows": set(),
}
FILES = [path for package in FORBIDDEN for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert not imported(path) & FORBIDDEN[package]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_is_one_subject(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


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
    names = {{"pandas", "pyarrow", "yaml", "cv2", "decord", "dlib", "insightface", "onnxruntime", "transformers", "jaxtyping", "beartype", "prefect",
             "dvc", "mlflow", "rich", "tyro", "jinja2", "psutil", "matplotlib", "imageio_ffmpeg", "pydantic"}}
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
