"""``s3dnerf code``: say of changed code whether what it makes changes, so that just what must be made again is.

    s3dnerf code status                # what differs from stages/code.lock, and from dvc.yaml
    s3dnerf code bump PART|STAGE …     # outputs change: raise the versions, the stages that use them become stale
    s3dnerf code keep PART|STAGE …     # outputs stay: the lock takes the code as it is, nothing becomes stale
    s3dnerf code keep --proven         # the same, after showing it: see flows/code_proof.py

Without a name ``bump`` and ``keep`` take every part that changed. Both also put the params in ``dvc.yaml`` right.
Writes ``stages/versions.yaml``, ``stages/code.lock``, ``dvc.yaml``; commit them with the change.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from flows import graph
from s3dnerf.core.errors import SettingsError
from s3dnerf.video.packs import write_atomic
from stages.code_lock import (
    LOCK,
    ROOT,
    VERSIONS,
    Change,
    Code,
    CodeChanged,
    changes,
    lock_of,
    message,
    read_code,
    read_lock,
    read_versions,
)
from stages.code_parts import PARTS, STAGES, part_of

EMPTY_LOCK: dict[str, Any] = {"parts": {}, "stages": {}}


def _lock(root: Path) -> dict[str, Any]:
    """The lock, or an empty one where there is none yet."""
    return read_lock(root) if (root / LOCK).is_file() else EMPTY_LOCK


def chosen_parts(names: tuple[str, ...], found: list[Change]) -> list[str]:
    """The parts that the names mean: a part; a stage stands for its own part, or where that is unchanged for the
    changed parts that it uses. Without names: every part that changed. Raises SettingsError for a name that is neither.
    """
    changed, parts = {change.part for change in found}, list[str]()
    for name in names:
        if name not in PARTS and name not in STAGES:
            known = ", ".join(dict.fromkeys([*PARTS, *STAGES]))
            raise SettingsError(f"{name}: no such part or stage — accepted: {known}")
        own = name if name in PARTS else part_of(f"stages.{name}")
        used = [change.part for change in found if name in change.stages]
        parts += used if name in STAGES and own not in changed and used else [own]
    return list(dict.fromkeys(parts or [change.part for change in found]))


def raised(text: str, part: str) -> str:
    """The text of ``stages/versions.yaml`` with one part's number raised by one; comments stay.

    >>> raised("faces: 1\\nbackends:\\n  dlib: 4\\n", "backends.dlib")
    'faces: 1\\nbackends:\\n  dlib: 5\\n'
    """
    above, _, name = part.rpartition(".")
    start = text.index(f"{above}:\n") if above else 0
    line = re.compile(rf"^{'  ' if above else ''}{re.escape(name)}: (\d+)$", re.MULTILINE)
    found = line.search(text, start)
    if found is None:
        raise CodeChanged(f"{VERSIONS}: expected a line `{name}: NUMBER`")
    return text[: found.start(1)] + str(int(found[1]) + 1) + text[found.end(1) :]


def write_lock(code: Code, parts: list[str], found: list[Change], root: Path = ROOT) -> list[str]:
    """Write the lock with these parts as they are now. Returns the parts that stay different from it.

    A part that nobody named keeps the lock's old hashes, so that the next run still stops at it.
    """
    left = [change.part for change in found if change.part not in parts]
    new, old = lock_of(code, read_versions(root)), _lock(root)
    if left:
        value = json.loads(new)
        for part in left:
            if part in old["parts"]:
                value["parts"][part] = old["parts"][part]
            else:
                del value["parts"][part]
        new = (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
    write_atomic(root / LOCK, new)
    return sorted(set(left))


def status(root: Path = ROOT) -> int:
    """Say what differs; exit status 1 where anything does."""
    code = read_code(root)
    found = changes(code, _lock(root), read_versions(root))
    wrong = graph.differences(root / graph.GRAPH, code)
    if found:
        print(message(found))
    for stage, (missing, extra) in wrong.items():
        print(
            f"dvc.yaml: {stage}: missing {', '.join(missing) or 'nothing'}; for nothing {', '.join(extra) or 'nothing'}"
        )
    if not found and not wrong:
        print(f"the code of {len(STAGES)} stages is as {LOCK} has it, and dvc.yaml lists what they use")
    return 1 if found or wrong else 0


def bump(names: tuple[str, ...], root: Path = ROOT) -> int:
    """Raise the versions of parts whose outputs change. Returns 0."""
    code = read_code(root)
    found = changes(code, _lock(root), read_versions(root))
    parts = [part for part in chosen_parts(names, found) if part in code.files]
    if not parts:
        print("no code changed; name a part to raise its version all the same")
        return 0
    text = (root / VERSIONS).read_text(encoding="utf-8")
    for part in parts:
        text = raised(text, part)
    write_atomic(root / VERSIONS, text.encode())
    left = write_lock(code, parts, found, root)
    graph.differences(root / graph.GRAPH, code, write=True)
    versions = read_versions(root)
    for part in parts:
        users = ", ".join(stage for stage in STAGES if part in code.stages[stage])
        print(f"{part}: version {versions[part]}; stale now: {users}, and what follows them")
    return _said_of(left)


def keep(names: tuple[str, ...], proven: bool = False, root: Path = ROOT) -> int:
    """Take the code of parts into the lock without raising a version. With ``proven``, only after showing it."""
    code = read_code(root)
    found = changes(code, _lock(root), read_versions(root))
    parts = chosen_parts(names, found)
    if proven and parts:
        from flows.code_proof import prove

        if not prove(root, parts, found):
            return 1
    left = write_lock(code, parts, found, root)
    graph.differences(root / graph.GRAPH, code, write=True)
    print(f"kept: {', '.join(parts) or 'nothing had changed'}; nothing becomes stale")
    return _said_of(left)


def _said_of(left: list[str]) -> int:
    if left:
        print(f"still changed, and not named: {', '.join(left)}")
    return 0
