"""One video added to the real clips: only its pack is processed, and the result is that of a run from scratch, hash for
hash.

    python -m benchmarks.added                       # all real clips and one more, raw to speech
    python -m benchmarks.added --clips 5 --seconds 2 # the first five, two seconds of each

Reads HDTF's real clips and one of GRID's in ../shared/corpora; works in a temporary folder. Prints, stage by stage, how
many packs were made for the added video and how many came from the store, the time of both runs as a ratio, and whether
every file of the outs is the same.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import RawSettings, Settings
from s3dnerf.video.encoding import ffmpeg_path
from s3dnerf.video.packs import PACK_STAGES, file_sha256
from stages.context import Context

SHARED = Path(__file__).resolve().parents[2] / "shared" / "corpora"
STAGES = ("inventory", "ingest", *PACK_STAGES)
ADDED = "WRA_Added_000"


@dataclasses.dataclass
class Compared:
    """``made``: stage → (packs, packs made) of the run after one video was added; ``touched``: packs whose clips are
    not those of before: its own, and the other half where it fills a pack that was full.

    ``different``: files of the outs that a run from scratch made otherwise. ``seconds``: of the run after, and from
    scratch.
    """

    made: dict[str, tuple[int, int]]
    touched: int
    different: list[str]
    seconds: tuple[float, float]


def settings_of(raw: Path, pack_clips: int) -> Settings:
    """The preset ``mini`` with log-mel features, on one raw folder in HDTF's layout."""
    mini = preset_settings("mini")
    ingest = dataclasses.replace(
        mini.ingest, hdtf_test_speakers=(), hdtf_test_fraction=0.0, same_person=(), pack_clips=pack_clips
    )
    speech = dataclasses.replace(mini.speech, backend="logmel")
    return dataclasses.replace(mini, raw=RawSettings(str(raw), None, None, None), ingest=ingest, speech=speech)


def preprocess(folder: Path, settings: Settings) -> tuple[dict[str, tuple[int, int]], float]:
    """Raw to speech with ``folder`` as the working directory: (packs, packs made) of each pack stage, and seconds."""
    folder.mkdir(exist_ok=True)
    before, begun, made = Path.cwd(), time.monotonic(), {}
    os.chdir(folder)
    try:
        for stage in STAGES:
            found = importlib.import_module(f"stages.{stage}").main(Context(settings=settings, stage=stage))
            if stage in PACK_STAGES:
                made[stage] = found["hdtf"]["packs"], found["hdtf"]["made"]
    finally:
        os.chdir(before)
    return made, time.monotonic() - begun


def put(video: Path, target: Path, seconds: float | None) -> None:
    """A link to a video, or its first seconds without re-encoding."""
    if seconds is None:
        target.symlink_to(video.resolve())
        return
    command = [
        ffmpeg_path(),
        "-v",
        "error",
        "-nostdin",
        "-i",
        str(video),
        "-t",
        str(seconds),
        "-c",
        "copy",
        str(target),
    ]
    subprocess.run(command, check=True)


def hashes(folder: Path) -> dict[str, str]:
    """Every file of the outs, with its sha256."""
    return {
        str(path.relative_to(folder)): file_sha256(path)
        for path in sorted((folder / "data").rglob("*"))
        if path.is_file()
    }


def members(data: Path) -> set[tuple[str, tuple[str, ...]]]:
    """Each pack of ingest's plan with its clips."""
    table = pd.read_parquet(data / "ingest" / "hdtf" / "clips.parquet")
    return {(str(pack), tuple(sorted(clips))) for pack, clips in table.groupby("pack")["clip"]}


def compare(
    videos: list[Path], added: Path, work: Path, seconds: float | None = None, pack_clips: int = 64
) -> Compared:
    """Preprocess ``videos``, add one, preprocess again; and both together from scratch."""
    clips = work / "raw" / "clips"
    clips.mkdir(parents=True)
    settings = settings_of(work / "raw", pack_clips)
    for video in videos:
        put(video, clips / video.name, seconds)
    preprocess(work / "grown", settings)
    before = members(work / "grown" / settings.data_dir)
    put(added, clips / f"{ADDED}{added.suffix}", seconds)
    made, after_s = preprocess(work / "grown", settings)
    _, scratch_s = preprocess(work / "scratch", settings)
    grown, scratch = hashes(work / "grown"), hashes(work / "scratch")
    different = sorted(name for name in grown.keys() | scratch.keys() if grown.get(name) != scratch.get(name))
    touched = members(work / "grown" / settings.data_dir) - before
    return Compared(made, len(touched), different, (after_s, scratch_s))


def main() -> int:
    """Print what :func:`compare` finds. Exit status 1 when a file differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=29, help="how many of the real clips")
    parser.add_argument("--seconds", type=float, default=None, help="only so many seconds of each")
    parser.add_argument(
        "--pack-clips", type=int, default=preset_settings("mini").ingest.pack_clips, help="clips in a pack at most"
    )
    given = parser.parse_args()
    videos = sorted((SHARED / "HDTF" / "clips").glob("*.mp4"))[: given.clips]
    added = sorted((SHARED / "GRID").glob("*.mpg"))[0]
    with tempfile.TemporaryDirectory(prefix="s3dnerf-added-") as work:
        found = compare(videos, added, Path(work), given.seconds, given.pack_clips)
    print(f"{len(videos)} videos and one more; packs whose clips are not those of before: {found.touched}")
    for stage, (packs, made) in found.made.items():
        print(f"  {stage}: {packs} packs, {packs - made} from the store, {made} made")
    after_s, scratch_s = found.seconds
    print(f"  with the store {after_s:.1f} s, from scratch {scratch_s:.1f} s: {scratch_s / after_s:.1f} times")
    different = f"DIFFERENT: {', '.join(found.different)}"
    print("  " + (different if found.different else "every file of the outs is the same"))
    return 1 if found.different else 0


if __name__ == "__main__":
    sys.exit(main())
