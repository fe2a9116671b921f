"""``s3dnerf synthesize --batch``: a table of videos, each row made or refused."""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from flows import synthesize as command
from flows.synthesize_batch import read_table, value_of
from s3dnerf.core.errors import SettingsError
from s3dnerf.core.text_files import TextFileError
from s3dnerf.speech.audio import wav_bytes
from s3dnerf.video.probing import probe

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("portrait", "speech", "out", "yaw", "blinks")


@pytest.fixture
def mine(kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the table, in which the kit is; another one is the working directory."""
    shutil.copytree(kit, tmp_path / "jobs/kit")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "jobs"


def result(path: Path, separator: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), delimiter=separator))


def batch(mine: Path, text: str, *more: str) -> list[str]:
    (mine / "jobs.csv").write_text(text, encoding="utf-8")
    return ["synthesize", "--batch", "../jobs/jobs.csv", "--model", "../jobs/kit/model", "--motion", "still", *more]


def test_each_row_is_made_or_refused_and_the_network_is_loaded_once(
    mine: Path, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    from s3dnerf.synthesis import synthesizer

    load = synthesizer.load_generator
    monkeypatch.setattr(synthesizer, "load_generator", lambda folder: (loads.append(folder), load(folder))[1])
    command.loaded.cache_clear()
    text = (
        "Portrait,speech,out,crop,motion\n"
        "kit/face.png,kit/voice.wav,a.mp4,,\n"
        "kit/wall.png,kit/voice.wav,b.mp4,,\n"
        "\n,,,,\n"
        'kit/face.png,kit/voice.wav,"deep/c, d.mp4",yes,gentle\n'
        "kit/face.png,kit/silence.wav,e.mp4,,\n"
        "kit/face.png,kit/none.wav,f.mp4,,\n"
    )
    status, said, wrong = typed(*batch(mine, text))
    assert (status, wrong, len(loads)) == (3, "", 1)
    rows = result(mine / "jobs.result.csv")
    assert [row["outcome"] for row in rows] == ["made", "refused", "made", "refused", "refused"]
    assert [row["line"] for row in rows] == ["2", "3", "6", "7", "8"]
    for row, reason in zip(rows, ["", "no face was found", "", "silent throughout", "none.wav: no such file"]):
        assert reason in row["reason"] and bool(reason) == bool(row["reason"])
    assert said.index("line 8: refused") < said.index("a.mp4: the whole picture")  # known before anything was made
    assert said.splitlines()[-1] == "5 rows: 2 made, 3 refused; ../jobs/jobs.result.csv"
    assert probe(mine / "a.mp4").width_px == 260 and probe(mine / "deep/c, d.mp4").width_px == 256
    assert sorted(p.name for p in mine.iterdir()) == ["a.mp4", "deep", "jobs.csv", "jobs.result.csv", "kit"]


def test_a_table_from_excel_in_europe(mine: Path, typed) -> None:
    text = 'sep=;\nportrait;speech;out;yaw\n"kit/face.png";kit/voice.wav;ä.mp4;"2,5"\nkit/face.png;kit/voice.wav;b.mp4;weit\n'
    (mine / "jobs.csv").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    words = ["--batch", "../jobs/jobs.csv", "--model", "../jobs/kit/model", "--motion", "still", "--table", "said.csv"]
    status, said, _ = typed("synthesize", *words)
    assert status == 3 and "line 4: refused: yaw: got weit — expected a number" in said
    rows = result(Path("said.csv"), ";")
    assert [(row["yaw"], row["outcome"]) for row in rows] == [("2,5", "made"), ("weit", "refused")]
    assert Path("said.csv").read_bytes().startswith(b"\xef\xbb\xbf") and (mine / "ä.mp4").is_file()


def test_rows_that_would_write_one_file_or_an_input_are_refused(mine: Path, typed) -> None:
    shutil.copyfile(mine / "kit/voice.wav", mine / "voice.mp4")
    text = (
        "portrait,speech,out\n"
        "kit/face.png,kit/voice.wav,a.mp4\n"
        "kit/face.png,kit/voice.wav,kit/../a.mp4\n"
        "kit/face.png,voice.mp4,b.mp4\n"
        "kit/face.png,kit/voice.wav,voice.mp4\n"
        "kit/face.png,kit/voice.wav,c.avi\n"
        "kit/face.png,,d.mp4\n"
        "kit/face.png,kit/voice.wav,e.mp4,more\n"
    )
    before = (mine / "voice.mp4").read_bytes()
    assert typed(*batch(mine, text))[0] == 3
    rows = result(mine / "jobs.result.csv")
    assert [row["outcome"] for row in rows] == ["refused", "refused", "made", *["refused"] * 4]
    assert rows[1]["reason"] == "out: lines 2, 3 have kit/../a.mp4 — expected a name of its own for each"
    assert [row["reason"].split(" — ")[0] for row in rows[3:]] == [
        "out: voice.mp4 is what line 4 is made of",
        "out: got c.avi",
        "speech: empty",
        "4 cells, expected 3: quote a cell that holds ','",
    ]
    assert (mine / "voice.mp4").read_bytes() == before


@pytest.mark.slow
def test_resumed_only_what_is_not_there_or_not_of_this_row_is_made(mine: Path, typed) -> None:
    text = "portrait,speech,out,crop\n" + "".join(f"kit/face.png,kit/{v}.wav,{v}.mp4,\n" for v in ("voice", "other"))
    shutil.copyfile(mine / "kit/voice.wav", mine / "kit/other.wav")
    outcomes = lambda: [row["outcome"] for row in result(mine / "jobs.result.csv")]  # noqa: E731
    assert typed(*batch(mine, text, "--resume"))[0] == 0 and outcomes() == ["made", "made"]
    status, said, _ = typed(*batch(mine, text, "--resume"))
    assert status == 0 and outcomes() == ["kept", "kept"] and said.splitlines()[-1].startswith("2 rows: 2 kept; ")
    assert typed(*batch(mine, text))[0] == 0 and outcomes() == ["made", "made"]  # without it, all again
    os.utime(mine / "kit/other.wav")
    assert typed(*batch(mine, text, "--resume"))[0] == 0 and outcomes() == ["kept", "made"]
    changed = text.replace("voice.mp4,", "voice.mp4,yes")
    assert typed(*batch(mine, changed, "--resume"))[0] == 0 and outcomes() == ["made", "kept"]
    assert typed(*batch(mine, changed, "--resume", "--no-blinks"))[0] == 0 and outcomes() == ["made", "made"]
    (mine / "other.mp4").unlink()
    assert typed(*batch(mine, changed, "--resume", "--no-blinks"))[0] == 0 and outcomes() == ["kept", "made"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("portrait,speech\na,b\n", "columns: missing out — accepted: portrait, speech, out, "),
        ("portrait,speech,out,mood\na,b,c,d\n", "columns: got mood — accepted: "),
        ("portrait,speech,out,out\na,b,c,d\n", "columns: out twice — accepted: "),
        ("portrait,speech,out,model\na,b,c,d\n", "column model: it holds for all rows — give it on the command line"),
        ("portrait,speech,out\n\n", "no rows — expected a line of column names"),
        ("", "columns: missing portrait, speech, out"),
        ('portrait,speech,out\na,"b,c\n', "not CSV (unexpected end of data)"),
        (None, "no such file — expected a CSV table"),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_sentence(table: str | None, said: str, mine: Path, typed) -> None:
    words = batch(mine, table or "")
    if table is None:
        (mine / "jobs.csv").unlink()
    status, out, wrong = typed(*words)
    assert status == 2 and not out and said in wrong and len(wrong.splitlines()) == 1
    assert not (mine / "jobs.result.csv").exists()


def test_another_encoding_is_named(tmp_path: Path) -> None:
    for data in ("portrait;ä".encode("cp1252"), "portrait,speech".encode("utf-16")):
        (tmp_path / "a.csv").write_bytes(data)
        with pytest.raises(TextFileError, match="UTF-8"):
            read_table(tmp_path / "a.csv", COLUMNS)


def test_options_that_do_not_go_together_are_refused(mine: Path, typed) -> None:
    status, _, wrong = typed(*batch(mine, "portrait,speech,out\n", "--out", "a.mp4"))
    assert status == 2 and "--batch: got --out as well — expected them as columns of the table alone" in wrong
    status, _, wrong = typed("synthesize", "--model", "../jobs/kit/model", "--portrait", "a.png")
    assert status == 2 and "--speech, --out: missing — expected --portrait, --speech and --out, or --batch" in wrong
    words = ["--portrait", "a.png", "--speech", "a.wav", "--out", "a.mp4", "--model", "../jobs/kit/model"]
    status, _, wrong = typed("synthesize", *words, "--resume")
    assert status == 2 and "--resume: got it without --batch" in wrong
    status, _, wrong = typed(*batch(mine, "portrait,speech,out\na,b,c.mp4\n", "--table", "../jobs/kit/face.png"))
    assert status == 1 and "--table: ../jobs/kit/face.png is a picture" in wrong


def test_a_colour_that_there_is_not_is_refused_before_anything_is_made(mine: Path, typed) -> None:
    text = "portrait,speech,out,background\nkit/face.png,kit/voice.wav,a.mp4,greenish\n"
    status, said, _ = typed(*batch(mine, text))
    assert status == 3 and "line 2: refused: background: got greenish" in said and not (mine / "a.mp4").exists()
    assert "a.mp4: " not in said


def test_cells_are_read_as_their_option_is() -> None:
    assert value_of("out", "a/b.mp4", Path | None, Path("x")) == Path("x/a/b.mp4")
    assert value_of("crop", "TRUE", bool, Path()) is True and value_of("crop", "no", bool, Path()) is False
    assert value_of("yaw", "1,5", float, Path(), decimal_comma=True) == 1.5 and value_of("n", "3", int, Path()) == 3
    assert value_of("to", "b", Literal["a", "b"], Path()) == "b" and value_of("face", "left", str, Path()) == "left"
    for text, kind, said in (
        ("1,5", float, "a number"),
        ("maybe", bool, "true, yes"),
        ("c", Literal["a", "b"], "a, b"),
    ):
        with pytest.raises(SettingsError, match=f"^x: got {text} — .*{said}"):
            value_of("x", text, kind, Path())


@pytest.mark.slow
def test_a_killed_batch_leaves_whole_videos_and_goes_on(mine: Path, typed) -> None:
    sound = 0.3 * np.sin(np.arange(640 * 500) * 0.2).astype(np.float32)
    (mine / "kit/long.wav").write_bytes(wav_bytes(sound))
    words = batch(mine, "portrait,speech,out\nkit/face.png,kit/voice.wav,a.mp4\nkit/face.png,kit/long.wav,b.mp4\n")
    command_line = [sys.executable, "-m", "flows.cli", *words]
    run = subprocess.Popen(command_line, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while not list(mine.glob(".b.mp4.*.part")) and run.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert [row["outcome"] for row in result(mine / "jobs.result.csv")] == ["made", "not begun"]
    assert len(probe(mine / "a.mp4").pts) == 4 and not (mine / "b.mp4").exists()
    (mine / "kit/long.wav").write_bytes(wav_bytes(sound[: 640 * 10]))
    assert typed(*words, "--resume")[0] == 0
    assert [row["outcome"] for row in result(mine / "jobs.result.csv")] == ["kept", "made"]
    assert len(probe(mine / "b.mp4").pts) == 10
