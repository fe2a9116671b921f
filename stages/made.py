"""Who made a training or a measurement, and with what: code, packages, machine, day.

Recorded by the stage itself, beside the out and never in it: with each entry of the store
(:mod:`stages.content_store`), and in ``data/<preset>/keys/<name>.json`` together with the sha256 of the files that were
made (:mod:`stages.out_keys`). A result that is taken from the store keeps the record of the run that made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from s3dnerf.core.machine import hardware
from s3dnerf.settings.schema import Settings
from stages.out_keys import keys_file, read_keys

# of the provenance that a stage is handed
HANDED = ("git", "lock_sha256", "packages")


def made_now(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The record of what this process makes now: git state, ``requirements.lock``'s sha256, package versions (as far as
    ``provenance`` has them), ``machines`` (one: this) and ``date`` (UTC).
    """
    known = {name: provenance[name] for name in HANDED if provenance.get(name)}
    return {**known, "machines": [hardware()], "date": datetime.now(UTC).date().isoformat()}


def together(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Records that differ in nothing but their day as one each, with ``entries``, how many there were, and ``date``,
    the last day of them; in the order of their first. An empty record stands for entries of which nothing was recorded.

    Examples
    --------
    >>> together([{"git": 1, "date": "2026-11-01"}, {"git": 1, "date": "2026-11-02"}, {"git": 2, "date": "2026-11-03"}])
    [{'git': 1, 'date': '2026-11-02', 'entries': 2}, {'git': 2, 'date': '2026-11-03', 'entries': 1}]
    """
    found: list[dict[str, Any]] = []
    for record in records:
        rest = {name: value for name, value in record.items() if name != "date"}
        for known in found:
            if {name: value for name, value in known.items() if name not in ("date", "entries")} == rest:
                known["entries"] += 1
                if record.get("date", "") > known.get("date", ""):
                    known["date"] = record["date"]
                break
        else:
            found.append({**record, "entries": 1})
    return found


def made_parts(settings: Settings) -> dict[str, Any]:
    """Who made what a report is about: each network (``train_s3dnerf/full``) and the measurements (``evaluate``).

    Returns
    -------
    name → ``files`` (of a network: name → sha256) and ``by``, records as :func:`together` gives them.
    """
    variants = [f"train_s3dnerf/{variant}" for variant in settings.train.variants]
    found = {}
    for name in ("train_sync/expert", "train_sync/judge", *variants, "evaluate"):
        _, entries = read_keys(keys_file(settings.data_dir, name))
        files = {file: digest for entry in entries for file, digest in entry.files.items()}
        part = {"files": files} if name != "evaluate" else {}
        found[name] = {**part, "by": together(entry.made for entry in entries)}
    return found
