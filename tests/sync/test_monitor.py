"""The monitor says when a network does not learn, and why; and says nothing when it does."""

import numpy as np
import pytest

from s3dnerf.sync.monitor import SyncMonitor, crop_findings, offset_findings, speaker_findings
from tests.sync.talking import talker


def watched(losses, patience=50):
    monitor = SyncMonitor(0.5, patience)
    for loss in losses:
        monitor.step(loss)
    return monitor


def test_stuck_at_twice_the_margin():
    rng = np.random.default_rng(0)
    monitor = watched(1 + 0.02 * rng.standard_normal(80))
    (slow,) = monitor.learning(spread=0.8)
    assert slow.code == "loss_stuck" and "1 (2η)" in slow.message and "offset" in slow.message
    (collapsed,) = monitor.learning(spread=0.001)
    assert "same way" in collapsed.message


def test_learning_or_not_yet_to_be_judged_is_no_finding():
    assert watched(np.linspace(1, 0.4, 80)).learning(0.5) == []
    assert watched([1.0] * 20).learning(0.5) == []
    assert watched([]).learning(0.5) == []


def test_a_loss_that_is_no_number():
    (finding,) = watched([0.9, float("nan")]).learning(0.5)
    assert finding.code == "loss_not_finite" and "sync.lr" in finding.message


def test_no_lips_in_the_crops():
    lips = talker("ann", 1.5, 0).lips
    even = np.full_like(lips, 90)
    still = np.repeat(lips[:1], len(lips), axis=0)
    assert crop_findings([("a", lips), ("b", lips)]) == []
    found = {f.code: f.message for f in crop_findings([("a", lips), ("even", even), ("still", still)])}
    assert set(found) == {"crops_flat", "crops_still"}
    assert "1 of 3" in found["crops_flat"] and "even" in found["crops_flat"] and "still" in found["crops_still"]


@pytest.mark.parametrize("offset, word", [(4, "early"), (-3, "late")])
def test_sound_shifted_against_the_picture(offset, word):
    curve = np.full(31, 1.4)
    curve[15 - offset] = 1.0
    (finding,) = offset_findings(curve.tolist())
    assert finding.code == "audio_shifted" and f"{offset:+d} frames" in finding.message and word in finding.message


def test_an_extreme_at_zero_or_none_is_no_finding():
    curve = np.full(31, 1.4)
    curve[15] = 1.0
    assert offset_findings(curve.tolist()) == []
    assert offset_findings((1.4 - 0.001 * np.random.default_rng(0).random(31)).tolist()) == []


def test_too_few_speakers():
    assert speaker_findings(20, 0.95, 0.9) == []
    (gap,) = speaker_findings(20, 0.95, 0.6)
    assert gap.code == "too_few_speakers" and "0.60 on unseen" in gap.message
    assert speaker_findings(2, 0.9, 0.9)[0].code == "too_few_speakers"
