"""Every file of a folder of videos accounted for: used, passed over as what it is, or named with its reason.

Reads folders and the first bytes of their files; writes nothing. :mod:`s3dnerf.evaluation.folders` and
:mod:`s3dnerf.evaluation.other_methods` score what is found here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from s3dnerf.core.file_names import shown
from s3dnerf.core.whole_files import OutputRefused
from s3dnerf.evaluation.reading import Problem
from s3dnerf.video.file_kinds import IN_WORDS, first_bytes, kind_by, meant_as, named_kind, passed_over
from s3dnerf.video.signatures import AUDIO, PICTURE, UNKNOWN, VIDEO, content_kind

# problems that say the same of many files: one line each kind, whatever their number
IN_ONE_LINE = frozenset({"not_a_video", "passed_over", "folder_not_read", "outside_layout", "unreadable_folder"})
NAMED_IN_A_LINE = 20


def refuse_media(path: Path, option: str) -> None:
    """Raise OutputRefused where a table would be written over a video, a sound or a picture: by its content under
    whichever name, or by its name.
    """
    try:
        kind = kind_by(path.name, content_kind(first_bytes(path)))
    except OSError:  # none yet, or a folder: whoever writes it says so
        kind = UNKNOWN
    kind = named_kind(path.name) or kind
    if kind in (VIDEO, AUDIO, PICTURE):
        raise OutputRefused(f"{option}: {shown(path)} is {IN_WORDS[kind]}: expected the name of a table, such as a.csv")


@dataclass
class FolderFiles:
    """What one folder holds: videos by name, further ones whose name another has, sub-folders that may hold some, and
    what is to be said of all but the videos.
    """

    videos: dict[str, Path] = field(default_factory=dict)
    same_name: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def look_into(folder: Path, top: Path) -> FolderFiles:
    """Everything that lies directly in a folder. ``top``: the folder that a person named; names are given from it on.

    A sub-folder is left to the caller (``folders``), unless it is of the system.
    """
    found = FolderFiles()
    try:
        entries = sorted(folder.iterdir())
    except PermissionError:
        if folder == top:
            raise
        where = shown(Path(top.name) / folder.relative_to(top))
        found.problems.append(Problem(where, "unreadable_folder", "may not be opened (no permission)"))
        return found
    for path in entries:
        name = shown(Path(top.name) / path.relative_to(top))
        is_folder, content, fault = os.path.isdir(path), UNKNOWN, ""
        if os.path.isfile(path):
            try:
                content = content_kind(first_bytes(path))
            except OSError as error:
                fault = error.strerror or str(error)
        elif not is_folder and os.path.exists(path):  # opening it may wait for ever
            found.problems.append(Problem(name, "not_a_video", "not a file but a pipe, a socket or a device"))
            continue
        if nobodys := passed_over(path.relative_to(top).as_posix(), content):
            found.problems.append(Problem(name, "passed_over", nobodys.detail))
        elif is_folder:
            found.folders.append(path)
        elif meant_as(path.name, content) != VIDEO:
            is_what = fault or IN_WORDS[meant_as(path.name, content)]
            found.problems.append(Problem(name, "not_a_video", is_what))
        elif any("\ud800" <= c <= "\udfff" for c in path.name):  # libraries that open videos crash on such a name
            found.problems.append(Problem(name, "name_not_utf8", "rename the file: its name is not UTF-8"))
        elif (stem := shown(path.stem)) in found.videos:
            detail = f"{shown(path.name)} is not read: {shown(found.videos[stem].name)} has this name"
            found.same_name.append(path)
            found.problems.append(Problem(stem, "same_name", detail))
        else:
            found.videos[stem] = path
    return found


def not_read(folders: Iterable[Path], top: Path, expected: str) -> list[Problem]:
    """That these sub-folders are not read, and what was expected."""
    return [Problem(shown(Path(top.name) / f.relative_to(top)), "folder_not_read", expected) for f in folders]


def outside_layout(found: FolderFiles, top: Path, expected: str) -> list[Problem]:
    """The problems of a folder in which videos are not looked for: those that lie there as well."""
    videos = [
        Problem(shown(Path(top.name) / path.relative_to(top)), "outside_layout", expected)
        for path in (*found.videos.values(), *found.same_name)
    ]
    return [*(p for p in found.problems if p.what != "same_name"), *videos]


def _one_line(what: str, problems: list[Problem]) -> str:
    """Files of which the same is to be said, as one line with their names, the first of them where they are many."""
    names = [p.name for p in problems]
    named = ", ".join(names[:NAMED_IN_A_LINE])
    more = f" and {len(names) - NAMED_IN_A_LINE} more" if len(names) > NAMED_IN_A_LINE else ""
    details = dict.fromkeys(p.detail for p in problems)
    return f"{what}: {len(names)}: {named}{more} ({', '.join(details)})"


def problem_lines(problems: list[Problem], most: int = 3) -> list[str]:
    """A line each problem; of more than ``most`` of one kind whose partner is missing, one line with all names; of
    files that are no videos, one line each kind.
    """
    lines = []
    for what in sorted({p.what for p in problems}):
        of_kind = [p for p in problems if p.what == what]
        names = [f"{p.method}/{p.name}" if p.method else p.name for p in of_kind]
        if what in IN_ONE_LINE:
            lines.append(_one_line(what, of_kind))
        elif what in ("no_generated_video", "no_truth") and len(of_kind) > most:
            lines.append(f"{what}: {len(of_kind)} videos: {', '.join(names)}")
        else:
            lines += [f"{name}: {what}: {p.detail}" for name, p in zip(names, of_kind)]
    return lines
