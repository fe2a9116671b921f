"""Frames a second from raw video to speech tokens: this project's stages against the usual way, in the same run; and
their memory.

    python -m benchmarks.preprocess [--corpora ../shared/corpora] [--only EX_May,RD_] [--usual-s 2] [--minutes 10]

Over the real clips in HDTF's layout (settings: preset ``mini``), each process on one thread and, ffmpeg with it, on a
core of its own:

- clip by clip: each through inventory, ingest, resample, align, masks, lips and speech, alone, two at a time; and in
  the same way the first ``--usual-s`` seconds of each (0: all of it) as :mod:`benchmarks.usual_way` describes. A ratio
  a clip, of processor seconds, ffmpeg's included; a clip alone bears a whole run's fixed costs, a short one most;
- together: all clips at once, stage by stage, their packs on a pool of one process, then of two. Compared with the
  usual way's frames a second in two processes, each clip counting by its length: what a user waits;
- memory: the largest sum of proportional set sizes while a 1080p video of so many minutes, made of a real one, goes
  through the same stages on two processes.

Processes have done a short clip before time is taken: modules are imported, weights read. Writes
benchmarks/results/preprocess.json for all clips.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from benchmarks.record import RESULTS, origin, write
from s3dnerf.core.processes import one_thread
from s3dnerf.settings.loading import as_dict, preset_settings, settings_from
from s3dnerf.settings.schema import Settings
from s3dnerf.video.encoding import ffmpeg_path
from s3dnerf.video.packs import PACK_STAGES, CorpusPacks
from stages.context import Context, run_inline

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("inventory", "ingest", *PACK_STAGES)
LOOK_EVERY_S = 0.2


def benchmark_settings(raw: Path) -> Settings:
    """The preset ``mini`` over one folder in HDTF's layout; nothing is held out, no bad clip stops a stage."""
    given = as_dict(preset_settings("mini"))
    given["raw"] = {"hdtf": str(raw), "lrs2": None, "mead": None, "portraits": None}
    given["speech"]["sync_filter"] = "off"  # the usual way has none
    given["speech"] |= {"backend": "logmel"}
    given["ingest"] |= {"hdtf_test_speakers": [], "same_person": [], "max_failed_fraction": 1.0}
    return settings_from(given)


def stage_by_stage(settings: Settings, run: Callable[..., list[Any]] | None = None) -> dict[str, float]:
    """All stages in the working directory, with a runner (default: one job after the other here). Returns seconds a
    stage.
    """
    seconds = {}
    for name in STAGES:
        begun = time.perf_counter()
        importlib.import_module(f"stages.{name}").main(Context(settings=settings, stage=name, run=run or run_inline))
        seconds[name] = round(time.perf_counter() - begun, 2)
    return seconds


def frames_made(settings: Settings) -> tuple[int, int]:
    """25 Hz frames that went into ``resample`` and those that came out of ``speech``."""
    index = pd.read_parquet(settings.data_dir / "ingest" / "hdtf" / "clips.parquet")
    lengths = dict(zip(index["clip"], np.rint(25 * (index["end_s"] - index["start_s"])).astype(int)))
    made = CorpusPacks(settings.data_dir / "speech" / "hdtf")
    return sum(lengths.values()), sum(n for clip, n in lengths.items() if clip in made)


def warm(video: Path) -> None:
    """What each process does before time is taken: one clip either way, so that modules, weights and caches are
    there.
    """
    import cv2

    cv2.setNumThreads(1)
    usual(video, 0.2)
    ours(video)


def settle(started: Any, first: Path) -> None:
    """Stay on a core of one's own, with the ffmpeg processes one starts: else one process already takes two cores. Then
    warm up.
    """
    with started.get_lock():
        number, started.value = started.value, started.value + 1
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[number % len(cores)]})
    warm(first)


def pool(processes: int, first: Path) -> ProcessPoolExecutor:
    """Spawned processes, each on a core of its own, that have each done the clip ``first``."""
    context = multiprocessing.get_context("spawn")
    made = ProcessPoolExecutor(
        processes, mp_context=context, initializer=settle, initargs=(context.Value("i", 0), first)
    )
    list(made.map(time.sleep, [1.0] * processes))  # each takes one: all have started
    return made


def cpu_seconds() -> float:
    """Processor seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def ours(video: Path) -> dict[str, float]:
    """One clip through the stages, alone."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        clips = Path("raw", "clips")
        clips.mkdir(parents=True)
        shutil.copy(video, clips)
        begun, used = time.perf_counter(), cpu_seconds()
        settings = benchmark_settings(Path(place, "raw"))
        stage_by_stage(settings)
        entered, kept = frames_made(settings)
        return {"frames": entered, "kept": kept, "wall_s": time.perf_counter() - begun, "cpu_s": cpu_seconds() - used}


def usual(video: Path, seconds: float | None) -> dict[str, float]:
    """One clip, or its first seconds, the usual way."""
    from benchmarks.usual_way import preprocess_usually

    begun, used = time.perf_counter(), cpu_seconds()
    frames = preprocess_usually(video, benchmark_settings(video.parent), seconds)
    return {"frames": frames, "wall_s": time.perf_counter() - begun, "cpu_s": cpu_seconds() - used}


def clip_by_clip(videos: list[Path], usual_s: float) -> dict[str, Any]:
    """Both ways over the clips, two processes each. Returns a row a clip and the totals."""
    rows: dict[str, dict[str, Any]] = {v.stem: {} for v in videos}
    total: dict[str, dict[str, float]] = {}
    longest_first = sorted(videos, key=lambda v: -v.stat().st_size)
    with pool(2, videos[0]) as workers:
        for way in ("usual", "ours"):
            begun = time.perf_counter()
            futures = {
                v: workers.submit(ours, v) if way == "ours" else workers.submit(usual, v, usual_s or None)
                for v in longest_first
            }
            for video, future in futures.items():
                rows[video.stem][way] = {k: round(float(x), 2) for k, x in future.result().items()}
            wall = time.perf_counter() - begun
            frames, cpu = (sum(row[way][k] for row in rows.values()) for k in ("frames", "cpu_s"))
            total[way] = {"frames": frames, "wall_s": round(wall, 2), "cpu_s": round(cpu, 2)}
    for way in total:  # a clip counts by its length, though the usual way saw as much of each
        lengths = [row["ours"]["frames"] for row in rows.values()]
        for unit in ("wall_s", "cpu_s"):
            each = [n * row[way][unit] / row[way]["frames"] for n, row in zip(lengths, rows.values())]
            total[way][f"ms_a_frame_{unit.removesuffix('_s')}"] = round(1000 * sum(each) / sum(lengths), 2)
        total[way]["frames_per_s"] = round(2 * 1000 / total[way]["ms_a_frame_wall"], 2)  # two processes, each busy
    for row in rows.values():
        row["ratio"] = round(
            (row["usual"]["cpu_s"] / row["usual"]["frames"]) / (row["ours"]["cpu_s"] / row["ours"]["frames"]), 2
        )
    return {"clips": rows, "total": total}


def faster(found: dict[str, Any]) -> dict[str, float]:
    """How many times faster than the usual way: all clips at once on two processes by the clock, and by processor time;
    each clip alone.
    """
    total, at_once = found["clip_by_clip"]["total"], found["together"]
    return {
        "two_processes_by_the_clock": round(at_once["2"]["frames_per_s"] / total["usual"]["frames_per_s"], 2),
        "one_process_by_processor_time": round(total["usual"]["ms_a_frame_cpu"] / at_once["1"]["ms_a_frame_cpu"], 2),
        "each_clip_alone_by_processor_time": round(
            total["usual"]["ms_a_frame_cpu"] / total["ours"]["ms_a_frame_cpu"], 2
        ),
    }


def timed(work: Callable[[Any], Any], job: Any) -> tuple[Any, float]:
    """What a job gives, and the processor seconds it took."""
    used = cpu_seconds()
    return work(job), cpu_seconds() - used


def together(videos: list[Path]) -> dict[str, Any]:
    """All clips stage by stage on a pool of one process, then of two."""
    found: dict[str, Any] = {}
    for processes in (1, 2):
        with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
            clips = Path("raw", "clips")
            clips.mkdir(parents=True)
            for video in videos:
                shutil.copy(video, clips)
            settings = benchmark_settings(Path(place, "raw"))
            with pool(processes, videos[0]) as workers:
                used: list[float] = []

                def run(
                    work: Callable[[Any], Any],
                    jobs: list[Any],
                    names: list[str],
                    workers: ProcessPoolExecutor = workers,
                    used: list[float] = used,
                ) -> list[Any]:
                    done = list(workers.map(functools.partial(timed, work), jobs))
                    used += [seconds for _, seconds in done]
                    return [result for result, _ in done]

                begun, here = time.perf_counter(), sum(os.times()[:2])
                stages = stage_by_stage(settings, run)
                seconds = time.perf_counter() - begun
                used.append(sum(os.times()[:2]) - here)
            entered, kept = frames_made(settings)
            found[str(processes)] = {
                "frames": entered,
                "kept": kept,
                "wall_s": round(seconds, 2),
                "frames_per_s": round(entered / seconds, 2),
                "ms_a_frame_cpu": round(1000 * sum(used) / entered, 2),
                "seconds_a_stage": stages,
            }
    found["two_to_one"] = round(found["2"]["frames_per_s"] / found["1"]["frames_per_s"], 3)
    return found


@contextlib.contextmanager
def watched_memory() -> Iterator[dict[str, int]]:
    """Largest proportional set size of this process's children while the block runs, as ``bytes``."""
    seen, done = {"bytes": 0}, threading.Event()

    def look() -> None:
        while not done.wait(LOOK_EVERY_S):
            total = 0
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_full_info().pss
            seen["bytes"] = max(seen["bytes"], total)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def long_video(source: Path, sound: Path, target: Path, minutes: float) -> None:
    """A video of so many minutes: another forwards and backwards, again and again, so that nothing jumps; its sound
    repeated.
    """
    ffmpeg = [ffmpeg_path(), "-v", "error", "-nostdin", "-threads", "1"]
    there_and_back = target.parent.parent / "there_and_back.mp4"
    turned = "[0:v]split[a][b];[b]reverse[c];[a][c]concat"
    subprocess.run(
        [*ffmpeg, "-i", str(source), "-filter_complex", turned, "-preset", "veryfast", "-an", str(there_and_back)],
        check=True,
    )
    inputs = ["-stream_loop", "-1", "-i", str(there_and_back), "-stream_loop", "-1", "-i", str(sound)]
    output = ["-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", "-t", f"{60 * minutes:g}", str(target)]
    subprocess.run([*ffmpeg, *inputs, *output], check=True)
    there_and_back.unlink()


def memory(source: Path, sound: Path, minutes: float) -> dict[str, Any]:
    """Memory and time of a long video through the stages, in processes of their own (``--chain``)."""
    with tempfile.TemporaryDirectory() as place:
        video = Path(place, "raw", "clips", "WDA_Long_000.mp4")
        video.parent.mkdir(parents=True)
        long_video(source, sound, video, minutes)
        begun = time.perf_counter()
        with watched_memory() as seen:
            subprocess.run([sys.executable, "-m", "benchmarks.preprocess", "--chain", place], check=True, cwd=ROOT)
        seconds = time.perf_counter() - begun
        entered, kept = json.loads(Path(place, "frames.json").read_text())
        return {
            "source": source.name,
            "minutes": minutes,
            "frames": entered,
            "kept": kept,
            "seconds": round(seconds, 1),
            "frames_per_s": round(entered / seconds, 2),
            "peak_gb": round(seen["bytes"] / 1e9, 3),
        }


def chain(place: Path) -> None:
    """The stages over ``place``/raw on two processes; for :func:`memory`."""
    os.chdir(place)
    settings = benchmark_settings(place / "raw")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as workers:
        stage_by_stage(settings, lambda work, jobs, names: list(workers.map(work, jobs)))
    Path("frames.json").write_text(json.dumps(frames_made(settings), default=int))


def table(found: dict[str, Any]) -> str:
    """The measurements as lines of text."""
    lines = [
        f"{'clip':<30} {'frames':>6} {'kept':>6} {'ours ms':>9} {'usual ms':>9} {'ratio':>6}   (processor ms a frame)"
    ]
    for name, row in found["clip_by_clip"]["clips"].items():
        a, b = (1000 * row[way]["cpu_s"] / row[way]["frames"] for way in ("ours", "usual"))
        lines.append(
            f"{name:<30} {row['ours']['frames']:>6.0f} {row['ours']['kept']:>6.0f} {a:>9.1f} {b:>9.1f} "
            f"{row['ratio']:>6.1f}"
        )
    total, at_once = found["clip_by_clip"]["total"], found["together"]
    rows = {
        "usual way, two": total["usual"],
        "each clip alone, two": total["ours"],
        "ours, one": at_once["1"],
        "ours, two": at_once["2"],
    }
    for name, row in rows.items():
        speed = f"{row['frames_per_s']:>7.1f} frames a second, {row['ms_a_frame_cpu']:>6.1f} processor ms a frame"
        lines.append(f"{name + ' processes':<32} {speed}")
    lines += [f"times faster, {name.replace('_', ' ')}: {value}" for name, value in found["faster"].items()]
    lines.append(f"two processes against one: {at_once['two_to_one']} times")
    if "memory" in found:
        m = found["memory"]
        lines.append(
            f"{m['minutes']:g} minutes of 1080p: {m['peak_gb']} GB at most, {m['kept']} of {m['frames']} frames, "
            f"{m['seconds']} s"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpora", type=Path, default=Path("../shared/corpora"))
    parser.add_argument(
        "--only", default="", help="only the clips whose names match one of these words, divided by commas"
    )
    parser.add_argument(
        "--usual-s", type=float, default=2.0, help="seconds of each clip that the usual way is given; 0: all of it"
    )
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="length of the video whose memory is measured; 0: not measured"
    )
    parser.add_argument("--speed-only", action="store_true", help="keep the result file's memory, measured before")
    parser.add_argument("--chain", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    one_thread()
    if args.chain:
        chain(args.chain)
        return
    corpora = args.corpora.resolve()
    videos = sorted((corpora / "HDTF" / "clips").glob("*.mp4"))
    if not videos:
        parser.error(f"no clips in {args.corpora}/HDTF/clips")
    chosen = [v for v in videos if any(word in v.stem for word in args.only.split(","))]
    found = {
        **origin("python -m benchmarks.preprocess " + " ".join(sys.argv[1:]), "git", "hardware"),
        "usual_way_sees_s": args.usual_s or "all",
        "clip_by_clip": clip_by_clip(chosen, args.usual_s),
        "together": together(chosen),
    }
    found["faster"] = faster(found)
    if args.speed_only:
        found["memory"] = json.loads((RESULTS / "preprocess.json").read_text())["memory"]
    elif args.minutes:
        person = corpora / "MEAD" / "M030"
        source, sound = (
            next((person / kind).rglob(f"001{end}")) for kind, end in (("video", ".mp4"), ("audio", ".m4a"))
        )
        found["memory"] = memory(source, sound, args.minutes) | {"command": found["command"], "date": found["date"]}
    print(table(found))
    if len(chosen) == len(videos) and args.minutes == 10.0:
        write("preprocess", found)


if __name__ == "__main__":
    main()
