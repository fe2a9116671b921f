"""Where a benchmark's result comes from, and its file; and a result from where flows cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import record

ROOT = Path(__file__).resolve().parent.parent


def test_a_result_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    text = record.write(
        "small", {**record.origin("python -m benchmarks.small", "git", "hardware"), "times": 2.5, "of": "256²"}
    )
    found = json.loads((tmp_path / "small.json").read_text(encoding="utf-8"))
    assert json.loads(text) == found and list(found) == ["command", "date", "git", "hardware", "times", "of"]
    assert set(found["git"]) == {"revision", "dirty"} and found["hardware"]["cores"] >= 1


def test_only_the_facts_asked_for() -> None:
    assert list(record.origin("x")) == ["command", "date"] and list(record.origin("x", "git")) == [
        "command",
        "date",
        "git",
    ]
    with pytest.raises(KeyError):
        record.origin("x", "weather")


@pytest.mark.slow
def test_the_models_benchmark_needs_nothing_of_the_pipeline() -> None:
    code = "import sys; import benchmarks.model; benchmarks.model.origin('x'); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"flows", "stages", "psutil", "yaml", "pandas", "cv2"} & {name.partition(".")[0] for name in loaded}
