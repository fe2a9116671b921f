"""What commands write: whole or not at all, never over an input, refused before any work where it cannot be."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from s3dnerf.core.whole_files import claimed
from s3dnerf.speech.audio import wav_bytes
from s3dnerf.synthesis.content_credentials import signing
from s3dnerf.synthesis.origin import Origin
from s3dnerf.synthesis.synthesizer import write_video
from s3dnerf.video.reading import probe
from tests.signals import as_in_a_terminal
from tests.videos import write_video as write_test_video

ROOT = Path(__file__).resolve().parents[2]


def words(kit: Path, out: str | Path, **other: str | Path) -> list[str]:
    given = {
        "portrait": kit / "face.png",
        "speech": kit / "voice.wav",
        "model": kit / "model",
        "motion": "still",
    } | other
    return ["synthesize", *(f"--{name}={value}" for name, value in given.items()), f"--out={out}"]


@pytest.fixture
def mine(kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kit copied, so that a mistake destroys nothing; the working directory."""
    shutil.copytree(kit, tmp_path / "kit")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "kit"


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "dvc.yaml")  # which makes it a project
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.mark.parametrize("given", ["portrait", "speech", "motion", "model"])
@pytest.mark.parametrize("how", ["itself", "hard link", "link"])
def test_no_input_of_a_synthesis_is_written_over(given: str, how: str, mine: Path, tmp_path: Path, typed) -> None:
    """Any of them may be an mp4: a portrait's name says nothing, a voice and a movement are often a video's."""
    source = {"portrait": "face.png", "speech": "voice.wav", "motion": "film", "model": "model/generator.safetensors"}[
        given
    ]
    original = mine / source if given != "motion" else next((mine / "film").rglob("*.mp4"))
    copy = tmp_path / "given.mp4" if given != "model" else original
    if given != "model":
        shutil.copyfile(original, copy)
    out = tmp_path / "out.mp4"
    if how == "itself":
        out = copy if given != "model" else mine / "model/new.mp4"
    elif how == "hard link":
        os.link(copy, out)
    else:
        out.symlink_to(copy)
    before = contents(tmp_path)
    status, _, said = typed(*words(mine, out, **({} if given == "model" else {given: copy})))
    assert status == 1 and said.startswith("s3dnerf: synthesize: --out: ") and ": expected another " in said
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("folder.mp4", "folder.mp4 is a folder: expected the name of a file"),
        ("kit/voice.wav/a.mp4", "voice.wav is no folder and cannot be made one"),
        (f"{'x' * 260}.mp4", "File name too long"),
        ("/proc/a.mp4", "/proc/a.mp4 cannot be written"),
    ],
)
def test_an_out_that_cannot_be_is_found_before_any_work(
    out: str, said: str, mine: Path, tmp_path: Path, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3dnerf.synthesis.synthesizer.load_generator", lambda folder: pytest.fail("begun"))
    (tmp_path / "folder.mp4").mkdir()
    status, _, wrong = typed(*words(mine, out))
    assert status == 1 and said in wrong and "Traceback" not in wrong
    assert not list(tmp_path.rglob(".*"))


def test_the_second_of_two_syntheses_with_one_out_ends_at_once(mine: Path, tmp_path: Path, typed) -> None:
    with claimed(tmp_path / "a.mp4", "--out"):
        status, _, said = typed(*words(mine, "a.mp4"))
    assert (
        status == 1
        and said.splitlines()[0] == "s3dnerf: synthesize: --out: another run is writing a.mp4 now: nothing done"
    )
    assert not list(tmp_path.glob("*.mp4")) and not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_two_syntheses_at_once_with_one_out(mine: Path, tmp_path: Path) -> None:
    """One whole file, status 0 and 1. The speech is long enough that neither is done before the other begins."""
    (tmp_path / "kit/long.wav").write_bytes(wav_bytes(0.3 * np.sin(np.arange(640 * 200) * 0.2).astype(np.float32)))
    command = [sys.executable, "-m", "flows.cli", *words(mine, "a.mp4", speech=mine / "long.wav")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    runs = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [run.communicate(timeout=300)[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 1], said
    assert "another run is writing a.mp4 now" in "".join(said)
    assert len(probe(tmp_path / "a.mp4").pts) == 200
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "kit"]


NAMES = ["a:b", "?", "%d", "50%", "*", "a\nb", "'\"", "-x", "http:", "ü", os.fsdecode(b"n\xe4me"), "x" * 251]


@pytest.mark.parametrize("name", NAMES)
def test_a_video_of_any_name_and_in_a_folder_of_any_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ffmpeg would take them for a protocol, a pattern, an option."""
    monkeypatch.chdir(tmp_path)
    frames = [np.full((32, 32, 3), level, np.uint8) for level in (20, 200, 90)]
    for out in (Path(f"{name}.mp4"), Path(name, "a.mp4")):
        assert write_video(out, frames, np.full(1920, 0.1, np.float32), "comment") == 3
        os.rename(out, "plain.mp4")
        assert len(probe("plain.mp4").pts) == 3
        Path("plain.mp4").unlink()
    assert [p.name for p in tmp_path.rglob("*")] == [name]


@pytest.mark.parametrize("name", ["a\nb", os.fsdecode(b"n\xe4me"), "-x"])
def test_what_is_said_of_an_odd_name_is_one_line(name: str, mine: Path, tmp_path: Path, typed) -> None:
    with claimed(tmp_path / f"{name}.mp4", "--out"):
        status, _, said = typed(*words(mine, f"{name}.mp4"))
    assert status == 1 and len(said.splitlines()) == 2 and "another run is writing" in said


@pytest.fixture
def folders(kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed) -> Path:
    monkeypatch.chdir(tmp_path)
    assert typed("preset", "tiny")[0] == 0
    frames = np.load(kit / "frames.npy")[:, :, 10:250]
    for folder in ("made", "truth"):
        write_test_video(tmp_path / folder / "a.mp4", frames)
    return tmp_path


def test_a_table_is_never_written_over_a_video(folders: Path, typed) -> None:
    shutil.copyfile(folders / "made/a.mp4", folders / "made/b")
    os.link(folders / "truth/a.mp4", folders / "linked.csv")
    (folders / "pointing.csv").symlink_to(folders / "made/a.mp4")
    before = contents(folders)
    for table in ("made/a.mp4", "truth/a.mp4", "made/b", "linked.csv", "pointing.csv", "new.mp4"):
        status, said, wrong = typed("evaluate", "--generated", "made", "--truth", "truth", "--table", table)
        assert status == 1 and not said and f"--table: {table} is a video: expected the name of a table" in wrong
    assert contents(folders) == before


def test_a_table_s_folder_is_made_and_what_cannot_be_is_found_before_any_work(
    folders: Path, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folders / "rows").mkdir()
    with monkeypatch.context() as broken:
        broken.setattr("s3dnerf.evaluation.tools.load_tools", lambda *_: pytest.fail("begun"))
        for table, expected in (("rows", "rows is a folder"), ("params.yaml/a.csv", "params.yaml is no folder")):
            status, said, wrong = typed("evaluate", "--generated", "made", "--truth", "truth", "--table", table)
            assert status == 1 and not said and expected in wrong
    status, said, wrong = typed("evaluate", "--generated", "made", "--truth", "truth", "--table", "deep/down/rows.csv")
    assert status == 0 and not wrong and set(pd.read_csv(folders / "deep/down/rows.csv")["clip"]) == {"a"}
    assert [p.name for p in (folders / "deep/down").iterdir()] == ["rows.csv"]


def test_the_sheets_and_a_comparison_are_refused_before_any_work(
    folders: Path, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3dnerf.reporting.sheets.sheets_page", lambda *_: pytest.fail("begun"))
    monkeypatch.setattr("flows.audit.compare", lambda *_: pytest.fail("begun"))
    status, _, said = typed("sheets", "--out", "made")
    assert status == 1 and "--out: made is a folder" in said
    status, _, said = typed("audit", "compare", "made", "truth", "--out", "params.yaml")
    assert status == 1 and "params.yaml is no folder and cannot be made one" in said
    status, _, said = typed("audit", "compare", "made", "truth", "--out", "truth/more")
    assert status == 1 and "lies in the second (truth)" in said and not (folders / "truth/more").exists()


def stopped(folder: Path, command: list[str], number: int, begun: str) -> subprocess.CompletedProcess[str]:
    """Run a command, send it a signal once a file like ``begun`` is there, and wait for its end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *command], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=as_in_a_terminal,
    )  # fmt: skip
    while not list(folder.glob(begun)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    said, wrong = process.communicate(timeout=120)
    assert not psutil.wait_procs(children, timeout=5)[1]
    return subprocess.CompletedProcess(command, process.returncode, said, wrong)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_synthesis_that_is_stopped_in_its_middle(number: int, mine: Path, tmp_path: Path) -> None:
    (tmp_path / "long.wav").write_bytes(wav_bytes(0.3 * np.sin(np.arange(16000 * 120) * 0.2).astype(np.float32)))
    done = stopped(tmp_path, words(mine, "deep/a.mp4", speech="long.wav"), number, "deep/.a.mp4.*.part")
    assert (done.returncode, done.stderr) == (128 + number, "s3dnerf: synthesize: stopped\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kit", "long.wav"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_evaluation_that_is_stopped_in_its_middle(number: int, folders: Path) -> None:
    for name in range(40):
        for folder in ("made", "truth"):
            shutil.copyfile(folders / folder / "a.mp4", folders / folder / f"{name}.mp4")
    before = contents(folders)
    command = ["evaluate", "--generated", "made", "--truth", "truth", "--table", "rows.csv"]
    done = stopped(folders, command, number, ".rows.csv.lock")
    assert (done.returncode, done.stderr) == (128 + number, "s3dnerf: evaluate: stopped\n")
    assert contents(folders) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or sys.platform != "linux":
        pytest.skip("only root on Linux can mount a tmpfs")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_is_full_is_found_before_any_work(
    small_disk: Path, mine: Path, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3dnerf.synthesis.synthesizer.load_generator", lambda folder: pytest.fail("begun"))
    (small_disk / "filler").write_bytes(bytes((1 << 20) - 8192))
    status, _, said = typed(*words(mine, small_disk / "a.mp4"))
    assert status == 1 and "a.mp4 cannot be written: No space left on device" in said
    assert [p.name for p in small_disk.iterdir()] == ["filler"]


def test_a_disk_that_fills_up_while_the_video_is_written(small_disk: Path) -> None:
    noise = np.random.default_rng(0)
    frames = (noise.integers(0, 255, (256, 256, 3), dtype=np.uint8) for _ in range(100))
    with pytest.raises(OSError, match="No space left on device.*a.mp4") as full:
        write_video(small_disk / "a.mp4", frames, np.full(640 * 100, 0.1, np.float32), "comment")
    assert full.value.errno == errno.ENOSPC and list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up_while_the_video_is_signed(small_disk: Path) -> None:
    """It holds the video once and not twice."""
    noise = np.random.default_rng(0)
    frames = [noise.integers(0, 255, (128, 128, 3), dtype=np.uint8) for _ in range(56)]
    samples = np.full(640 * 56, 0.1, np.float32)
    assert write_video(small_disk / "plain.mp4", frames, samples, "comment") == 56
    assert (1 << 19) < (small_disk / "plain.mp4").stat().st_size < (1 << 20) - (1 << 17)
    (small_disk / "plain.mp4").unlink()
    with pytest.raises(OSError, match="No space left on device.*a.mp4") as full:
        write_video(small_disk / "a.mp4", frames, samples, "comment", sign=signing(Origin("full", "", "")))
    assert full.value.errno == errno.ENOSPC and list(small_disk.iterdir()) == []


def test_a_disk_that_may_only_be_read(small_disk: Path, mine: Path, typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3dnerf.synthesis.synthesizer.load_generator", lambda folder: pytest.fail("begun"))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for out in (small_disk / "a.mp4", small_disk / "deep/a.mp4"):
        status, _, said = typed(*words(mine, out))
        assert status == 1 and "a.mp4 cannot be written: " in said and "Read-only file system" in said
