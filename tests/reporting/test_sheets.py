"""Contact sheets: clips by hash, the planted worst clip is found, what is shown is what the packs hold, equal data
gives equal bytes.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from s3dnerf.faces.camera import project
from s3dnerf.faces.recon.morphable import own_model
from s3dnerf.reporting.sheet_choice import (
    Preprocessed,
    box_margin,
    by_hash,
    landmark_error_px,
    lowest_score,
    measures,
    quiet_share,
    ranked,
)
from s3dnerf.reporting.sheets import contact_sheets, positions, resample_entry, sheets_page
from s3dnerf.video.encoding import encode_clip
from s3dnerf.video.packs import QUARANTINE_COLUMNS, write_table
from tests.fake_preset import FRAMES, add_parts, make_preset, settings_of
from tests.small_corpus import INTRINSICS, turn

STAGES = ["resample", "align", "masks", "lips", "speech"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A drawn preset in which one clip is the worst of each stage, and one raw video is there."""
    root = tmp_path_factory.mktemp("sheets")
    make_preset(root, settings_of())
    data = root / "data/tiny"
    scores = np.where(np.arange(FRAMES) % 5, np.nan, 1.5).astype(np.float32)
    scores[7] = 0.11
    add_parts(data, "align", "hdtf", {"hdtf_D_000": {"scores.npy": scores}})
    low = np.array([120.0, 190, 190, 260], np.float32)
    following = low + np.arange(FRAMES, dtype=np.float32)[:, None]
    add_parts(data, "lips", "hdtf", {"hdtf_E_000": {"lip_box.npy": low, "crop_boxes.npy": following}})
    stands = np.array([0, 1, 2, 3, 3, 3, 6, 7, 8, 9, 10, 11], np.int32)
    add_parts(data, "resample", "hdtf", {"hdtf_C_000": {"frames.npy": stands}})
    shades = [np.full((120, 200, 3), 20 * i, np.uint8) for i in range(FRAMES)]
    (root / "raw/HDTF/clips").mkdir(parents=True)
    (root / "raw/HDTF/clips/C_000.mp4").write_bytes(encode_clip(shades, crf=4))
    path = data / "ingest/hdtf/clips.parquet"
    table = pd.read_parquet(path)
    table.loc[table["clip"] == "hdtf_C_000", ["crop_x", "crop_y", "crop_w", "crop_h"]] = (40, 20, 80, 80)
    table.to_parquet(path, index=False)
    return root


@pytest.fixture
def here(made: Path, monkeypatch) -> Path:
    monkeypatch.chdir(made)
    return made


def test_every_corpus_has_a_sheet_a_stage(here: Path) -> None:
    sheets = contact_sheets(settings_of())
    assert [part.corpus for part in sheets] == ["hdtf", "mead"]
    assert [[s.stage for s in part.sheets] for part in sheets] == [STAGES, STAGES]
    assert sheets[0].said == "5 clips from ingest; came through resample 5, align 5, masks 5, lips 5, speech 5."


def test_clips_are_taken_by_hash_and_stay_when_others_come(here: Path) -> None:
    chosen = by_hash([f"hdtf_{n}_000" for n in "ABCDE"], 3)
    for sheet in contact_sheets(settings_of())[0].sheets:
        assert [e.clip for e in sheet.entries if not e.why] == sorted(
            e for e in chosen if e not in {e.clip for e in sheet.entries if e.why}
        )
    more = by_hash([*(f"hdtf_{n}_000" for n in "ABCDE"), "hdtf_F_000"], 4)
    assert [clip for clip in more if clip != "hdtf_F_000"][:3] == chosen


def test_the_worst_clip_of_a_stage_is_shown_at_its_worst_moment(here: Path) -> None:
    sheets = {sheet.stage: sheet for sheet in contact_sheets(settings_of())[0].sheets}
    worst = {stage: next((e for e in sheet.entries if e.why), None) for stage, sheet in sheets.items()}
    assert worst["align"].clip == "hdtf_D_000" and worst["align"].why == "worst of 5: lowest detector score 0.11"
    assert "frame 7: score 0.11" in worst["align"].body and "frame 4: tracked" in worst["align"].body
    assert worst["lips"].clip == "hdtf_E_000" and worst["lips"].why.endswith("lip box from the frame's edge −4.00 px")
    assert worst["lips"].caption == "The lip box is 70 px wide; it follows the head by up to 11 px."
    assert sheets["lips"].entries[0].caption == "The lip box is 72 px wide; it stands still."
    assert worst["resample"].clip == "hdtf_C_000" and worst["resample"].why.endswith("stands for 120 ms")
    assert "2 show the frame before them" in worst["resample"].caption
    # all alike: none is the worst
    assert worst["speech"] is None and sheets["speech"].head == "quiet for 0 % of the clip in 5 clips"


def test_source_frames_are_those_of_the_clock_with_their_crop(here: Path) -> None:
    body, _ = resample_entry(Preprocessed(settings_of(), "hdtf"), "hdtf_C_000", None)
    assert re.findall(r"<figcaption>(.*?)</figcaption>", body) == [
        "0.00 s: frame 0, 0 ms",
        "0.16 s: frame 3, −40 ms",
        "0.28 s: frame 7, 0 ms",
        "0.44 s: frame 11, 0 ms",
    ]
    import base64

    from s3dnerf.reporting.png import png_array

    shown = [png_array(base64.b64decode(x)) for x in re.findall(r"base64,([^\"]+)", body)]
    for picture, frame in zip(shown, (0, 3, 7, 11)):
        inside = picture[60:100, 70:120].astype(int)  # of 144 × 240: within the crop
        assert picture.shape == (144, 240, 3) and abs(inside.mean() - 20 * frame) < 6
        assert picture[72, 48, 1] > picture[72, 30, 1] or frame == 11  # the crop's left edge is green
    missing, _ = resample_entry(Preprocessed(settings_of(), "hdtf"), "hdtf_D_000", None)
    assert "The source cannot be shown" in missing and "raw/HDTF/clips/D_000.mp4" in missing and "waveform" in missing


def test_stopped_clips_are_shown_with_their_reason(here: Path, tmp_path: Path, monkeypatch) -> None:
    root = tmp_path / "copy"
    shutil.copytree(here, root)
    monkeypatch.chdir(root)
    bad = [{"clip": "hdtf_C_000", "stage": "align", "reason": "no_face", "detail": "no <face> in 12 frames"}]
    write_table(root / "data/tiny/align/hdtf/quarantine.parquet", bad, QUARANTINE_COLUMNS)
    stopped = contact_sheets(settings_of())[0].sheets[-1]
    assert (
        stopped.stage == "stopped"
        and stopped.head == "1 clip"
        and [e.why for e in stopped.entries] == ["align: no_face"]
    )
    page = sheets_page(settings_of())
    assert "no &lt;face&gt; in 12 frames" in page and "no <face>" not in page


def test_equal_data_gives_equal_bytes_and_asks_nothing_of_the_network(here: Path) -> None:
    page = sheets_page(settings_of())
    assert page == sheets_page(settings_of()) and len(page) < 2e6
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*", page)


def test_before_preprocessing_there_is_a_message(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="dvc repro speech"):
        sheets_page(settings_of())


def test_a_missing_face_model_is_said_and_ranks_nothing(here: Path) -> None:
    settings = settings_of(
        masks={"backend": "deep3d", "network": "weights/net.pth", "morphable_model": "weights/BFM_model_front.mat"}
    )
    masks = contact_sheets(settings)[0].sheets[2]
    assert masks.head == "no clip is ranked: the face model is not here (weights/BFM_model_front.mat)"
    assert len(masks.entries) == 3 and not any(e.why for e in masks.entries)


def test_landmark_error_is_the_mean_distance_in_pixels() -> None:
    model, cameras = own_model(), np.stack([turn(0.2), turn(-0.1)])
    lenses, coefficients = np.repeat(INTRINSICS[None], 2, 0), np.zeros((2, 257))
    seen = project(model.mean[model.keypoints], cameras, lenses)
    assert np.allclose(landmark_error_px(seen, coefficients, cameras, lenses, model), 0, atol=1e-4)
    moved = seen + [3.0, 4.0]
    moved[:, :17] += 100  # the jaw does not count
    assert np.allclose(landmark_error_px(moved, coefficients, cameras, lenses, model), 5, atol=1e-4)


def test_the_other_numbers_by_hand() -> None:
    assert lowest_score(np.array([2.0, np.nan, 0.5, 1.0])) == type(lowest_score(np.ones(1)))(0.5, 2)
    boxes = np.array([[10.0, 10, 30, 30], [50, 10, 70, 30], [12, 10, 32, 30]])
    found = box_margin(np.array([10.0, 8, 32, 30]), boxes, 256)
    assert (found.value, found.frame) == (8.0, 1)
    samples = np.concatenate([np.full(640, 0.5), np.full(640, 0.004), np.full(640, 0.006), np.zeros(640)]).astype(
        np.float32
    )
    assert quiet_share(samples).value == 50.0  # 40 dB below 0.5 is 0.005


def test_equals_are_ranked_by_name_and_large_corpora_by_a_part(here: Path, monkeypatch) -> None:
    corpus, measure = Preprocessed(settings_of(), "hdtf"), measures(settings_of())["align"]
    assert [clip for clip, _ in ranked(corpus, corpus.clips("align"), measure)] == [f"hdtf_{n}_000" for n in "DABCE"]
    monkeypatch.setattr("s3dnerf.reporting.sheet_choice.MOST_RANKED", 2)
    assert {clip for clip, _ in ranked(corpus, corpus.clips("align"), measure)} == set(
        by_hash(corpus.clips("align"), 2)
    )


def test_positions_hold_both_ends_unless_the_moment_is_one() -> None:
    assert positions(1).tolist() == [0] and positions(3, 1).tolist() == [0, 1, 2]
    assert positions(100).tolist() == [0, 33, 66, 99] and positions(100, 40).tolist() == [0, 40, 66, 99]
