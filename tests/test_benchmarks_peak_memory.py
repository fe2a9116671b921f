"""A program's peak memory is its own, also where a larger program started it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peak_memory import peak_memory_mb

ROOT = Path(__file__).resolve().parent.parent
SAY = "from benchmarks.peak_memory import peak_memory_mb; print(peak_memory_mb())"


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux's")
def test_a_small_program_of_a_large_one_is_small() -> None:
    held = np.ones(300_000_000 // 8)  # 300 MB, touched
    mine = peak_memory_mb()
    said = subprocess.run(
        [sys.executable, "-c", SAY],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert mine > 300 and 5 < float(said.stdout) < 100, (mine, said)
    del held


def test_what_was_held_and_given_back_counts() -> None:
    before = peak_memory_mb()
    np.ones(int(before + 200) * 1_000_000 // 8).sum()
    assert peak_memory_mb() > before + 150
