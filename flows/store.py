"""``s3dnerf store``: what the pack store and the checkpoints hold, and removing what has no use any more.

Reads ``params.yaml``, ``dvc.lock`` (whether ingest has run with these settings), ``.packs/``, ``.checkpoints/``,
``data/``. With ``--collect`` it holds the locks of all stages of all presets, in every working copy, while it looks and
removes, and refuses when a stage is running.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from flows.provenance import read_lock
from flows.workspace import main_repository, working_copies
from s3dnerf.settings.loading import load_settings
from s3dnerf.settings.schema import Settings
from stages.stage_fields import STAGE_FIELDS, fields_of
from stages.store import STATES, UNDECIDED, Entry, lock_names, needless, remove, survey


def size_text(size: int) -> str:
    """Bytes for a person.

    >>> size_text(1_234_567)
    '1.2 MB'
    """
    value, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"


def why_not_planned(settings: Settings, lock: Path = Path("dvc.lock")) -> str:
    """Why ingest's records are not those of the settings in force; '' when they are."""
    stage: dict[str, Any] = read_lock(lock).get("stages", {}).get("ingest", {})
    ran: dict[str, Any] = stage.get("params", {}).get("params.yaml", {})
    now = fields_of(settings, STAGE_FIELDS["ingest"])
    other = [name for name in now if name not in ran or ran[name] != now[name]]
    if not any(Path(out["path"]).is_relative_to(settings.data_dir) for out in stage.get("outs", [])):
        other = ["preset", *other]
    return (
        f"ingest has not run with the settings in force ({', '.join(other)}): what they would take is not known"
        if other
        else ""
    )


def table(entries: list[Entry]) -> str:
    """One line a folder: entries, size, and how many in which state."""
    lines = []
    for folder in sorted({entry.path.parent for entry in entries}):
        mine = [entry for entry in entries if entry.path.parent == folder]
        states = []
        for state in STATES:
            found = [entry for entry in mine if entry.state == state]
            if found:
                states.append(f"{len(found)} {state} ({size_text(sum(entry.size for entry in found))})")
        lines.append(
            f"{str(folder):28} {len(mine):6d} {size_text(sum(entry.size for entry in mine)):>10}   {', '.join(states)}"
        )
    return "\n".join(lines)


def run_store(collect: bool, older_than_days: float) -> int:
    """Say what is there; with ``collect`` remove what has no use. Raises RuntimeError when a stage runs or the plan is
    not known.
    """
    settings = load_settings()
    with ExitStack() as held:
        if collect:
            why = why_not_planned(settings)
            if why:
                raise RuntimeError(f"{why}. Nothing was removed; first: dvc repro ingest")
            main = main_repository()
            if main != Path.cwd():
                raise RuntimeError(f"the store is that of {main}: nothing was removed; collect there")
            Path(".locks").mkdir(exist_ok=True)
            locks = [Path(".locks") / f"{name}.lock" for name in lock_names()]
            # git worktrees and experiments in folders of their own use this store as well
            locks += sorted(lock for copy in working_copies(main)[1:] for lock in (copy / ".locks").glob("*.lock"))
            for lock in locks:
                try:
                    held.enter_context(FileLock(lock).acquire(timeout=0))
                except Timeout:
                    where = "" if lock.parent == Path(".locks") else f" in {lock.parent.parent}"
                    what = f"{lock.stem} is running{where}"
                    raise RuntimeError(f"{what}: nothing was removed; when it is done, try again") from None
        entries = survey(settings)
        print(table(entries) or "nothing in .packs and .checkpoints yet")
        if any(entry.state == UNDECIDED for entry in entries):
            print("undecided: not known before these settings and this code have run (dvc repro); kept")
        bad = needless(entries, older_than_days)
        total = size_text(sum(entry.size for entry in bad))
        if collect:
            print(f"{len(bad)} removed, {size_text(remove(bad))} freed")
        elif bad:
            why = why_not_planned(settings)
            print(
                f"{len(bad)} have no use any more, {total}; remove them: "
                + (f"first dvc repro ingest ({why})" if why else "s3dnerf store --collect")
            )
    return 0
