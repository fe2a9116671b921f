"""``s3dnerf fetch hdtf | lrs2 | mead``: which command of a corpus takes which options, and where the corpus lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from s3dnerf.core.errors import SettingsError
from s3dnerf.settings.schema import Settings


@dataclass(frozen=True)
class CorpusOptions:
    """What a person typed behind ``s3dnerf fetch CORPUS``.

    Attributes
    ----------
    lists : hdtf: folder of its lists
    archives : lrs2, mead: folder of the archives
    to : the corpus's folder; None: the one that the settings name
    yes : hdtf: do not ask
    sleep_s : hdtf: seconds between two videos
    retry_gone : hdtf: ask again for what was gone
    """

    lists: Path | None = None
    archives: Path | None = None
    to: Path | None = None
    yes: bool = False
    sleep_s: float = 5.0
    retry_gone: bool = False


CORPORA = ("hdtf", "lrs2", "mead")


def fetch_corpus(what: Sequence[str], options: CorpusOptions, settings: Settings | None) -> int:
    """Lay one corpus into its folder; the exit status.

    Parameters
    ----------
    settings : None outside of a project: then ``to`` must say the folder

    Raises SettingsError for several names, an option of another corpus, or no folder; what :func:`fetch_hdtf` and
    :func:`fetch_archives` raise.
    """
    from flows.fetch_archives import CORPORA as ARCHIVED
    from flows.fetch_archives import fetch_archives
    from flows.fetch_hdtf import fetch_hdtf

    if len(what) != 1 or what[0] not in CORPORA:
        raise SettingsError(f"fetch: got {' '.join(what) or 'no name'}, expected one of {', '.join(CORPORA)} alone")
    name = what[0]
    folder = options.to or _raw_folder(name, settings)
    if name == "hdtf":
        if options.archives is not None:
            raise SettingsError("--archives: got it for hdtf, expected lrs2 or mead: hdtf takes --lists")
        return fetch_hdtf(options.lists, folder, options.yes, options.retry_gone, options.sleep_s)
    if options.lists is not None or options.retry_gone:
        raise SettingsError(f"--lists, --retry-gone: got one of them for {name}, expected hdtf")
    if options.archives is None:
        raise SettingsError(f"fetch {name}: got no --archives, expected the folder of the archives that you downloaded")
    return fetch_archives(ARCHIVED[name], options.archives, folder)


def _raw_folder(name: str, settings: Settings | None) -> Path:
    """The folder that ``raw.<name>`` says. Raises SettingsError where there is none."""
    place = getattr(settings.raw, name) if settings else None
    if place is None:
        why = f"raw.{name} is null" if settings else "no project is here"
        raise SettingsError(f"fetch {name}: got no folder ({why}), expected --to DIR")
    return Path(place)
