"""Whole-corpus distances: against the plain formulas, what controls and floor show, intervals over speakers."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from s3dnerf.metrics.distribution import fid, kid
from s3dnerf.reporting.distances import distances, halvings, nothing, tables

SPEAKERS, CLIPS, PICTURES, NUMBERS = 6, 2, 3, 8


def corpus(
    seed: int = 0, shift: dict[str, float] | None = None
) -> tuple[dict[tuple[str, ...], np.ndarray], list[dict[str, Any]]]:
    """Features of people who differ, and each method's shift from the truth; the clips' table."""
    random, features, rows = np.random.default_rng(seed), {}, []
    for s in range(SPEAKERS):
        person = random.normal(0, 1, NUMBERS)
        for c in range(CLIPS):
            clip = f"hdtf_{s}_{c}"
            rows.append({"clip": clip, "corpus": "hdtf", "speaker": f"P{s}"})
            truth = person + random.normal(0, 0.5, (PICTURES, NUMBERS))
            features[clip, "truth", "alexnet"] = truth
            for method, by in (shift or {"s3dnerf": 0.1, "wrong_speech": 0.3, "still": 1.0}).items():
                features[clip, method, "alexnet"] = truth + by + random.normal(0, 0.1, truth.shape)
    return features, rows


def together(features: dict[tuple[str, ...], np.ndarray], method: str, speakers: set[int]) -> np.ndarray:
    return np.concatenate(
        [v for (clip, m, _), v in sorted(features.items()) if m == method and int(clip.split("_")[1]) in speakers]
    )


def found_in(features: Any, rows: Any) -> dict[str, Any]:
    return distances(features, rows, {"inception": "switched off", "i3d": "no file"}, 400)


def test_the_value_is_that_of_the_plain_formula_over_all_pictures() -> None:
    features, rows = corpus()
    found = found_in(features, rows)
    everybody = set(range(SPEAKERS))
    for method in ("s3dnerf", "wrong_speech", "still"):
        x, y = (together(features, m, everybody) for m in (method, "truth"))
        cells = found["corpora"]["hdtf"]
        assert cells["kid_alexnet"][method]["value"] == pytest.approx(kid(x, y), abs=1e-5)
        assert cells["fid_alexnet"][method]["value"] == pytest.approx(fid(x, y), abs=1e-5)
        assert cells["kid_alexnet"][method]["pictures"] == SPEAKERS * CLIPS * PICTURES
        low, high = cells["kid_alexnet"][method]["low"], cells["kid_alexnet"][method]["high"]
        assert low <= cells["kid_alexnet"][method]["value"] <= high
        assert cells["fid_alexnet"][method]["low"] is None
    assert found["not_measured"] == {
        "kid_inception": "switched off", "fid_inception": "switched off", "fvd_i3d": "no file"
    }  # fmt: skip
    assert found["versions"]["kid_alexnet"] == "kid-alexnet-1" and found["numbers"]["kid_alexnet"] == NUMBERS


def test_the_other_half_is_the_mean_over_halvings_and_the_truths_own_is_the_floor() -> None:
    features, rows = corpus()
    cells = found_in(features, rows)["corpora"]["hdtf"]["kid_alexnet"]
    for method in ("truth", "s3dnerf", "still"):
        values = []
        for half in halvings(SPEAKERS, 200):
            first = {s for s in range(SPEAKERS) if half[s]}
            other = set(range(SPEAKERS)) - first
            values.append(kid(together(features, method, first), together(features, "truth", other)))
        assert cells[method]["other_half"] == pytest.approx(np.mean(values), abs=1e-5)
    assert cells["truth"]["value"] is None and cells["truth"]["other_half"] > 0  # people differ
    assert cells["truth"]["other_half"] < cells["still"]["other_half"]
    assert cells["s3dnerf"]["value"] < cells["wrong_speech"]["value"] < cells["still"]["value"]
    assert {tuple(h) for h in halvings(4, 50)} == {p for p in itertools.product((0.0, 1.0), repeat=4) if sum(p) == 2}


def test_a_speaker_drawn_twice_is_not_paired_with_itself() -> None:
    """With equal features in both sets the bootstrap's values lie around 0; were pictures paired with themselves, each
    resample would lie far above."""
    features, rows = corpus(1, {"s3dnerf": 0.0})
    for name in [n for n in features if n[1] == "s3dnerf"]:
        features[name] = features[name[0], "truth", "alexnet"]
    cell = found_in(features, rows)["corpora"]["hdtf"]["kid_alexnet"]["s3dnerf"]
    biased = np.mean([(v @ v / NUMBERS + 1) ** 3 for v in together(features, "truth", set(range(SPEAKERS)))])
    assert cell["value"] < 0 and cell["high"] <= 1e-6  # a little below 0: pictures of the same clips
    assert abs(cell["low"]) < 0.5 * biased


def test_intervals_hold_the_truth_in_nineteen_of_twenty() -> None:
    """Forty corpora of new people with one shift; the value of very many people lies in most intervals."""
    many = [corpus(1000 + i, {"s3dnerf": 0.5}) for i in range(40)]
    values, inside = [], 0
    for features, rows in many:
        values.append(found_in(features, rows)["corpora"]["hdtf"]["kid_alexnet"]["s3dnerf"])
    aim = np.mean([v["value"] for v in values])
    inside = sum(v["low"] <= aim <= v["high"] for v in values)
    assert inside >= 33


def test_equal_input_is_equal_bytes_and_the_order_of_rows_does_not_matter() -> None:
    features, rows = corpus()
    one = json.dumps(found_in(features, rows), sort_keys=True)
    assert one == json.dumps(found_in(dict(reversed(features.items())), rows[::-1]), sort_keys=True)


def test_tables_name_floor_and_controls_and_say_what_is_missing() -> None:
    features, rows = corpus()
    del features["hdtf_0_0", "wrong_speech", "alexnet"]  # measured where both are
    found = found_in(features, rows)
    assert found["corpora"]["hdtf"]["kid_alexnet"]["wrong_speech"]["clips"] == SPEAKERS * CLIPS - 1
    (table,) = tables(found, "s3dnerf", {"s3dnerf": "full"})
    assert [row[0].text for row in table.rows] == [
        "Truth (GT): the floor", "S³D-NeRF (full)", "Wrong speech (control)", "Still picture (control)"
    ]  # fmt: skip
    assert [title for title, _ in table.groups] == ["", "KID (AlexNet) ↓", "FID (AlexNet) ↓"]
    assert table.columns == ["method", "same clips", "other half", "same clips", "other half"]
    assert all(len(row) == 5 for row in table.rows)
    assert table.rows[0][1].kind == "missing" and table.rows[0][2].kind == "measured"
    assert "Not measured: FVD: no file" in table.notes and not nothing(found)
    empty = distances({}, rows, {"alexnet": "no weights"}, 100)
    assert not tables(empty, "s3dnerf", {}) and nothing(empty)[0] == "Not measured: kid_alexnet: no weights"
    alone = {name: v for name, v in features.items() if name[0].startswith("hdtf_0")}
    cell = distances(alone, rows, {}, 100)["corpora"]["hdtf"]["kid_alexnet"]
    assert cell["s3dnerf"]["value"] is not None and cell["s3dnerf"]["low"] is cell["s3dnerf"]["other_half"] is None
    assert "one speaker" in cell["truth"]["reason"]
