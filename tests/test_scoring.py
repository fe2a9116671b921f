"""Scoring anyone's videos: against a script that shares no code, and with bad videos among good ones."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from s3dnerf.config import settings_from
from s3dnerf.evaluation import Tools
from s3dnerf.faces.dlib_backend import DlibBackend
from s3dnerf.faces.weights import dlib_data
from s3dnerf.scoring import load_tools, read_video, score_folders, score_table
from s3dnerf.video.encoding import VideoError, encode_clip
from tests.fake_preset import DrawnFaces
from tests.small_world import picture
from tests.straightforward import measure

EVERY = 25  # frames apart: the comparison is of the recipe, not of the clip


@pytest.mark.parametrize("method", ["wav2lip", "pcavs", "iplap", "diffdub"])
def test_agrees_with_a_script_that_shares_no_code(shared: Path, tmp_path: Path, method: str) -> None:
    clip = "RD_Radio8_000.mp4"
    ours, theirs = shared / "methods" / method / "HDTF" / clip, shared / "corpora/HDTF/clips" / clip
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / clip).symlink_to(theirs.resolve())
    tools = Tools(faces=DlibBackend(), landmark_every=EVERY, picture_every=EVERY)
    rows, problems = score_folders(ours.parent, tmp_path / "truth", tools, method)
    found = {r["metric"]: r for r in rows}
    expected = measure(str(ours), str(theirs), str(dlib_data("landmarks")), EVERY)
    assert not problems and expected["lost"] == 0 and found["f_lmd"]["counted"] == 11
    for metric in ("f_lmd", "m_lmd", "ssim"):
        assert found[metric]["value"] == pytest.approx(expected[metric], rel=1e-4), metric  # 1 % is what was asked


def write(path: Path, openings: list[float], face: bool = True) -> None:
    frames = [picture(o, 0.9)[0] if face else np.full((256, 256, 3), 90, np.uint8) for o in openings]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_clip(frames, crf=5))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Six truths, and for five of them a video: good, corrupt, shorter, longer, faceless; and one that nobody asked for."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    openings = [0.2, 0.6, 0.9, 0.4, 0.1, 0.7, 0.3, 0.5]
    for name in ("good", "corrupt", "shorter", "longer", "faceless", "absent"):
        write(theirs / f"{name}.mp4", openings)
    write(ours / "good.mp4", openings)
    write(ours / "shorter.mp4", openings[:5])
    write(ours / "longer.mp4", [*openings, 0.5, 0.5])
    write(ours / "faceless.mp4", openings, face=False)
    whole = (ours / "good.mp4").read_bytes()
    (ours / "corrupt.mp4").write_bytes(b"\x00" * 200 + whole[200 : len(whole) // 3])
    shutil.copyfile(ours / "good.mp4", ours / "unasked.mp4")
    (ours / "notes.txt").write_text("not a video")
    return ours, theirs


def test_bad_videos_are_named_and_the_others_scored(folders: tuple[Path, Path]) -> None:
    rows, problems = score_folders(*folders, Tools(faces=DrawnFaces()))
    assert {(p.name, p.what) for p in problems if p.what != "truth_without_sound"} == {
        ("corrupt", "unreadable"),
        ("shorter", "shorter"),
        ("longer", "longer"),
        ("faceless", "faceless"),
        ("absent", "no_generated_video"),
        ("unasked", "no_truth"),
    }
    value = {(r["clip"], r["metric"]): r for r in rows}
    assert {r["clip"] for r in rows} == {"good", "corrupt", "shorter", "longer", "faceless"}
    assert value["good", "f_lmd"]["value"] < 0.5 and value["good", "f_lmd"]["counted"] == 8
    assert (value["shorter", "ssim"]["counted"], value["shorter", "ssim"]["failed"]) == (5, 3)
    assert value["longer", "ssim"]["counted"] == 8 and "10 frames, the truth has 8" in value["longer", "ssim"]["reason"]
    assert math.isnan(value["faceless", "f_lmd"]["value"]) and value["faceless", "f_lmd"]["failed"] == 8
    assert math.isfinite(value["faceless", "ssim"]["value"])
    assert all(math.isnan(r["value"]) and r["reason"].startswith("unreadable") for r in rows if r["clip"] == "corrupt")
    text = score_table(rows)
    assert "ssim" in text and "  4       1  ssim-1" in text


def test_an_empty_folder_and_a_missing_one(tmp_path: Path) -> None:
    tools = Tools(faces=DrawnFaces())
    with pytest.raises(FileNotFoundError, match="no such folder"):
        score_folders(tmp_path / "nowhere", tmp_path, tools)
    with pytest.raises(FileNotFoundError, match="no videos"):
        score_folders(tmp_path, tmp_path, tools)


def test_read_video_is_25_hz_and_square(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", [0.1, 0.9] * 5)
    assert read_video(tmp_path / "a.mp4").shape == (10, 256, 256, 3)
    (tmp_path / "fast.mp4").write_bytes(encode_clip([picture(0.5, 0.9)[0]] * 20, crf=10, fps=50))
    assert len(read_video(tmp_path / "fast.mp4")) == 10
    (tmp_path / "wide.mp4").write_bytes(encode_clip([np.zeros((64, 128, 3), np.uint8)] * 3, crf=10))
    with pytest.raises(ValueError, match="128×64: expected square"):
        read_video(tmp_path / "wide.mp4")
    with pytest.raises(VideoError):
        read_video(tmp_path / "none.mp4")


def test_missing_weights_become_reasons(tmp_path: Path) -> None:
    weights = {"lpips_weights": str(tmp_path / "lpips"), "syncnet_weights": str(tmp_path / "syncnet.model"), "judge": "syncnet"}
    settings = settings_from({"align": {"backend": "dlib", "model_dir": None}, "evaluate": {**weights, "identity": "insightface"}})
    tools = load_tools(settings, tmp_path / "judge")
    assert tools.judge is None and tools.network is None and tools.recogniser is None
    assert "alexnet.pth: no such file" in tools.why["lpips"] and tools.why["judge"] and tools.why["identity"]
    assert {r.version for r in tools.recipes() if r.name == "lse_c"} == {"sync-1-syncnet"}
