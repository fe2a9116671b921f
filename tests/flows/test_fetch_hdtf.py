"""``s3dnerf fetch hdtf`` against a server on loopback: what comes, what is gone, what a second run asks for, and that
the pipeline reads the folder that is made.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows import cli, fetch_hdtf
from flows.download import DownloadError
from flows.fetch_hdtf import FETCHED, QUARANTINE, held, list_files, planned, wanted_stream
from s3dnerf.core.errors import InputRefused, SettingsError
from s3dnerf.core.whole_files import OutputRefused, claimed
from s3dnerf.corpora.hdtf import parse_lists
from s3dnerf.corpora.records import read_text
from tests.flows.file_server import FileServer, file_server
from tests.flows.small_videos import serve_apart, video_bytes
from tests.stages.running import reasons, run, settings_for, table

VIDEOS = ("Ann", "Bob", "Cid")  # all in RD; a picture of 72 pixels' height, one interval, one crop


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with file_server() as running:
        yield running


def write_lists(folder: Path, urls: dict[str, str], height_px: int = 72) -> Path:
    """HDTF's lists of these videos (name → address), an interval and a crop each."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = {
        "video_url": "{0} {1}",
        "annotion_time": "{0}.mp4 00:00-00:02",
        "resolution": f"{{0}}.mp4 {height_px}",
        "crop_wh": "{0}_0.mp4 20 60 5 60",
    }
    for kind, line in lines.items():
        text = "".join(f"{line.format(name, url)}\n" for name, url in urls.items())
        (folder / f"RD_{kind}.txt").write_text(text)
    return folder


@pytest.fixture
def lists(server: FileServer, tmp_path: Path) -> Path:
    for name in VIDEOS:
        server.files[f"/{name}.mp4"] = video_bytes(72)
    return write_lists(tmp_path / "lists", {name: f"{server.url}/{name}.mp4" for name in VIDEOS})


def fetch(lists: Path | None, folder: Path, **more) -> int:
    return fetch_hdtf.fetch_hdtf(lists, folder, **{"yes": True, "sleep_s": 0, "pause_s": 0, **more})


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_fetched_is_read_by_the_pipeline(
    server: FileServer, lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    apart = serve_apart(server, "Dee", (36, 72, 108))
    write_lists(lists, {name: f"{server.url}/{name}.mp4" for name in VIDEOS} | {"Dee": apart})
    folder = tmp_path / "raw" / "HDTF"
    server.status["/Bob.mp4"] = 404
    server.files["/Cid.mp4"] = video_bytes(108)  # of another height than its crop was measured at
    assert fetch(lists, folder) == 0
    said = capsys.readouterr().out
    assert "4 videos to fetch, 0.0 hours of them annotated" in said and "CC BY 4.0" in said and "free" in said
    assert "3 fetched, 0 here already, 1 gone (quarantine.csv; --retry-gone asks for them again), 0 failed" in said
    assert names(folder) == ["HDTF_dataset", "fetched.csv", "quarantine.csv", "videos"], "nothing else is left"
    assert names(folder / "videos") == ["RD_Ann.mp4", "RD_Cid.mp4", "RD_Dee.mp4"]
    assert (folder / "videos/RD_Ann.mp4").read_bytes() == video_bytes(72)
    first = rows(folder / FETCHED)[0]
    assert (first["video"], first["file"], first["height_px"], first["annotated_px"]) == (
        "RD_Ann", "RD_Ann.mp4", "72", "72",
    )  # fmt: skip

    settings = settings_for(hdtf=folder)
    run(settings, "inventory", "ingest")
    clips = table(settings, "ingest", "hdtf", "clips")
    assert clips["video"].tolist() == [f"videos/RD_{name}.mp4" for name in ("Ann", "Cid", "Dee")]
    assert clips[["crop_x", "crop_y", "crop_w", "crop_h"]].values.tolist() == [
        [20, 5, 60, 60],
        [30, 8, 90, 90],
        [20, 5, 60, 60],
    ]
    assert clips["end_s"].tolist() == [2.0] * 3
    assert reasons(settings, "hdtf") == {"hdtf_RD_Bob_000": "not_held"}


def test_a_second_run_asks_for_nothing_that_is_here_or_gone(
    server: FileServer, lists: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    server.status |= {"/Bob.mp4": 410}
    assert fetch(lists, tmp_path / "HDTF") == 0
    (gone,) = rows(tmp_path / "HDTF" / QUARANTINE)
    assert (gone["video"], gone["url"], gone["reason"]) == ("RD_Bob", f"{server.url}/Bob.mp4", "gone")
    assert gone["date"].startswith("20") and "410" in gone["detail"]
    server.asked.clear()
    capsys.readouterr()
    assert fetch(None, tmp_path / "HDTF", yes=False) == 0, "nothing to fetch: nothing is asked, of a person neither"
    assert server.asked == [] and "0 fetched, 2 here already, 1 gone" in capsys.readouterr().out

    assert fetch(lists, tmp_path / "HDTF", retry_gone=True) == 0
    assert {path for path, _ in server.asked} == {"/Bob.mp4"} and len(rows(tmp_path / "HDTF" / QUARANTINE)) == 1
    del server.status["/Bob.mp4"]
    assert fetch(lists, tmp_path / "HDTF", retry_gone=True) == 0
    assert names(tmp_path / "HDTF/videos") == ["RD_Ann.mp4", "RD_Bob.mp4", "RD_Cid.mp4"]
    assert rows(tmp_path / "HDTF" / QUARANTINE) == [], "what came is gone no more"


def test_a_gone_video_whose_list_has_another_address_now_is_asked_for(
    server: FileServer, lists: Path, tmp_path: Path
) -> None:
    server.status["/Bob.mp4"] = 404
    fetch(lists, tmp_path / "HDTF")
    server.files["/new.mp4"] = video_bytes(72)
    for folder in (lists, tmp_path / "HDTF" / "HDTF_dataset"):
        write_lists(folder, {"Ann": f"{server.url}/Ann.mp4", "Bob": f"{server.url}/new.mp4"})
    assert fetch(lists, tmp_path / "HDTF") == 0 and (tmp_path / "HDTF/videos/RD_Bob.mp4").exists()


def test_a_cut_download_goes_on_in_the_next_run(
    server: FileServer, lists: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    server.cut["/Bob.mp4"] = [10**9, 5000, 5000, 5000, 5000]
    assert fetch(lists, tmp_path / "HDTF") == 1
    assert "2 fetched, 0 here already, 0 gone, 1 failed" in capsys.readouterr().out
    assert (
        names(tmp_path / "HDTF/videos") == ["RD_Ann.mp4", "RD_Cid.mp4"]
        and not (tmp_path / "HDTF/quarantine.csv").exists()
    )
    server.asked.clear()
    assert fetch(lists, tmp_path / "HDTF") == 0
    assert server.asked[-1][1].startswith("bytes=") and (
        tmp_path / "HDTF/videos/RD_Bob.mp4"
    ).read_bytes() == video_bytes(72)
    assert not (tmp_path / "HDTF/.cache").exists()


def test_no_network_is_an_error_and_no_verdict(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with file_server() as down:
        dead = down.url
    urls = {f"V{number}": f"{dead}/{number}.mp4" for number in range(9)}
    with pytest.raises(DownloadError, match="3 videos in a row got no answer, the last: RD_V2: .*nothing was put into"):
        fetch(write_lists(tmp_path / "lists", urls), tmp_path / "HDTF")
    assert not (tmp_path / "HDTF" / QUARANTINE).exists()
    assert "0 fetched, 0 here already, 0 gone, 3 failed, 6 not asked for" in capsys.readouterr().out


def test_an_answer_between_two_silences_goes_on(server: FileServer, tmp_path: Path) -> None:
    with file_server() as down:
        dead = down.url
    server.files["/b.mp4"] = video_bytes(72)
    urls = {"A1": f"{dead}/", "A2": f"{dead}/", "B": f"{server.url}/b.mp4", "C": f"{server.url}/c.mp4", "D": f"{dead}/"}
    assert fetch(write_lists(tmp_path / "lists", urls), tmp_path / "HDTF") == 1
    assert names(tmp_path / "HDTF/videos") == ["RD_B.mp4"]
    assert [row["video"] for row in rows(tmp_path / "HDTF" / QUARANTINE)] == ["RD_C"]


def test_a_lower_picture_than_the_annotated_one_is_said(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    url = serve_apart(server, "Low", (36,))
    assert fetch(write_lists(tmp_path / "lists", {"Low": url}), tmp_path / "HDTF") == 0
    assert "1 came less high than they were annotated (fetched.csv)" in capsys.readouterr().out
    (row,) = rows(tmp_path / "HDTF" / FETCHED)
    assert (row["height_px"], row["annotated_px"]) == ("36", "72")


def test_one_video_at_a_time_with_a_pause_between(lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []
    monkeypatch.setattr(fetch_hdtf.time, "sleep", slept.append)
    fetch(lists, tmp_path / "HDTF", sleep_s=7)
    assert slept == [7, 7]
    with pytest.raises(SettingsError, match="--sleep: got -1, expected 0 or more seconds"):
        fetch(lists, tmp_path / "HDTF", sleep_s=-1)


def test_a_person_is_asked_once(
    server: FileServer, lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SettingsError, match="fetch hdtf: got no terminal to ask at: expected --yes"):
        fetch(lists, tmp_path / "HDTF", yes=False)
    monkeypatch.setattr(fetch_hdtf.sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda text: "n")
    assert fetch(lists, tmp_path / "HDTF", yes=False) == 1 and "nothing fetched" in capsys.readouterr().out
    assert server.asked == [] and not (tmp_path / "HDTF").exists(), "nothing was made either"
    monkeypatch.setattr("builtins.input", lambda text: "y")
    assert fetch(lists, tmp_path / "HDTF", yes=False) == 0 and len(names(tmp_path / "HDTF/videos")) == 3


def test_the_disk_is_looked_at_first(
    server: FileServer, lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_hdtf.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DownloadError, match=r"1 kB free, expected 750 kB at least \(the annotated hours at 1 Mbit/s\)"):
        fetch(lists, tmp_path / "HDTF")
    assert server.asked == []


def test_two_runs_into_one_folder(lists: Path, tmp_path: Path) -> None:
    with claimed(tmp_path / "HDTF" / FETCHED, "--to"):
        with pytest.raises(OutputRefused, match="another run is writing"):
            fetch(lists, tmp_path / "HDTF")


def test_lists_that_cannot_be_used(lists: Path, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="--lists: .*HDTF: got no list there, expected HDTF's RD_video_url.txt"):
        fetch(None, tmp_path / "HDTF")
    (lists / "RD_crop_wh.txt").rename(lists / "other.txt")
    with pytest.raises(InputRefused, match="got lists of RD, expected RD_crop_wh.txt among them"):
        fetch(lists, tmp_path / "HDTF")
    write_lists(lists, {"../Eve": "http://127.0.0.1:1/"})
    with pytest.raises(InputRefused, match="got the video name 'RD_../Eve', expected one without a slash"):
        fetch(lists, tmp_path / "HDTF")
    write_lists(lists, {"Ann": "http://127.0.0.1:1/"})
    write_lists(tmp_path / "HDTF/HDTF_dataset", {"Ann": "http://127.0.0.1:2/"})
    with pytest.raises(InputRefused, match="got a RD_video_url.txt that differs from .*: move one away"):
        fetch(lists, tmp_path / "HDTF")
    (tmp_path / "HDTF" / QUARANTINE).write_text("name,why\n")
    with pytest.raises(InputRefused, match="quarantine.csv: got no column video, url, reason, date, detail"):
        fetch(lists, tmp_path / "HDTF")


def test_what_counts_as_here(tmp_path: Path) -> None:
    write_lists(tmp_path, dict.fromkeys(("Ann", "Bob", "Cid"), "http://127.0.0.1:1/"))
    (tmp_path / "WDA_video_url.txt").write_text("Cid http://127.0.0.1:1/\n")
    entries = parse_lists({path.name: read_text(path) for path in tmp_path.glob("*.txt")})
    for name in ("videos/RD_Ann.webm", "videos/RD_Bob.mp4.part", "videos/Cid.mp4", "clips/x/RD_Bob_000.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert held(tmp_path, entries) == {"RD_Ann"}, "Cid might be either"
    (tmp_path / "clips/x/RD_Bob_000.mp4").touch()
    (tmp_path / "videos/WDA_Cid.mp4").touch()
    assert held(tmp_path, entries) == {"RD_Ann", "RD_Bob", "WDA_Cid"}


def test_the_real_lists(shared: Path, tmp_path: Path) -> None:
    entries = parse_lists({n: read_text(p) for n, p in list_files(shared / "corpora" / "HDTF").items()})
    plan = planned(tmp_path, entries, [], again=False)
    assert len(plan.missing) == 369 and plan.unused == ("RD_Radio24",), "an address, and no interval"
    assert plan.hours == pytest.approx(17.07, abs=0.01)
    assert {e.url.split("/")[2] for e in plan.missing} == {"www.youtube.com"}
    stream = wanted_stream(entries["WRA_KevinMcCarthy1"])
    assert (stream.height_px, stream.least_width_px, stream.least_height_px) == (0, 880, 473)
    with_clips = planned(shared / "corpora" / "HDTF", entries, [], again=False)
    assert len(with_clips.here) + len(with_clips.missing) + len(with_clips.unused) == len(entries)
    assert "RD_Radio8" in with_clips.here


def test_the_command_line(server: FileServer, lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"fetch hdtf: got no folder \(no project is here\), expected --to DIR"):
        cli.fetch(("hdtf",), lists=lists, yes=True)
    with pytest.raises(SettingsError, match="got hdtf lrs2, expected one of hdtf, lrs2, mead alone"):
        cli.fetch(("hdtf", "lrs2"), lists=lists, to=tmp_path / "HDTF")
    with pytest.raises(SettingsError, match="--archives: got it for hdtf"):
        cli.fetch(("hdtf",), archives=lists, to=tmp_path / "HDTF")
    with pytest.raises(SettingsError, match="got no name, expected one of hdtf"):
        cli.fetch((), to=tmp_path / "HDTF")
    assert cli.fetch(("hdtf",), lists=lists, to=tmp_path / "HDTF", yes=True, sleep=0) == 0
    assert len(names(tmp_path / "HDTF/videos")) == 3
