"""What ``pip install .`` alone brings: packages, megabytes, and whether a portrait speaks with it outside a checkout.

    python -m benchmarks.minimal_install --portrait me.jpg --speech hello.wav

Makes an environment in a temporary folder, of the versions in requirements.lock, and in it, from a folder that is no
project, runs ``s3dnerf fetch whisper`` and ``s3dnerf synthesize``. The code is a copy of what git has here. Needs a
package index for pip. Writes benchmarks/results/minimal_install.json and prints it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.record import origin, write

ROOT = Path(__file__).resolve().parents[1]
LISTING = """
import importlib.metadata as metadata, json
sizes = {}
for package in metadata.distributions():
    files = [file.locate() for file in package.files or []]
    sizes[package.metadata["Name"]] = sum(file.stat().st_size for file in files if file.is_file())
print(json.dumps(sizes))
"""


def run(words: list[str], folder: Path, **variables: str) -> str:
    """A command's output. Raises RuntimeError with its errors where it fails."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env={**kept, **variables}, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr[-2000:]}")
    return done.stdout


def main() -> None:
    """Install, speak, measure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.minimal_install", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--portrait", type=Path, required=True)
    parser.add_argument("--speech", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        run(["git", "clone", "-q", str(ROOT), str(top / "code")], top)
        run([sys.executable, "-m", "venv", str(top / "venv")], top)
        python, elsewhere = str(top / "venv" / "bin" / "python"), top / "elsewhere"
        elsewhere.mkdir()
        pip = [python, "-m", "pip", "install", "--quiet", "--no-compile", "--constraint", "requirements.lock"]
        begun = time.perf_counter()
        torch = next(
            line for line in (ROOT / "requirements.lock").read_text().splitlines() if line.startswith("torch==")
        )
        for what in (torch, "."):
            run([*pip, what], top / "code")
        installed = time.perf_counter() - begun
        user, program = {"XDG_DATA_HOME": str(top / "user")}, str(top / "venv" / "bin" / "s3dnerf")
        run([program, "fetch", "whisper"], elsewhere, **user)
        begun = time.perf_counter()
        words = ["--portrait", str(given.portrait.resolve()), "--speech", str(given.speech.resolve())]
        said = run([program, "synthesize", *words, "--out", "made.mp4"], elsewhere, **user)
        spoke, video = time.perf_counter() - begun, (elsewhere / "made.mp4").stat().st_size
        sizes = json.loads(run([python, "-c", LISTING], top))
    megabytes = {package: round(size / 1e6, 1) for package, size in sorted(sizes.items(), key=lambda kv: -kv[1])}
    result: dict[str, Any] = {
        **origin("python -m benchmarks.minimal_install", "git", "hardware"),
        "packages": len(megabytes),
        "megabytes": round(sum(sizes.values()) / 1e6),
        "megabytes_without_torch": round((sum(sizes.values()) - sizes["torch"]) / 1e6),
        "seconds_to_install": round(installed, 1),
        "said": said.strip().splitlines()[-1],
        "seconds_to_speak": round(spoke, 1),
        "video_bytes": video,
        "megabytes_of_each": megabytes,
    }
    print(write("minimal_install", result))


if __name__ == "__main__":
    main()
