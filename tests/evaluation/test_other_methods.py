"""Other methods' videos: found by name, and brought to the truth's frame whatever their own framing is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s3dnerf.evaluation.other_methods import MethodVideo, find_methods, fit_similarity, framing, steady_apart, videos_of
from s3dnerf.faces.warping import apply


def test_found_by_method_corpus_and_name(tmp_path: Path) -> None:
    for name in (
        "wav2lip/HDTF/RD_Radio8_000.mp4",
        "pcavs/hdtf/x.AVI",
        "pcavs/Other/y.mp4",
        "pcavs/hdtf/x.txt",
        "readme.mp4",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    found = find_methods(str(tmp_path))
    expected = [("pcavs", "other", "y"), ("pcavs", "hdtf", "x"), ("wav2lip", "hdtf", "RD_Radio8_000")]
    assert [(m.name, m.corpus, m.clip) for m in found] == expected
    assert find_methods(str(tmp_path / "none")) == [] and find_methods(None) == []


def test_one_video_a_method_and_clip() -> None:
    """Two videos of one method show the same clip: one row, not two that are averaged; the video named as our clip
    counts.
    """
    record = {"corpus": "hdtf", "clip": "hdtf_Radio8_000", "video": "clips/RD_Radio8_000.mp4"}
    raw, own, other = (
        MethodVideo(m, "hdtf", c, "", f"{m}/{c}")
        for m, c in (("a", "RD_Radio8_000"), ("a", "hdtf_Radio8_000"), ("b", "x"))
    )
    again = MethodVideo("b", "mead", "RD_Radio8_000", "", "b/mead")
    assert videos_of(record, [raw, own, other, again]) == (own,)
    assert videos_of(record, [raw]) == (raw,) and videos_of(record, []) == ()


def test_a_similarity_is_recovered() -> None:
    random = np.random.default_rng(0)
    points = random.uniform(0, 256, (40, 2))
    turn = 0.3
    matrix = 1.7 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = np.column_stack([matrix, [12.0, -30.0]])
    assert np.allclose(fit_similarity(points, apply(matrix, points)), matrix)
    noisy = apply(matrix, points) + random.normal(0, 0.5, points.shape)
    assert np.allclose(fit_similarity(points, noisy), matrix, atol=1.0)


def _faces(count: int) -> np.ndarray:
    base = np.random.default_rng(1).uniform(60, 190, (68, 2))
    return (base + np.random.default_rng(2).normal(0, 0.5, (count, 1, 2))).astype(np.float32)


def test_the_framing_is_the_one_that_fits() -> None:
    truth = _faces(6)
    raw = np.array([[1.5, 0, -40], [0, 1.5, -25]])  # source pixels → aligned pixels
    seen = (truth - raw[:, 2]) / 1.5
    candidates = {"framed like the source": raw, "framed like our clip": np.eye(3)[:2]}
    assert framing(seen, truth, candidates)[0] == "framed like the source"
    name, matrix = framing(truth, truth, candidates)
    assert name == "framed like our clip" and np.array_equal(matrix, np.eye(3)[:2])
    name, matrix = framing(truth * 0.5 + 10, truth, candidates)
    assert name.startswith("reframed by the method") and np.allclose(apply(matrix, truth * 0.5 + 10), truth, atol=1e-3)


def test_how_far_eyes_and_nose_lie_apart() -> None:
    truth = _faces(4)
    moved = truth + np.float32([3, 4])
    moved[1] = np.nan
    # the mouth and the jaw take no part, nor a frame without a face
    assert np.isclose(steady_apart(moved, truth), 5, atol=1e-4)
    speaking = truth.copy()
    speaking[:, 48:] += 30
    assert steady_apart(speaking, truth) == 0 and np.isnan(steady_apart(np.full_like(truth, np.nan), truth))


def test_no_face_leaves_the_first_framing() -> None:
    lost = np.full((3, 68, 2), np.nan, np.float32)
    name, matrix = framing(lost, _faces(3), {"framed like the source": np.eye(3)[:2]})
    assert "no face to check" in name and np.array_equal(matrix, np.eye(3)[:2])
