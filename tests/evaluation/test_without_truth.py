"""Videos without a truth: what each says by itself with its own sound, and that the rest says why it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3dnerf.evaluation.folders import score_table, score_without_truth, scored_count
from s3dnerf.evaluation.protocol import WITHOUT_TRUTH, Tools
from tests.evaluation.test_folders import OPENINGS, tone
from tests.fake_preset import DrawnFaces, FakeJudge
from tests.videos import drawn, write_video


def test_videos_without_a_truth(tmp_path: Path) -> None:
    """Each by itself with its own sound, every file accounted for; what needs a truth is not in the table."""
    tools = Tools(faces=DrawnFaces(), judge=FakeJudge(), judge_key="fake", why={"identity": "off", "lpips": "off"})
    write_video(tmp_path / "speaking.mp4", drawn(OPENINGS * 3), sound=tone(0.96))
    write_video(tmp_path / "mute.mp4", drawn(OPENINGS * 3))
    write_video(tmp_path / "faceless.mp4", np.full((8, 256, 256, 3), 90, np.uint8), sound=tone(0.32))
    write_video(tmp_path / "wide.mp4", drawn(OPENINGS)[:, :128])
    (tmp_path / "notes.txt").write_text("notes")
    rows, problems = score_without_truth(tmp_path, tools)
    assert {(p.name, p.what) for p in problems} == {
        ("mute", "without_sound"), ("faceless", "without_face"), ("wide", "not_square"),
        (f"{tmp_path.name}/notes.txt", "not_a_video"),
    }  # fmt: skip
    found = {(r["clip"], r["metric"]): r for r in rows}
    assert len(rows) == 4 * len(tools.recipes()) and scored_count(rows) == (3, 4)
    assert found["speaking", "lse_c"]["value"] > 0 and found["mute", "lse_c"]["reason"] == "no sound"
    for clip in ("speaking", "mute"):
        assert found[clip, "jitter"]["value"] >= 0 and found[clip, "lip_dynamics"]["counted"] == 24
        assert found[clip, "f_lmd"]["reason"] == found[clip, "ssim"]["reason"] == WITHOUT_TRUTH
    assert found["faceless", "jitter"]["reason"] == "no frame has landmarks" and found["faceless", "cpbd"]["value"] == 0
    assert found["wide", "cpbd"]["reason"].startswith("not_square")
    del rows[-len(tools.recipes()) :]  # of wide, which sorts last
    lines = score_table(rows).splitlines()
    assert any(line.startswith("jitter ") for line in lines) and not any(line.startswith("f_lmd ") for line in lines)
    assert any("f_lmd" in line and f"in 3 of 3 videos: {WITHOUT_TRUTH}" in line for line in lines)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        score_without_truth(tmp_path / "nowhere", tools)
