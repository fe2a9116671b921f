"""What DVC itself costs at scale, for ``benchmarks/scale.py``: hashing, storing, checking out and finding nothing to
do.

The outs of the five pack stages become the outs of a scratch repository in the same folder (raw files, pack store and
all), `dvc commit` hashes and stores them, `dvc checkout` brings them back by each kind of link that the disk has. One
stage's packs alone are then held against the same bytes as a file a clip, which is the layout this project does not
use. Times are those of whole `dvc` commands, their start included; files were just written, so they are read from
memory and not from a disk.

    python -m benchmarks.scale_dvc PART --folder DIR --clips N

DIR is what ``benchmarks.scale_steps`` has filled. Prints one line of JSON. This process stays small: a child's peak
memory, as the kernel counts it, begins at that of the process it was forked from.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from s3dnerf.core.yaml_text import dump_yaml

STAGES = ("resample", "align", "masks", "lips", "speech")
CORPORA = ("hdtf", "lrs2", "mead")
PARTS = ("graph", "large files", "packs", "a file a clip")
LINKS = ("symlink", "hardlink", "copy")
BIG_FILES, BIG_MB = 8, 64


class Repository:
    """A scratch DVC repository without git whose only stage writes nothing: its outs are there already."""

    def __init__(self, folder: Path, outs: list[str], ignored: list[str]) -> None:
        self.folder, self.outs = folder, outs
        places = {name: str(folder / ".dvc-machine" / name) for name in ("site", "global", "system")}
        self.environment = os.environ | {
            "DVC_SITE_CACHE_DIR": places["site"],
            "DVC_GLOBAL_CONFIG_DIR": places["global"],
            "DVC_SYSTEM_CONFIG_DIR": places["system"],
            "DVC_NO_ANALYTICS": "1",
        }
        self.dvc("init", "--no-scm", "--force", "--quiet")
        self.ignore(ignored)
        (folder / "dvc.yaml").write_text(dump_yaml({"stages": {"packs": {"cmd": "false", "outs": outs}}}))

    def ignore(self, lines: list[str]) -> None:
        """What DVC does not look at."""
        (self.folder / ".dvcignore").write_text("".join(f"{line}\n" for line in lines))

    def dvc(self, *words: str) -> dict[str, float]:
        """One command: wall and CPU seconds, peak memory of its process. Raises RuntimeError with what it printed when
        it fails.
        """
        begun = time.perf_counter()
        with open(self.folder / "dvc.log", "w+") as log:
            command = [sys.executable, "-m", "dvc", *words]
            process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.perf_counter() - begun
            if process.returncode:
                log.seek(0)
                raise RuntimeError(
                    f"dvc {' '.join(words)} ended with status {process.returncode}: {log.read()[-1000:]}"
                )
        return {"seconds": seconds, "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1000}

    def remove_outs(self) -> None:
        """Delete the outs, as DVC does before a stage runs."""
        for out in self.outs:
            shutil.rmtree(self.folder / out)

    def measure(self, links: tuple[str, ...]) -> dict[str, dict[str, float]]:
        """Commit, nothing to do (a status that finds anything is an error), and a check-out by each kind of link."""
        rows = {
            "commit": self.dvc("commit", "--force"),
            "status": self.dvc("status", "--quiet"),
            "repro, nothing to do": self.dvc("repro"),
        }
        for link in links:
            self.dvc("config", "cache.type", link)
            self.remove_outs()
            rows[f"checkout, {link}"] = self.dvc("checkout")
            rows[f"status after checkout, {link}"] = self.dvc("status", "--quiet")
        self.dvc("config", "--unset", "cache.type")
        return rows


def files_below(folder: Path) -> tuple[int, int]:
    """How many files, and their bytes."""
    count = size = 0
    for place, _, names in os.walk(folder):
        count += len(names)
        size += sum(os.lstat(os.path.join(place, name)).st_size for name in names)
    return count, size


def whole_graph(folder: Path, links: tuple[str, ...] = LINKS) -> dict[str, Any]:
    """All pack stages' outs in one repository that also holds the raw files."""
    outs = [f"data/mini/{stage}/{corpus}" for stage in STAGES for corpus in CORPORA]
    count, size = (sum(pair) for pair in zip(*(files_below(folder / out) for out in outs)))
    repository = Repository(folder, outs, ["/.packs", "/.dvc-machine"])
    commands = {"status, empty cache": repository.dvc("status")}
    repository.ignore(["/.packs", "/.dvc-machine", "/raw"])
    commands["status, empty cache, /raw in .dvcignore"] = repository.dvc("status")
    commands |= repository.measure(links)
    changed = next((folder / outs[0]).glob("*.tar"))
    data = changed.read_bytes()
    changed.unlink()
    changed.write_bytes(data + bytes(512))
    commands["commit, one pack changed"] = repository.dvc("commit", "--force")
    return {"outs": len(outs), "files": count, "bytes": size, "commands": commands}


def layout(folder: Path, sizes: Iterator[tuple[str, int]], links: tuple[str, ...]) -> dict[str, Any]:
    """One out of files of these names and sizes (bytes) in a repository of its own, which is removed again."""
    (folder / "out").mkdir(parents=True)
    count, total, block = 0, 0, os.urandom(1 << 20)
    for count, (name, size) in enumerate(sizes, 1):  # noqa: B007
        with open(folder / "out" / name, "wb") as handle:
            handle.write(count.to_bytes(8, "big"))
            for at in range(8, size, len(block)):
                handle.write(block[: size - at])
        total += size
    commands = Repository(folder, ["out"], ["/.dvc-machine"]).measure(links)
    shutil.rmtree(folder)
    return {"files": count, "bytes": total, "commands": commands}


def clip_sizes(folder: Path) -> list[int]:
    """Bytes of each pack of the stage that stores most, over all corpora."""
    return [
        path.stat().st_size
        for corpus in CORPORA
        for path in sorted((folder / "data/mini/masks" / corpus).glob("*.tar"))
    ]


def measure(what: str, folder: Path, clips: int) -> dict[str, Any]:
    """One of :data:`PARTS`: all stages together, or one out of packs, of a file a clip (the same bytes), or of few
    large files.
    """
    if what == "graph":
        return whole_graph(folder)
    sizes = clip_sizes(folder)
    links: tuple[str, ...] = ("copy",)
    if what == "packs":
        files = [(f"{n:06d}.tar", size) for n, size in enumerate(sizes)]
    elif what == "a file a clip":
        files = [(f"{n:06d}.bin", sum(sizes) // clips) for n in range(clips)]
    else:
        files, links = [(f"{n}.tar", BIG_MB << 20) for n in range(BIG_FILES)], ("copy", "hardlink")
    return layout(folder / "layout", iter(files), links)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=PARTS)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--clips", type=int, required=True)
    args = parser.parse_args()
    print(json.dumps(measure(args.what, args.folder.resolve(), args.clips)))


if __name__ == "__main__":
    main()
