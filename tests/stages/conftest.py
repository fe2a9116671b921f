"""A drawn preset, evaluated: what the tests of the stage ``report`` work on."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages import evaluate
from stages.context import Context
from tests.fake_preset import DrawnFaces, FakeJudge, make_preset, settings_of


def build(root: Path, monkeypatch, passes: bool = True) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setattr("s3dnerf.evaluation.tools.face_backend", lambda settings: DrawnFaces())
    monkeypatch.setattr("s3dnerf.sync.judge.sync_judge", lambda settings, trained: FakeJudge())
    make_preset(root, settings_of(), passes)
    evaluate.main(Context(settings_of(), "evaluate"))


@pytest.fixture(scope="module")
def preset(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        build(root, patch)
    return root


@pytest.fixture
def here(preset: Path, monkeypatch) -> Path:
    monkeypatch.chdir(preset)
    return preset
