"""A plain folder of one-person videos: those of AD-NeRF and GeneFace (table 2), or anyone's own. For evaluation: all
``test``.

<name>.mp4, <name>.mpg, …   in any folder below the root, known by their suffix or else by their first bytes; the person
is the file's name without trailing digits after a ``_`` or ``-`` (``May_1.mp4``, ``May_2.mp4`` are one person), or what
``ingest.same_person`` says
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from s3dnerf.corpora.records import FileFate, Layout, RawFile, Span, role_of, slug
from s3dnerf.corpora.splits import canonical_names
from s3dnerf.settings.schema import IngestSettings
from s3dnerf.video.file_kinds import IN_WORDS


def find(root: Path, files: Iterable[RawFile], settings: IngestSettings) -> Layout:
    """Spans of a folder of videos: each whole video is one."""
    layout, person = Layout(), canonical_names(settings.same_person)
    names: dict[str, str] = {}
    for file in sorted(files, key=lambda f: f.path):
        if not file.is_video:
            layout.drop_file(
                file.path, role_of(file), "not_in_layout", f"{IN_WORDS.get(file.kind, file.kind)}, not a video"
            )
            continue
        name = f"portraits_{slug(file.stem)}"
        if name in names:  # the same name in two folders: both are kept, the later under its whole path
            name = f"portraits_{slug(file.path)}"
        names[name] = file.path
        layout.files[file.path] = FileFate("video")
        layout.spans.append(Span(name, person(re.sub(r"[_-]\d+$", "", file.stem) or file.stem), "test", file.path))
    return layout
