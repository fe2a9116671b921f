"""The arithmetic of benchmarks/codec.py and benchmarks/dynamics.py: changes, and orders that came or did not."""

from __future__ import annotations

import pytest

from benchmarks.codec import change
from benchmarks.dynamics import expectations


def test_a_codecs_change_is_put_beside_what_clips_differ_by() -> None:
    values = [
        {"source": 1.0, "crf_18": 1.1, "crf_28": 1.4, "still": 0.0},
        {"source": 3.0, "crf_18": 3.0, "crf_28": 2.9, "still": 0.0},
        {"source": 2.0, "crf_18": None, "crf_28": 2.0, "still": 0.0},
    ]
    found = change(values)
    assert (found["clips"], found["change"], found["largest_change"]) == (2, pytest.approx(0.1), pytest.approx(0.3))
    assert found["change_in_spreads"] == pytest.approx(0.2)  # 0.3 and 0.1 over a deviation of 1
    distance = change([{"source": 0.0, "crf_18": 0.1, "crf_28": 0.3, "still": s} for s in (1.0, 3.0)])
    assert distance["change_in_spreads"] == pytest.approx(0.1)  # over a still picture's mean distance
    assert change([{"source": None, "crf_18": None, "crf_28": None, "still": None}]) == {"clips": 0}


def test_an_order_that_did_not_come_is_said() -> None:
    ones = ("apd", "akd", "aed_landmarks", "head_dynamics", "brow_dynamics", "mouth_blur", "identity_least")
    plain = dict.fromkeys(ones, 1.0)
    plain |= {"sound_correlation_best": 0.4, "anothers_sound": 0.1, "head_angle_deviation": 1.0}
    plain |= {"lip_dynamics": 1.0, "jitter": 1.0, "silent_lips": None}
    still = {**plain, **dict.fromkeys(("head_dynamics", "head_angle_deviation", "lip_dynamics", "jitter"), 0.0)}
    repainted = {**plain, "apd": 0.5, "aed_landmarks": 1.2, "head_dynamics": 1.1, "brow_dynamics": 1.3}
    values = {
        "truth": {"x": plain},
        "still": {"x": {**still, "brow_dynamics": 0.0}},
        "wav2lip": {"x": {**repainted, "identity_least": 2.0}},
        "pcavs": {"x": {**plain, "mouth_blur": 2.0, "anothers_sound": 0.5}},
    }
    lines = {line["expected"]: line for line in expectations(values)}
    held = {expected: line["held_in"] for expected, line in lines.items()}
    assert held["APD: methods that repaint the true video's mouth below PC-AVS, which makes the head anew"] == "1 of 1"
    assert held["AED: methods that repaint the true video's mouth below PC-AVS, which makes the face anew"] == "0 of 1"
    assert held["APD: methods given the true head pose below SadTalker, which invents one"] == "0 of 0"
    assert held["head_dynamics: where only the mouth is repainted within 15 % of the truth's"] == "1 of 1"
    far = lines["brow_dynamics: where only the mouth is repainted within 15 % of the truth's"]
    assert far["held_in"] == "0 of 1" and far["sides"] == [[0.3, 0.15]]
    assert held["sound_correlation_best: above that with another clip's sound, methods and truth"] == "2 of 3"
    assert held["mouth_blur: methods above the truth"] == "1 of 2"
    assert held["identity_least: methods that repaint the mouth above PC-AVS"] == "1 of 1"
    assert held["every dynamics of a still picture is 0"] == "5 of 5"
