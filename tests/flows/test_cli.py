"""The command line as a person types it: presets, and one clear message for each mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from flows import components
from s3dnerf.settings.loading import as_dict, experiment, preset_settings, settings_from
from s3dnerf.video.encoding import encode_clip
from s3dnerf.video.reading import probe
from tests.fake_preset import make_preset, settings_of
from tests.videos import write_video

ROOT = Path(__file__).resolve().parents[2]


def s3dnerf(folder: Path, *words: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    (folder / "dvc.yaml").touch()  # a project's folder
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *words], cwd=folder, env=environment, capture_output=True, text=True
    )


def stage(folder: Path, name: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "S3DNERF_RUNNER": "inline"}
    return subprocess.run(
        [sys.executable, "-m", "flows.run", name], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_preset_writes_every_value(tmp_path: Path) -> None:
    done = s3dnerf(tmp_path, "preset", "mini")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load((tmp_path / "params.yaml").read_text()) == experiment(preset_settings("mini"))
    assert "already" in s3dnerf(tmp_path, "preset", "mini").stdout


def test_a_margin_given_first_is_not_lost(tmp_path: Path) -> None:
    s3dnerf(tmp_path, "preset", "tiny")
    said = s3dnerf(tmp_path, "retrain", "--margin", "m_lmd=much", "--margin", "ssim=0.1")
    assert said.returncode == 2 and "m_lmd=much" in said.stderr, said.stderr


def test_a_preset_with_changes(tmp_path: Path) -> None:
    said = s3dnerf(
        tmp_path, "preset", "sample", "--change", "train.steps=4000", "train.variants=[full, naive]", "seed=3"
    )
    assert said.returncode == 0, said.stderr
    given = yaml.safe_load((tmp_path / "params.yaml").read_text())
    assert (given["train"]["steps"], given["train"]["variants"], given["seed"]) == (4000, ["full", "naive"], 3)
    same = as_dict(preset_settings("sample"))
    assert given["align"] == same["align"] and given["train"] | {"steps": 1, "variants": 1} == same["train"] | {
        "steps": 1,
        "variants": 1,
    }
    said = s3dnerf(tmp_path, "preset", "sample", "--change", "train.steps=9", "seed=4", "--change", "train.batch=4")
    assert said.returncode == 0 and "with train.steps=9, seed=4, train.batch=4; next" in said.stdout, said.stderr
    given = yaml.safe_load((tmp_path / "params.yaml").read_text())
    assert (given["train"]["steps"], given["seed"], given["train"]["batch"]) == (9, 4, 4)
    said = s3dnerf(tmp_path, "preset", "sample", "--change", "train.phases.*.mouth=0.5", "train.phases.1.sync=0")
    assert said.returncode == 0, said.stderr
    first, last = yaml.safe_load((tmp_path / "params.yaml").read_text())["train"]["phases"]
    assert first["mouth"] == last["mouth"] == 0.5 and last["sync"] == 0 and last["frames"] == "consecutive"
    for wrong, told in (
        ("train.phases.2.sync=0", "train.phases.*.sync: of every one"),
        ("train.stops=1", "accepted: FIELD=VALUE"),
        ("train.steps", "FIELD=VALUE"),
        ("train.steps=-1", "train.steps"),
    ):
        done = s3dnerf(tmp_path, "preset", "sample", "--change", wrong)
        assert done.returncode == 2 and told in done.stderr and len(done.stderr.splitlines()) == 1


def test_params_in_the_repository_are_the_sample_preset() -> None:
    committed = subprocess.run(["git", "show", "HEAD:params.yaml"], cwd=ROOT, capture_output=True, text=True)
    if committed.returncode:
        pytest.skip("needs the git repository")
    assert yaml.safe_load(committed.stdout) == experiment(preset_settings("sample"))


def test_an_unknown_preset_is_one_message(tmp_path: Path) -> None:
    done = s3dnerf(tmp_path, "preset", "huge")
    assert done.returncode == 2
    assert done.stderr == "s3dnerf: preset: got 'huge' — accepted: one of tiny, sample, mini, paper\n"


def test_a_settings_typo_stops_a_stage_before_any_work(tmp_path: Path) -> None:
    settings = as_dict(preset_settings("tiny"))
    settings["align"]["detect_evry"] = 3
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    done = stage(tmp_path, "inventory")
    assert done.returncode == 2
    assert (
        done.stderr.startswith("s3dnerf: align.detect_evry: no such setting — did you mean detect_every?")
        and done.stderr.count("\n") == 1
    )
    assert not (tmp_path / "data").exists()


def test_a_missing_raw_folder_is_one_message(tmp_path: Path) -> None:
    settings = as_dict(preset_settings("tiny")) | {"sample": {"enabled": False}, "raw": {"hdtf": "nowhere/HDTF"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    done = stage(tmp_path, "inventory")
    assert done.returncode in (1, 2)
    assert "raw.hdtf" in done.stderr and "nowhere/HDTF" in done.stderr and "Traceback" not in done.stderr


def test_report_before_any_run_says_what_to_do(tmp_path: Path) -> None:
    s3dnerf(tmp_path, "preset", "tiny")
    done = s3dnerf(tmp_path, "report")
    assert done.returncode == 2 and "dvc repro" in done.stderr


@pytest.mark.slow
def test_doctor_says_by_its_status_whether_something_is_missing(tmp_path: Path) -> None:
    s3dnerf(tmp_path, "preset", "tiny")
    done = s3dnerf(tmp_path, "doctor")
    assert done.returncode == 0 and "replacement" in done.stdout, done.stderr
    s3dnerf(tmp_path, "preset", "paper")
    done = s3dnerf(tmp_path, "doctor")
    assert done.returncode == 1 and "s3dnerf fetch deep3d" in done.stdout
    done = s3dnerf(tmp_path, "doctor", "judges")
    assert done.returncode == 2 and done.stderr.startswith("s3dnerf: doctor: got judges, expected one of landmarks, ")


def test_doctor_writes_what_it_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "weights" / "insightface" / "buffalo_l"
    folder.mkdir(parents=True)
    (folder / "det.onnx").write_bytes(b"x")
    written = components.chosen(preset_settings("sample"))
    assert written.align.backend == "insightface" and written.align.model_dir == "weights/insightface/buffalo_l"
    assert written.masks.backend == "fitted" and written.masks.network is None
    assert components.chosen(preset_settings("paper")).masks.backend == "fitted"
    assert settings_from(as_dict(written)) == written


def test_doctor_takes_whisper_where_its_file_is_and_wav2vec2s_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert components.chosen(preset_settings("paper")).speech.backend == "logmel"
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "whisper_tiny_en.safetensors").write_bytes(b"x")
    speech = components.chosen(preset_settings("sample")).speech
    assert (speech.backend, speech.model) == ("whisper", None)
    assert speech.whisper_model == "weights/whisper_tiny_en.safetensors"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text("{}")
    paper = settings_from({"preset": "paper", "speech": {"model": "own"}})
    assert (
        components.chosen(paper).speech.backend == "wav2vec2" and components.chosen(paper).speech.whisper_model is None
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "what", "size"),
    [
        ([], "the whole picture", (260, 240)),
        (["--crop"], "the face alone", (256, 256)),
        (["--yaw", "20"], "the face alone", (256, 256)),
    ],
)
def test_a_portrait_and_a_voice_become_a_video(
    kit: Path, tmp_path: Path, more: list[str], what: str, size: tuple[int, int]
) -> None:
    words = [
        "--portrait",
        kit / "face.png",
        "--speech",
        kit / "voice.wav",
        "--model",
        kit / "model",
        "--out",
        "made/a.mp4",
        "--motion",
        "still",
        *more,
    ]
    done = s3dnerf(tmp_path, "synthesize", *map(str, words))
    assert done.returncode == 0, done.stderr
    assert f"made/a.mp4: {what}, 4 frames, 0.16 s; synthetic" in done.stdout
    info = probe(tmp_path / "made/a.mp4")
    assert (len(info.pts), info.width_px, info.height_px, info.has_audio) == (4, *size, True)


WRONG = {
    "no face": ({"--portrait": "wall.png"}, "no face was found in the picture of 260×240 px"),
    "several faces": ({"--portrait": "two.png"}, "2 faces of similar size were found"),
    "no portrait": ({"--portrait": "nobody.png"}, "nobody.png: no such file"),
    "a portrait that is none": ({"--portrait": "voice.wav"}, "not a picture in a format that is read here"),
    "silence": ({"--speech": "silence.wav"}, "silent throughout"),
    "a sound that is none": ({"--speech": "text.wav"}, "text.wav: not a readable video or sound file"),
    "no sound": ({"--speech": "nothing.wav"}, "nothing.wav: no such file"),
    "a picture for a sound": ({"--speech": "face.png"}, "face.png: not a readable video or sound file"),
    "another extension": ({"--out": "made.avi"}, "made.avi — accepted: a name that ends in .mp4"),
    "no such device": ({"--device": "tpu"}, "--device: got tpu — accepted: auto, cpu, cuda"),
    "unknown motion": ({"--motion": "dancing"}, "--motion: got dancing — accepted: still, gentle"),
    "no such colour": ({"--background": "blurple"}, "--background: got blurple — accepted: a colour's name"),
    "no model": ({"--model": "film"}, "expected a folder written by train_s3dnerf"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_synthesize_cannot_use_is_one_message(
    case: str, kit: Path, tmp_path: Path, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"--portrait": "face.png", "--speech": "voice.wav", "--model": "model"} | WRONG[case][0]
    words = [
        word
        for name, value in given.items()
        for word in (name, str(kit / value) if name in ("--portrait", "--speech", "--model") else value)
    ]
    status, _, said = typed("synthesize", *words, *([] if "--out" in given else ["--out", "made.mp4"]))
    first, *rest = said.splitlines()
    assert status == 2 and first.startswith("s3dnerf: ") and WRONG[case][1] in first and not rest
    assert not list(tmp_path.rglob("*.mp4")) and not list(tmp_path.rglob("*.avi"))


def test_folders_of_videos_are_scored_and_every_file_is_accounted_for(
    kit: Path, tmp_path: Path, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert typed("preset", "tiny")[0] == 0
    frames = np.load(kit / "frames.npy")[:, :, 10:250]
    voice = 0.3 * np.sin(np.arange(640 * len(frames)) * 0.2)
    for name in ("good", "broken", "lonely"):
        write_video(tmp_path / f"truth/{name}.mp4", frames, sound=voice)
    write_video(tmp_path / "made/good.mp4", frames)
    (tmp_path / "made/broken.mp4").write_bytes((tmp_path / "made/good.mp4").read_bytes()[:2000])
    status, said, wrong = typed("evaluate", "--generated", "made", "--truth", "truth", "--table", "rows.csv")
    assert status == 0 and not wrong, wrong
    assert "broken: unreadable" in said and "lonely: no_generated_video: lonely.mp4 has no partner" in said
    assert "1 of 2 videos scored" in said and "sync judged by: nobody" in said
    assert "kid_alexnet, fid_alexnet: not measured: switched off (evaluate.lpips: off)" in said
    rows = pd.read_csv(tmp_path / "rows.csv").set_index(["clip", "metric"])
    assert (
        rows.loc[("good", "m_lmd"), "value"] == pytest.approx(0, abs=0.05)
        and rows.loc[("good", "ssim"), "value"] > 0.99
    )
    assert np.isnan(rows.loc[("broken", "ssim"), "value"]) and rows.loc[("broken", "ssim"), "reason"].startswith(
        "unreadable"
    )


def test_folders_that_cannot_be_scored_are_one_message(
    kit: Path, tmp_path: Path, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    typed("preset", "tiny")
    (tmp_path / "made").mkdir()
    (tmp_path / "truth").mkdir()
    for words, expected in ((("nowhere", "truth"), "nowhere: no such folder"), (("made", "truth"), "made: no videos")):
        status, _, said = typed("evaluate", "--generated", words[0], "--truth", words[1])
        assert status == 1 and said.startswith("s3dnerf: evaluate: ") and expected in said and "Traceback" not in said
    (tmp_path / "made/a.mp4").write_bytes(encode_clip(np.load(kit / "frames.npy")[:, :, 10:250], crf=14))
    (tmp_path / "truth/a.mp4").write_text("not a video")
    status, said, _ = typed("evaluate", "--generated", "made", "--truth", "truth")
    assert status == 1 and "0 of 1 videos scored" in said and "a: truth_unreadable" in said
    status, said, _ = typed("evaluate", "--generated", "made")
    assert status == 0 and "1 of 1 videos scored" in said and "a: without_sound" in said and "head_dynamics" in said
    status, _, said = typed("evaluate", "--generated", "made", "--align")
    assert status == 2 and "--align: got no --truth, expected the folder of true videos" in said


@pytest.mark.slow
def test_the_sheets_of_preprocessing_before_anything_is_trained(
    tmp_path: Path, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_of()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(as_dict(settings)))
    status, _, said = typed("sheets")
    assert (
        status == 1
        and "no preprocessed clip — run: dvc repro speech" in said
        and not (tmp_path / "sheets.html").exists()
    )
    make_preset(tmp_path, settings)
    status, said, wrong = typed("sheets", "--out", "pages/a.html")
    assert status == 0 and said.startswith("pages/a.html: ") and not wrong
    assert "hdtf_C_000" in (tmp_path / "pages/a.html").read_text()
