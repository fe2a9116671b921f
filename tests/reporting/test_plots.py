"""Curves thinned for a plot keep their span and their mean; what was not measured is left out, never zero."""

from __future__ import annotations

import numpy as np

from s3dnerf.reporting.plots import MOST_POINTS, flat_metrics, thinned


def test_a_long_curve_is_thinned_to_means_and_keeps_its_last_step() -> None:
    rows = [
        {"step": step, "loss": float(step % 7)} | ({"accuracy": 0.5} if step % 100 == 99 else {})
        for step in range(9000)
    ]
    points = thinned(rows, ["loss"])
    assert len(points) == MOST_POINTS and points[-1][0] == 8999
    assert np.isclose(np.mean([y for _, y in points]), np.mean([row["loss"] for row in rows]))
    assert [step for step, _ in thinned(rows, ["accuracy"])] == list(range(99, 9000, 100))
    assert thinned(rows[:3], ["loss", "accuracy"]) == [[0, 0.0, None], [1, 1.0, None], [2, 2.0, None]]
    assert thinned([], ["loss"]) == []


def test_metrics_are_of_the_first_corpus_measured_and_leave_out_what_is_missing() -> None:
    def part(mean: float | None) -> dict:
        return {
            "clips": 4,
            "speakers": 2,
            "methods": {"s3dnerf": {"ssim": {"mean": mean}}, "still": {"m_lmd": {"mean": 2.0}}},
        }

    summary = {"method": "s3dnerf", "corpora": {"mead": part(0.9), "hdtf": part(None)}}
    assert flat_metrics(summary, {}, ("hdtf", "mead")) == {"m_lmd_still": 2.0, "clips": 4, "speakers": 2}
    assert flat_metrics(summary, {}, ("portraits", "mead"))["ssim"] == 0.9
    cards = {"expert": {"held_out": {"accuracy": 0.12345678}}, "judge": {}}
    assert flat_metrics({"method": "s3dnerf", "corpora": {}}, cards, ("hdtf",)) == {"expert_accuracy": 0.123457}
