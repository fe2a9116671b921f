"""The built wheel in an environment of its own, away from the checkout: what is in it, and that its commands need only
the packages that it declares.

The environment holds links to just those installed packages that the wheel's requirements reach, so that anything that
is imported and not declared is missing. Nothing is downloaded.
"""

from __future__ import annotations

import email
import importlib.metadata
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of what lies here, built in a copy: the checkout is left as it is."""
    top = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "reports/", "benchmarks/")):
            (top / "code" / name).parent.mkdir(parents=True, exist_ok=True)
            (top / "code" / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    subprocess.run([*pip, "-w", str(top), "."], cwd=top / "code", check=True, capture_output=True, env=clean)
    return next(top.glob("*.whl"))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_string(opened.read(name).decode())


def reached(metadata: Message) -> set[str]:
    """The packages that the wheel's requirements without extras reach, as far as they are installed here."""
    found: set[tuple[str, str]] = set()
    todo = [(Requirement(text), "") for text in metadata.get_all("Requires-Dist") or []]
    while todo:
        each, extra = todo.pop()
        if each.marker is not None and not each.marker.evaluate({"extra": extra}):
            continue
        for inner in each.extras or {""}:
            if (each.name, inner) not in found:
                found.add((each.name, inner))
                todo += [(Requirement(need), inner) for need in importlib.metadata.requires(each.name) or []]
    return {canonicalize_name(name) for name, _ in found}


@pytest.fixture(scope="module")
def place(wheel: Path, metadata: Message, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it declares, and an empty folder beside it."""
    top = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(top / "venv")], check=True)
    (site,) = (top / "venv").glob("lib/python3*/site-packages")
    for name in reached(metadata):
        distribution = importlib.metadata.distribution(name)
        for entry in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            source = Path(str(distribution.locate_file(entry)))
            if source.exists() and not (site / entry).exists():
                (site / entry).symlink_to(source)
    pip = [sys.executable, "-m", "pip", "--python", str(top / "venv/bin/python"), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--no-compile", str(wheel)], check=True, capture_output=True)
    (top / "empty").mkdir()
    return top


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Run:
    """A command of the wheel, typed in the empty folder, or in another."""

    def typed(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        clean = {"PATH": f"{place / 'venv/bin'}:/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
        command = [str(place / "venv/bin/s3dnerf"), *words]
        return subprocess.run(command, cwd=folder or place / "empty", env=clean, capture_output=True, text=True)

    return typed


def test_what_is_in_it(wheel: Path, metadata: Message) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    for name in (
        "s3dnerf/pretrained/generator.safetensors", "s3dnerf/pretrained/card.json", "s3dnerf/pretrained/README.md",
        "s3dnerf/reporting/page.css", "s3dnerf/reporting/page.js", "s3dnerf/reporting/page.html", "flows/page/page.css",
        *(f"s3dnerf/settings/presets/{preset}.yaml" for preset in ("tiny", "sample", "mini", "paper")),
    ):  # fmt: skip
        assert name in names
    for path in (*ROOT.glob("s3dnerf/**/*.py"), *ROOT.glob("stages/*.py"), *ROOT.glob("flows/**/*.py")):
        assert path.relative_to(ROOT).as_posix() in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "reports/", "data/"))]
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    assert metadata["License-Expression"] == "MIT" and metadata["License-File"] == "LICENSE"
    assert metadata["Description-Content-Type"] == "text/markdown" and "S³D-NeRF" in str(metadata.get_payload())
    classifiers = metadata.get_all("Classifier") or []
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(classifiers)
    assert not metadata.get_all("Home-page")


def test_version_and_doctor_work_in_an_empty_folder(run: Run) -> None:
    assert run("--version").stdout.startswith("s3dnerf ")
    said = run("doctor")
    assert said.returncode == 1 and said.stderr == "" and "whisper    missing: s3dnerf fetch whisper" in said.stdout
    assert "pip install 's3dnerf[pipeline]' brings " in said.stdout and "memory " in said.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve"], "needs Gradio, which is not installed: pip install 's3dnerf[serve]'"),
        (["fetch"], "got no name outside of a project: expected one of lpips, whisper"),
        (["report"], "no project here or in a folder above"),
        (["code", "status"], "an installed package, expected a checkout"),
        (["deps"], "an installed package, expected a checkout"),
        (["doctor", "lpips"], "outside of a project, expected neither"),
        (["verify", "gone.mp4"], "gone.mp4: no such file"),
        (["synthesize"], "--portrait, --speech, --out: missing"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(words: list[str], said: str, run: Run) -> None:
    done = run(*words)
    assert done.returncode and said in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.replace("(S3DNERF_TRACEBACK=1 shows where)\n", "").splitlines()) == 1


def test_in_a_project_the_pipeline_s_extra_is_named(run: Run, tmp_path: Path) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = run("run", folder=tmp_path)
    assert done.returncode == 1 and "needs dvc, which is not installed: pip install 's3dnerf[pipeline]'" in done.stderr
    assert "replacement" in run("doctor", folder=tmp_path).stdout


def test_videos_are_measured_with_what_it_declares(run: Run, shared: Path, tmp_path: Path) -> None:
    """``evaluate`` needs neither pandas nor any other package of the extras."""
    import shutil

    videos = sorted((shared / "corpora/HDTF/clips").glob("*.mp4"), key=lambda path: path.stat().st_size)
    (tmp_path / "made").mkdir()
    shutil.copy(videos[0], tmp_path / "made")
    done = run("evaluate", "--generated", str(tmp_path / "made"), "--table", str(tmp_path / "rows.csv"))
    assert done.returncode == 0, done.stderr
    assert "1 of 1 videos scored" in done.stdout and done.stderr == ""
    assert (tmp_path / "rows.csv").read_text().startswith("clip,corpus,speaker,method,metric,value,")


def test_a_portrait_speaks_with_what_it_declares(run: Run, shared: Path, tmp_path: Path) -> None:
    """``synthesize`` with the generator in the package; the speech features' weights are this checkout's."""
    weights = ROOT / "weights/whisper_tiny_en.safetensors"
    if not weights.exists():
        pytest.skip("needs Whisper's weights: s3dnerf fetch whisper")
    own = tmp_path / ".local/share/s3dnerf/weights"
    own.mkdir(parents=True)
    (own / weights.name).symlink_to(weights)
    portrait, speech = shared / "inputs/may.jpg", shared / "inputs/s04.wav"
    words = ["--portrait", str(portrait), "--speech", str(speech), "--out", str(tmp_path / "made.mp4")]
    done = run("synthesize", *words)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made.mp4").stat().st_size > 10_000
