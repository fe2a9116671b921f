"""An earlier generator measured again: the real stage ``evaluate`` in the second worktree, at a small size."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from flows.champion import Registry
from flows.code_copies import copy_working_tree, without_results
from flows.git_calls import git_text
from flows.retrain import worktree
from flows.retrain.judging import values_of
from flows.retrain.plan import Plan
from flows.retrain.rescoring import measured_again
from s3dnerf.core.yaml_text import dump_yaml
from s3dnerf.settings.loading import as_dict
from tests.fake_preset import make_generator, make_preset, settings_of
from tests.flows.retrain.played import git, report_of
from tests.reporting.small_report import rows_of

ROOT = Path(__file__).resolve().parents[3]
VARIANTS = ("full", "no_deform")
FEW = {"judge": "syncnet", "corpora": ["hdtf"], "landmark_every": 6, "clip_s": 0.8}


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_an_earlier_generator_is_measured_by_the_stage_itself(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In place of the one that was trained tonight, with tonight's data, which stay as they are."""
    monkeypatch.setenv("S3DNERF_RUNNER", "inline")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    caplog.set_level("INFO", "flows")
    settings = settings_of(train={"variants": list(VARIANTS)}, evaluate=FEW)
    copy_working_tree(ROOT, tmp_path)
    without_results(tmp_path)
    (tmp_path / "params.yaml").write_text(dump_yaml(as_dict(settings)))
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "copy")
    shutil.copyfile(database, tmp_path / "mlflow.db")

    first = tmp_path / "first"
    make_generator(first, settings)
    network = (first / "generator.safetensors").read_bytes()
    version = Registry("tiny", f"sqlite:///{tmp_path / 'mlflow.db'}").register(first, "a" * 40, "the first")
    revision = git_text(tmp_path, "rev-parse", "HEAD")
    place = worktree.worktree(tmp_path, revision)
    make_preset(place, settings)
    (place / "data/tiny/train_s3dnerf/full/generator.safetensors").write_bytes(b"the one of tonight, which is not read")
    before = tree(place / "data")

    plan = Plan(tmp_path, place, "main", revision, settings, remote=False)
    tonight = report_of(rows_of())
    again = measured_again(plan, version, tonight)
    assert tree(place / "data") == before and again.document == tonight.document
    scratch = tmp_path / worktree.SCRATCH
    assert (scratch / "data/tiny/train_s3dnerf/full/generator.safetensors").read_bytes() == network
    assert {row["method"] for row in again.rows} == {"s3dnerf", "still", "truth", "wrong_speech"}
    ssim = values_of(again, "s3dnerf", "ssim")
    assert {corpus: len(clips) for corpus, clips in ssim.items()} == {"hdtf": 3}
    assert "evaluate: 3 test clips of hdtf, 0 from the store" in caplog.text

    # kept in the store of the main checkout: what is measured twice by equal means is computed once
    assert len(list((tmp_path / ".packs/evaluate").iterdir())) == 3
    listed = subprocess.run(["git", "status", "--porcelain"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "first/" in listed.stdout and ".worktrees" not in listed.stdout
