"""Scoring anyone's videos: against a script that shares no code, with bad videos among good ones, and in every shape
people have.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from s3dnerf.evaluation.accounting import problem_lines
from s3dnerf.evaluation.feature_networks import of_alexnet
from s3dnerf.evaluation.folders import lips_of, score_folders, score_table, scored_count
from s3dnerf.evaluation.picture_sets import PictureSets
from s3dnerf.evaluation.protocol import Tools, prepare_truth
from s3dnerf.evaluation.reading import HOW, read_video
from s3dnerf.faces.dlib_backend import DlibBackend
from s3dnerf.faces.dlib_files import dlib_data
from s3dnerf.faces.lips import crop_boxes
from s3dnerf.metrics import identity
from s3dnerf.metrics.lpips import LPIPS
from s3dnerf.settings.schema import LipsSettings
from s3dnerf.video.encoding import VideoError
from tests.fake_preset import DrawnFaces, FakeJudge
from tests.straightforward import measure
from tests.videos import drawn, write_video

EVERY = 25  # frames apart: the comparison is of the recipe, not of the clip
OPENINGS = [0.2, 0.6, 0.9, 0.4, 0.1, 0.7, 0.3, 0.5]


def tone(seconds: float, rate_hz: int = 16000) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate_hz)) / rate_hz)


@pytest.fixture
def tools() -> Tools:
    return Tools(faces=DrawnFaces(), judge=FakeJudge(), judge_key="fake", why={"identity": "off", "lpips": "off"})


def test_methods_from_one_folder_agree_with_a_script_that_shares_no_code(shared: Path) -> None:
    """Every video of every method is scored or named, however many there are; seven named ones agree with the script,
    one a method.
    """
    clips, made = shared / "corpora/HDTF/clips", shared / "methods"
    videos = {(path.parent.parent.name, path.stem) for path in made.glob("*/HDTF/*.mp4")}
    methods, truths = {method for method, _ in videos}, {path.stem for path in clips.glob("*.mp4")}
    radio8 = {(method, "RD_Radio8_000") for method in ("wav2lip", "pcavs", "iplap", "diffdub")}
    compared = radio8 | {
        ("sadtalker", "WRA_MikeCrapo_000"),
        ("styletalk", "WRA_VickyHartzler_000"),
        ("dreamtalk", "WDA_ChrisVanHollen1_000"),
    }
    assert compared <= videos
    tools = Tools(faces=DlibBackend(), landmark_every=EVERY, picture_every=EVERY)
    rows, problems = score_folders(made, clips, tools)
    assert {(r["method"], r["clip"]) for r in rows} == {v for v in videos if v[1] in truths}
    assert {r["corpus"] for r in rows} == {"hdtf"}
    named = {(p.method, p.name, p.what) for p in problems}
    assert {v for v in named if v[2] == "no_truth"} == {(*v, "no_truth") for v in videos if v[1] not in truths}
    nobody_made = {("", clip) for clip in truths - {clip for _, clip in videos}}
    lacking = {(method, clip) for clip in truths & {clip for _, clip in videos} for method in methods} - videos
    assert {v[:2] for v in named if v[2] == "no_generated_video"} == nobody_made | lacking
    assert {v for v in radio8 if (*v, "reframed") in named} == {("pcavs", "RD_Radio8_000")}
    found = {(r["method"], r["clip"], r["metric"]): r for r in rows}
    for method, clip in sorted(compared):
        ours, theirs = made / method / "HDTF" / f"{clip}.mp4", clips / f"{clip}.mp4"
        expected, frames = (
            measure(str(ours), str(theirs), str(dlib_data("landmarks")), EVERY),
            11 if "Radio8" in clip else 17,
        )
        assert expected["lost"] == 0 and found[method, clip, "f_lmd"]["counted"] == frames
        for metric in ("f_lmd", "m_lmd", "ssim"):
            # 1 % is what was asked
            assert found[method, clip, metric]["value"] == pytest.approx(expected[metric], rel=1e-4), metric


def test_a_reframed_video_is_brought_over_the_truth_when_asked(shared: Path, tmp_path: Path) -> None:
    clip = "RD_Radio8_000.mp4"
    (tmp_path / clip).symlink_to((shared / "corpora/HDTF/clips" / clip).resolve())
    tools = Tools(faces=DlibBackend(), landmark_every=EVERY, picture_every=EVERY)
    (plain, (named,)), (moved, (noted,)) = (
        score_folders(shared / "methods/pcavs/HDTF", tmp_path, tools, align=a) for a in (False, True)
    )
    as_it_is, aligned = ({r["metric"]: r["value"] for r in rows} for rows in (plain, moved))
    assert aligned["f_lmd"] < as_it_is["f_lmd"] / 3 and aligned["ssim"] > as_it_is["ssim"]
    assert named.what == noted.what == "reframed" and "compared as it is" in named.detail
    assert "by one similarity" in noted.detail and "of the frame repeats its edge" in noted.detail


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Truths with sound, and for them a good, a corrupt, a cut-off, a shorter, a longer and a faceless video, one of
    another shape, two of one name, and one that nobody asked for."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for name in (
        "good",
        "corrupt",
        "cut",
        "scratched",
        "shorter",
        "longer",
        "faceless",
        "half",
        "wide",
        "empty",
        "absent",
    ):
        write_video(theirs / f"{name}.mp4", drawn(OPENINGS), sound=tone(0.32))
    write_video(ours / "good.mp4", drawn(OPENINGS))
    write_video(ours / "good.avi", drawn(OPENINGS[::-1]))
    write_video(ours / "shorter.mp4", drawn(OPENINGS[:5]))
    write_video(ours / "longer.mp4", drawn([*OPENINGS, 0.5, 0.5]))
    write_video(ours / "faceless.mp4", np.full((8, 256, 256, 3), 90, np.uint8))
    half = drawn(OPENINGS)
    half[[2, 5]] = 90
    write_video(ours / "half.mp4", half)
    write_video(ours / "wide.mp4", drawn(OPENINGS)[:, :128])
    whole = (ours / "good.mp4").read_bytes()
    (ours / "corrupt.mp4").write_bytes(b"\x00" * 200 + whole[200 : len(whole) // 3])
    # so that every frame fills its share of the file
    grain = np.random.default_rng(0).integers(0, 4, (8, 256, 256, 3), dtype=np.uint8)
    write_video(ours / "cut.mkv", drawn(OPENINGS) + grain)
    (ours / "cut.mkv").write_bytes((ours / "cut.mkv").read_bytes()[: int(0.55 * (ours / "cut.mkv").stat().st_size)])
    scratched = bytearray(whole)
    # in the middle of the pictures: a player shows something all the same
    scratched[len(whole) // 2 : len(whole) // 2 + 60] = bytes(60)
    (ours / "scratched.mp4").write_bytes(scratched)
    (ours / "empty.mp4").write_bytes(b"")
    shutil.copyfile(ours / "good.mp4", ours / "unasked.mp4")
    (ours / "notes.txt").write_text("not a video")
    return ours, theirs


class Late(FakeJudge):
    """Hears the five-frame video three frames late."""

    def measure(self, frames, lip_box, samples, audio):
        found = super().measure(frames, lip_box, samples, audio)
        found.offset_frames = -3 if len(frames) == 5 else 0
        return found


def test_bad_videos_are_named_and_the_others_scored(folders: tuple[Path, Path], tools: Tools) -> None:
    tools.judge = Late()
    rows, problems = score_folders(*folders, tools)
    assert {(p.name, p.what) for p in problems} == {
        ("good", "same_name"),
        ("corrupt", "unreadable"),
        ("cut", "shorter"),
        ("scratched", "damaged"),
        ("shorter", "shorter"),
        ("longer", "longer"),
        ("faceless", "faceless"),
        ("half", "some_frames_faceless"),
        ("wide", "not_square"),
        ("empty", "zero_bytes"),
        ("absent", "no_generated_video"),
        ("unasked", "no_truth"),
        ("ours/notes.txt", "not_a_video"),
    }
    value = {(r["clip"], r["metric"]): r for r in rows}
    assert (
        value["half", "f_lmd"]["counted"] == 6
        and value["half", "f_lmd"]["failed"] == 2
        and value["half", "f_lmd"]["value"] < 1e-6
    )
    assert (value["shorter", "ssim"]["counted"], value["shorter", "ssim"]["failed"]) == (5, 3)
    assert value["longer", "ssim"]["counted"] == 8 and "10 frames, the truth has 8" in value["longer", "ssim"]["reason"]
    assert math.isnan(value["faceless", "f_lmd"]["value"]) and value["faceless", "f_lmd"]["failed"] == 8
    assert math.isfinite(value["faceless", "ssim"]["value"])
    for lost, why in (("corrupt", "unreadable"), ("wide", "not_square"), ("empty", "zero_bytes")):
        mine = [r for r in rows if r["clip"] == lost]
        assert len(mine) == len(tools.recipes()) and all(
            math.isnan(r["value"]) and r["reason"].startswith(why) and r["failed"] == 8 for r in mine
        )
    assert scored_count(rows) == (7, 10)
    text = score_table(rows)
    assert "       7       3" in next(line for line in text.splitlines() if line.startswith("ssim")) and HOW in text
    assert "sync_offset: 0 in 6 of 7 videos, beyond ±1 in 1" in text
    assert (
        "lpips, identity, identity_least, identity_deviation, identity_over_time: not measured in 7 of 10 videos: off"
        in text
        and "every metric: not measured in 1 of 10 videos: not_square" in text
    )


def test_the_same_files_in_both_folders_are_perfect(tmp_path: Path) -> None:
    class Levels:
        """A recogniser of mean colours."""

        name, real, recipe = "dlib", False, identity.DLIB_RECIPE

        def describe(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
            return frame.mean(axis=(0, 1)).astype(np.float64)

        def similarity(self, a: np.ndarray, b: np.ndarray) -> float:
            return 1.0 - float(np.linalg.norm(a - b))

    for folder in ("a", "b"):
        for i in range(2):
            write_video(tmp_path / folder / f"{i}.mp4", drawn(OPENINGS[i:]), sound=tone(0.32))
    rows, problems = score_folders(tmp_path / "a", tmp_path / "b", Tools(faces=DrawnFaces(), recogniser=Levels()))
    assert not problems
    for metric, perfect in (("ssim", 1.0), ("f_lmd", 0.0), ("m_lmd", 0.0), ("identity", 1.0)):
        assert [r["value"] for r in rows if r["metric"] == metric] == [perfect, perfect]
    assert all(math.isnan(r["value"]) and "infinite" in r["reason"] for r in rows if r["metric"] == "psnr")


def one_pair(tmp_path: Path, tools: Tools, suffix: str = ".mp4", **kind) -> tuple[dict, list[str], str]:
    """A generated video made with ``kind`` against a plain truth of the same face: rows by metric, problems, their
    text.
    """
    write_video(tmp_path / "truth/x.mp4", drawn(OPENINGS * 3), sound=tone(0.96))
    frames, codec = kind.pop("frames", drawn(OPENINGS * 3)), kind.pop("codec", ())
    write_video(tmp_path / "ours" / f"x{suffix}", frames, *codec, **kind)
    rows, problems = score_folders(tmp_path / "ours", tmp_path / "truth", tools)
    return {r["metric"]: r for r in rows}, [p.what for p in problems], "\n".join(problem_lines(problems))


def test_another_size_is_resized_and_named(tmp_path: Path, tools: Tools) -> None:
    found, problems, said = one_pair(tmp_path, tools, frames=drawn(OPENINGS * 3, 512))
    assert problems == ["other_size"] and "x: other_size: 512×512, the truth 256×256: both compared at 256×256" in said
    assert found["ssim"]["value"] > 0.999 and found["f_lmd"]["value"] == 0


def test_a_smaller_odd_size(tmp_path: Path, tools: Tools) -> None:
    found, problems, _ = one_pair(tmp_path, tools, frames=drawn(OPENINGS * 3)[:, :255, :255])
    assert problems == ["other_size"] and found["ssim"]["value"] > 0.95 and found["ssim"]["counted"] == 24


def test_thirty_frames_a_second_are_paired_by_time(tmp_path: Path, tools: Tools) -> None:
    """The mouth of frame k at 30 Hz is that of time k / 30: at 25 Hz the nearest one in time, not the one of the same
    number.
    """
    truth, fast = [(k / 25) % 1 for k in range(25)], [(k / 30) % 1 for k in range(30)]
    write_video(tmp_path / "truth/x.mp4", drawn(truth), sound=tone(1.0))
    write_video(tmp_path / "ours/x.mp4", drawn(fast), fps=30)
    rows, problems = score_folders(tmp_path / "ours", tmp_path / "truth", tools)
    assert [p.what for p in problems] == ["other_rate"] and "30.00 fps, the truth 25.00" in problems[0].detail
    by_time = {r["metric"]: r for r in rows}
    nearest = np.array(
        [fast[np.searchsorted(np.floor(np.arange(30) * 25 / 30 + 0.5), k, side="right") - 1] for k in range(25)]
    )
    assert np.abs(nearest - truth).max() < 0.021  # half a frame of 30 Hz
    assert by_time["ssim"]["counted"] == 25 and by_time["f_lmd"]["counted"] == 25
    by_number = np.abs(np.array(fast[:25]) - truth)
    assert by_number.max() > 0.15  # what pairing by number would compare
    assert np.array_equal(
        read_video(tmp_path / "ours/x.mp4").frames, read_video(_again(tmp_path, nearest.tolist())).frames
    )


def _again(tmp_path: Path, openings: list[float]) -> Path:
    write_video(tmp_path / "again.mp4", drawn(openings))
    return tmp_path / "again.mp4"


def test_a_turn_in_the_metadata_is_applied(tmp_path: Path, tools: Tools) -> None:
    lying = np.rot90(drawn(OPENINGS * 3), -1, (1, 2))
    found, problems, _ = one_pair(tmp_path, tools, frames=lying, before=("-display_rotation", "90"))
    assert problems == ["interpreted"] and found["ssim"]["value"] > 0.99 and found["f_lmd"]["value"] < 0.05


def test_transparent_parts_are_shown_over_black_and_said_so(tmp_path: Path, tools: Tools) -> None:
    """Colours hidden under full transparency are not seen."""
    frames = drawn(OPENINGS * 3)
    clear = np.concatenate([frames, np.full((*frames.shape[:3], 1), 255, np.uint8)], axis=-1)
    clear[:, :16] = (250, 10, 250, 0)
    write_video(tmp_path / "alpha.mov", clear, "-c:v", "qtrle", "-pix_fmt", "argb")
    read = read_video(tmp_path / "alpha.mov")
    frames[:, :16] = 0
    assert read.notes == ("transparent parts over black",) and np.abs(read.frames.astype(int) - frames).max() <= 1
    found, problems, _ = one_pair(tmp_path, tools, ".mov", frames=clear, codec=("-c:v", "qtrle", "-pix_fmt", "argb"))
    assert problems == ["interpreted"] and found["m_lmd"]["value"] < 0.1


def test_a_late_first_picture_is_held_and_named(tmp_path: Path, tools: Tools) -> None:
    """Picture of a file whose sound begins at 0 and whose first frame is shown at 0.12 s."""
    found, problems, said = one_pair(tmp_path, tools, ".mkv", codec=LATE, sound=tone(1.08))
    assert problems == ["longer", "starts_late"] and "0.12 s" in said and found["ssim"]["counted"] == 24


LATE = ("-c:v", "ffv1", "-vf", "setpts=PTS+3/(25*TB)")


@pytest.mark.parametrize("channels", [1, 2])
def test_the_truths_sound_in_any_form_is_judged_alike(tmp_path: Path, channels: int) -> None:
    """44.1 kHz, one or two channels: the judge hears 640 samples a frame at 16 kHz, as loud as the recording."""
    heard = []

    class Listening(FakeJudge):
        def measure(self, frames, lip_box, samples, audio):
            heard.append((samples, audio))
            return super().measure(frames, lip_box, samples, audio)

    tools = Tools(faces=DrawnFaces(), judge=Listening(), judge_key="fake")
    sound = np.repeat(tone(0.96, 44100)[:, None], channels, axis=1)
    write_video(tmp_path / "truth/x.mov", drawn(OPENINGS * 3), sound=sound, rate_hz=44100)
    write_video(tmp_path / "ours/x.mp4", drawn(OPENINGS * 3))
    rows, problems = score_folders(tmp_path / "ours", tmp_path / "truth", tools)
    samples, mel = heard[0]
    assert not problems and len(samples) == 640 * 24 and mel.shape == (int(80 * 24 / 25) + 16, 80)
    assert np.abs(samples[1000:-1000] - tone(0.96)[1000:-1000]).max() < 1e-3


def test_sound_that_is_missing_silent_or_short_is_named(tmp_path: Path, tools: Tools) -> None:
    for name, sound in (("mute", None), ("silent", np.zeros(15360)), ("short", tone(0.5)), ("whole", tone(0.96))):
        write_video(tmp_path / "truth" / f"{name}.mov", drawn(OPENINGS * 3), sound=sound)
        write_video(tmp_path / "ours" / f"{name}.mp4", drawn(OPENINGS * 3))
    rows, problems = score_folders(tmp_path / "ours", tmp_path / "truth", tools)
    codes = {"mute": "truth_without_sound", "silent": "truth_silent", "short": "truth_sound_ends_early"}
    assert {p.name: p.what for p in problems} == codes
    judged = {r["clip"] for r in rows if r["metric"] == "lse_c" and math.isfinite(r["value"])}
    assert judged == {"short", "whole"} and {r["clip"] for r in rows if r["metric"] == "ssim" and r["value"] == 1} == {
        *codes,
        "whole",
    }


def test_a_truth_that_cannot_be_read_or_shows_nobody(tmp_path: Path, tools: Tools) -> None:
    for name in ("bad", "nobody", "good"):
        write_video(tmp_path / "ours" / f"{name}.mp4", drawn(OPENINGS))
        write_video(
            tmp_path / "truth" / f"{name}.mp4",
            np.full((8, 256, 256, 3), 90, np.uint8) if name == "nobody" else drawn(OPENINGS),
        )
    (tmp_path / "truth/bad.mp4").write_bytes(b"no video at all")
    rows, problems = score_folders(tmp_path / "ours", tmp_path / "truth", tools)
    named = {(p.name, p.what) for p in problems if p.what != "truth_without_sound"}
    assert named == {("bad", "truth_unreadable"), ("nobody", "truth_without_face")}
    found = {(r["clip"], r["metric"]): r for r in rows}
    assert found["bad", "ssim"]["reason"].startswith("truth_unreadable") and math.isnan(found["bad", "ssim"]["value"])
    assert math.isnan(found["nobody", "m_lmd"]["value"]) and found["nobody", "m_lmd"]["failed"] == 8
    assert found["good", "ssim"]["value"] == 1


def test_lips_are_cut_as_preprocessing_cuts_them(tools: Tools) -> None:
    """One box a clip, or boxes that follow the head; a frame without a face lies between its neighbours."""
    frames = drawn(OPENINGS * 3)
    truth = prepare_truth(frames, None, None, None, tools)
    still = lips_of(truth, tools)
    assert np.array_equal(still, crop_boxes(truth.landmarks, tools.lips.scale)) and still.shape == (24, 4)
    moving = truth.landmarks + np.linspace(0, 30, 24)[:, None, None].astype(np.float32)
    expected = crop_boxes(moving, 1.5, 9.0)
    truth.landmarks, tools.lips = moving, LipsSettings(scale=1.5, follow_frames=9.0)
    assert np.array_equal(lips_of(truth, tools), expected)
    truth.landmarks = moving.copy()
    truth.landmarks[[4, 5, 23]] = np.nan
    assert np.abs(lips_of(truth, tools) - expected).max() < 4
    truth.landmarks[:] = np.nan
    assert lips_of(truth, tools) is None


def test_a_folder_of_methods_has_a_column_each(tmp_path: Path, tools: Tools) -> None:
    for name in ("x", "y"):
        write_video(tmp_path / "truth" / f"{name}.mp4", drawn(OPENINGS), sound=tone(0.32))
        write_video(tmp_path / "made/one/HDTF" / f"{name}.mp4", drawn(OPENINGS))
    write_video(tmp_path / "made/two/HDTF/x.mp4", drawn(OPENINGS[::-1]))
    pictures = PictureSets({"alexnet": of_alexnet(LPIPS())}, {})
    rows, problems = score_folders(tmp_path / "made", tmp_path / "truth", tools, pictures=pictures)
    assert [(p.method, p.name, p.what) for p in problems] == [("two", "y", "no_generated_video")]
    together = pictures.distances("alexnet")  # a picture a second: two has but one
    assert set(together) == {"one"} and (together["one"].generated, together["one"].truth) == (2, 2)
    mean = {
        m: np.mean([r["value"] for r in rows if (r["method"], r["metric"]) == (m, "m_lmd")]) for m in ("one", "two")
    }
    line = next(line for line in score_table(rows).splitlines() if line.startswith("m_lmd"))
    assert f"{mean['one']:.4f}" in line and f"{mean['two']:.4f}" in line and mean["one"] == 0 < mean["two"]
    assert problem_lines(problems)[0].startswith("two/y: no_generated_video")


def test_an_empty_folder_and_a_missing_one(tmp_path: Path, tools: Tools) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        score_folders(tmp_path / "nowhere", tmp_path, tools)
    with pytest.raises(FileNotFoundError, match="no videos"):
        score_folders(tmp_path, tmp_path, tools)


def test_read_video_is_25_hz_and_square(tmp_path: Path) -> None:
    write_video(tmp_path / "fast.mp4", drawn([0.5] * 20), fps=50)
    assert read_video(tmp_path / "fast.mp4").frames.shape == (10, 256, 256, 3)
    write_video(tmp_path / "wide.mp4", np.zeros((3, 64, 128, 3), np.uint8))
    with pytest.raises(VideoError, match="128×64: expected a square picture") as refused:
        read_video(tmp_path / "wide.mp4")
    assert refused.value.reason == "not_square"
    with pytest.raises(VideoError):
        read_video(tmp_path / "none.mp4")
