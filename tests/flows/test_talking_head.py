"""The talking head from Python, and the examples that use it."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import s3dnerf
from s3dnerf import TalkingHead
from s3dnerf.core.errors import SettingsError
from s3dnerf.faces.types import FaceError
from s3dnerf.speech.features import TokenStream, speech_backend
from s3dnerf.synthesis.portrait import prepare_portrait
from s3dnerf.synthesis.synthesizer import SynthesisError
from s3dnerf.video.pictures import read_picture
from s3dnerf.video.probing import probe

ROOT = Path(__file__).resolve().parents[2]
VOICE = (0.3 * np.sin(np.arange(2000) * 0.2)).astype(np.float32)


@pytest.fixture(scope="module")
def head(kit: Path) -> TalkingHead:
    return TalkingHead.load(kit / "model", device="cpu")


def test_files_and_arrays_say_the_same(kit: Path, head: TalkingHead) -> None:
    photo = read_picture(kit / "face.png")
    by_file = np.stack(list(head.animate(kit / "face.png", kit / "voice.wav")))
    by_array = np.stack(list(head.animate(photo, VOICE)))
    assert by_file.shape == (4, *photo.shape) and np.abs(by_file.astype(int) - by_array).max() <= 1


def test_frames_come_one_by_one_and_are_counted_before(
    kit: Path, head: TalkingHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    render = head.synthesizer.generator.render
    monkeypatch.setattr(
        head.synthesizer.generator, "render", lambda *given, **named: (calls.append(1), render(*given, **named))[1]
    )
    said = head.animate(kit / "face.png", VOICE, crop=True, batch=1)
    assert len(said) == 4 and not said.whole and not calls
    assert next(iter(said)).shape == (256, 256, 3) and len(calls) == 1
    assert len(list(said)) == 3  # the rest: an animation is made once


def test_it_writes_a_video_with_the_recordings_sound(kit: Path, head: TalkingHead, tmp_path: Path) -> None:
    seen: list[int] = []
    said = head.animate(kit / "face.png", kit / "voice.wav", motion="still")
    assert said.write(tmp_path / "a.mp4", over=lambda frames: (seen.append(len(f)) or f for f in frames)) == 4
    info = probe(tmp_path / "a.mp4")
    assert (len(info.pts), info.width_px, info.height_px, info.has_audio, len(seen)) == (4, 260, 240, True, 4)


def test_what_it_cannot_use_is_said_before_any_frame(kit: Path, head: TalkingHead) -> None:
    with pytest.raises(SettingsError, match="^motion: got dancing — accepted: still, gentle"):
        head.animate(kit / "face.png", VOICE, motion="dancing")
    with pytest.raises(SettingsError, match="^views: got two"):
        head.animate(kit / "face.png", VOICE, views="two")
    with pytest.raises(SettingsError, match="^yaw 70 pitch 0"):
        head.animate(kit / "face.png", VOICE, yaw_deg=70)
    with pytest.raises(SynthesisError, match="silent throughout"):
        head.animate(kit / "face.png", np.zeros(2000, np.float32))
    with pytest.raises(FaceError, match="no_face"):
        head.animate(kit / "wall.png", VOICE)
    with pytest.raises(SynthesisError, match="expected a folder written by train_s3dnerf"):
        TalkingHead.load(kit / "film")


def test_the_package_names_what_it_has_and_nothing_else() -> None:
    assert s3dnerf.TalkingHead is TalkingHead and "TalkingHead" in s3dnerf.__all__
    with pytest.raises(AttributeError, match="no attribute 'TalkingFoot'"):
        _ = s3dnerf.TalkingFoot


@pytest.mark.slow
def test_the_example_runs(kit: Path, tmp_path: Path) -> None:
    words = [kit / "face.png", kit / "voice.wav", tmp_path / "a.mp4", kit / "model"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/talk.py"), *map(str, words)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "frames of 260×240 px" and "4 frames, 0.1 s of speech" in done.stdout
    assert probe(tmp_path / "a.mp4").has_audio


@pytest.fixture
def examples(kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The examples' folder; the working directory has the two files that they name."""
    shutil.copyfile(kit / "face.png", tmp_path / "me.jpg")  # what it is is seen by its content
    shutil.copyfile(kit / "voice.wav", tmp_path / "hello.wav")
    monkeypatch.chdir(tmp_path)
    return ROOT / "examples"


def test_the_notebook_runs_cell_by_cell_and_holds_no_output(
    kit: Path, examples: Path, capsys: pytest.CaptureFixture
) -> None:
    from PIL import Image

    notebook = json.loads((examples / "talk.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5) and notebook["metadata"]["kernelspec"]
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells) and all(isinstance(cell["source"], list) for cell in cells)
    names: dict[str, object] = {}
    shown = []
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        assert cell["outputs"] == [] and cell["execution_count"] is None
        lines = ast.parse("".join(cell["source"])).body
        last = lines.pop() if isinstance(lines[-1], ast.Expr) else None
        exec(compile(ast.Module(lines, []), cell["id"], "exec"), names)
        if last is not None:  # which a notebook shows
            shown.append(eval(compile(ast.Expression(last.value), cell["id"], "eval"), names))
        if "parameters" in cell["metadata"].get("tags", []):
            names["model"] = kit / "model"
    pictures = [value for value in shown if isinstance(value, Image.Image)]
    assert [picture.size for picture in pictures] == [(5 * 260, 240), (768, 768)]
    said = capsys.readouterr().out
    assert said == "frames of 260×240 px, 4 in all\nhello.mp4: 4 frames, 0.1 s of speech\n"
    assert probe("hello.mp4").has_audio


@pytest.mark.slow
def test_the_table_of_jobs_is_made(kit: Path, examples: Path, typed) -> None:
    shutil.copyfile(examples / "jobs.csv", "jobs.csv")
    status, said, _ = typed("synthesize", "--batch", "jobs.csv", "--model", kit / "model")
    assert status == 0 and said.splitlines()[-1] == "3 rows: 3 made; jobs.result.csv"
    assert [probe(f"hello{name}.mp4").width_px for name in ("", "-still", "-around")] == [260, 260, 256]


@pytest.mark.parametrize("batch", [1, 4])
def test_tokens_that_are_made_on_the_way_give_the_frames_of_all_tokens_at_once(
    batch: int, kit: Path, head: TalkingHead
) -> None:
    backend = speech_backend(head.settings.speech)
    samples = np.random.default_rng(0).normal(0, 0.1, 640 * 11).astype(np.float32)
    face = prepare_portrait(read_picture(kit / "face.png"), head.settings)
    given = face.frame, face.mask, face.world_to_camera, face.intrinsics, face.box, face.landmarks
    identity = head.synthesizer.portrait(*given)
    poses, intrinsics = (np.repeat(a[None], 11, 0) for a in (face.world_to_camera, face.intrinsics))
    at_once = list(head.synthesizer.frames(identity, backend.tokens(samples), poses, intrinsics, 11))
    stream = TokenStream(backend, samples)
    on_the_way = list(head.synthesizer.frames(identity, stream, poses, intrinsics, batch))
    assert len(on_the_way) == 11 and np.abs(np.stack(on_the_way).astype(int) - np.stack(at_once)).max() <= 1
    wrong = TokenStream(backend, samples[:-640])
    with pytest.raises(SynthesisError, match="11 poses"):
        next(head.synthesizer.frames(identity, wrong, poses, intrinsics))
