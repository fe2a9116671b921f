"""Bounds that can fail, and margins that belong to tests which are there."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.margins import SETTINGS, margins, rows_of, table
from tests.margins import Between, Margin


@pytest.mark.parametrize(
    "bound, value, room",
    [
        (Between(low=0.7), 0.8, 0.1),
        (Between(high=0.7), 0.8, -0.1),
        (Between(0.4, 0.6), 0.45, 0.05),
        (Between(high=0), 0, 0),
        (Between(0, 1), math.nan, -math.inf),
    ],
)
def test_room_is_the_distance_to_the_nearer_bound(bound: Between, value: float, room: float) -> None:
    assert bound.room(value) == pytest.approx(room)


def test_what_is_out_of_bounds_or_without_one_fails_and_is_named() -> None:
    margin = Margin("test_x", lambda seed, folder: {"a": 0.5, "b": 2.0}, {"a": Between(low=0.4), "b": Between(high=3)})
    margin.check(margin.measure(0, Path()))
    with pytest.raises(AssertionError, match="a is 0.3, must be at least 0.4"):
        margin.check({"a": 0.3, "b": 2.0})
    with pytest.raises(AssertionError, match="bounds for"):
        margin.check({"a": 0.5})


def test_every_margin_names_a_test_of_its_module() -> None:
    found = margins([""])
    assert {"tests/training/test_train_sync.py", "tests/sync/test_judge.py", "tests/model/test_s3dnerf.py"} <= {
        file for file, _ in found
    }
    for file, margin in found:
        assert f"def {margin.test}(" in Path(__file__).parents[1].joinpath(file).read_text(encoding="utf-8"), (
            file,
            margin.test,
        )


def test_the_table_gives_the_worst_of_seeds_and_settings() -> None:
    file, margin = next((f, m) for f, m in margins(["test_statistics"]) if m.test == "test_intervals_cover")
    values = {("default", 0): 0.95, ("default", 1): 0.97, ("avx2", 0): 0.91, ("avx2", 1): 0.93}
    measured = [
        {
            "file": file,
            "test": margin.test,
            "seed": seed,
            "setting": setting,
            "numbers": {"intervals that hold the mean": value},
        }
        for (setting, seed), value in values.items()
    ]
    (row,) = rows_of(measured, ["test_statistics"])
    assert (row["least"], row["median"], row["greatest"], row["measured"]) == (0.91, 0.94, 0.97, 4) and set(
        SETTINGS
    ) > {"default", "avx2"}
    assert row["room"] == pytest.approx(0.01) and row["worst_at"]["setting"] in ("default", "avx2")
    assert row["by_setting"] == {"default": [0.95, 0.97], "avx2": [0.91, 0.93]}
    assert "0.91 | 0.94 | 0.97 | 0.01" in table([row])
