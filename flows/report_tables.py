"""Where the tables of a report are on this machine: the outs of ``report`` and ``evaluate``, or DVC's cache.

Reads them under ``data/<preset>`` and ``.dvc/cache``; writes nothing. A file counts only where its
sha256 is the one that ``report.json`` states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from s3dnerf.reporting.report_files import Find, Report
from s3dnerf.video.packs import file_sha256

CACHE = Path(".dvc/cache/files/md5")


def finder(*places: Path) -> Find:
    """What gives :class:`s3dnerf.reporting.report_files.Report` the tables that these working copies of a repository
    have, also those of earlier commits that DVC's cache still holds.
    """

    def find(facts: Mapping[str, Any]) -> bytes | None:
        md5 = str(facts["md5"])
        for place in places:
            for path in (place / str(facts["path"]), place / CACHE / md5[:2] / md5[2:]):
                if path.is_file() and file_sha256(path) == facts["sha256"]:
                    return path.read_bytes()
        return None

    return find


def table_faults(report: Report) -> Iterator[str]:
    """What is wrong with the table under ``data/``, for a report that states one: not here, or other bytes."""
    if report.table is None:
        return
    path = Path(str(report.table["path"]))
    if not path.is_file():
        yield f"{path} is not here (dvc pull {path} brings it)"
    elif file_sha256(path) != report.table["sha256"]:
        yield f"{path} is not the table that report.json names"
