"""The installed packages that can change what a stage writes: a dep of the stage, and part of its keys.

``check`` (always run) writes one JSON a stage, ``data/<preset>/check/<stage>.json``: package → version. A new torch
makes the stages stale that compute with torch, and no other. The build of a package for a platform (``2.13.0+cpu``) is
left out, as the kind of processor is: a pulled clone on another machine is not stale. Equal bytes hold for one kind of
both.
"""

from __future__ import annotations

import importlib.metadata
import os

from s3dnerf.settings.schema import Settings
from stages.code_lock import stage_packages

ABSENT = "not installed"
# these write tables and pages beside the packs and weights that the store keeps, never into them
TABLE_PACKAGES = frozenset({"pandas", "pyarrow", "jinja2"})
FFMPEG = "IMAGEIO_FFMPEG_EXE"  # names another ffmpeg than the package's
ALSO_AS = {
    "decord": "decord2"
}  # the same module, under another name for the processors that the first has no wheel for


def package_version(name: str) -> str:
    """The installed version without its platform's tag; of a package that is here under its other name
    (:data:`ALSO_AS`) that name and version; or ``not installed``.
    """
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        other = ALSO_AS.get(name)
        found = ABSENT if other is None else package_version(other)
        return found if found == ABSENT else f"{other} {found}"
    if name == "imageio-ffmpeg" and os.environ.get(FFMPEG):
        return f"{version}, {FFMPEG}={os.environ[FFMPEG]}"
    return version.partition("+")[0]


def stage_environment(stage: str, settings: Settings, tables: bool = True) -> dict[str, str]:
    """Package → version of all that can change a stage's out; without ``tables``, its packs or weights alone."""
    names = stage_packages(stage, settings)
    return {name: package_version(name) for name in names if tables or name not in TABLE_PACKAGES}
