"""The pictured clips' videos on the page: inside it while the report stays small enough, else linked beside it.

Reads nothing: the bytes are those of :class:`s3dnerf.reporting.sources.Sources`.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from html import escape

import numpy as np

from s3dnerf.reporting.png import photo_uri, png_array
from s3dnerf.reporting.sources import Sources

# what a report with videos inside may have, bytes: below report_files.MOST_BYTES, so that they alone never make it fail
MOST_WITH_VIDEOS = 4_000_000
PANEL_PX, HEAD_PX = 256, 24  # of a video, as s3dnerf.reporting.clip_video makes it


def embedded_bytes(data: bytes) -> int:
    """Bytes of a file inside the page, in base64.

    >>> embedded_bytes(b"four")
    8
    """
    return 4 * ((len(data) + 2) // 3)


def fitting(sources: Sources, used: int) -> set[str]:
    """The clips whose videos go into the page: in the page's order, while the report stays at
    :data:`MOST_WITH_VIDEOS`. None where pictures of people are left out.

    Parameters
    ----------
    used : bytes of the report with every video linked
    """
    if not sources.settings.report.people:
        return set()
    found = set()
    for place in sources.pictured:
        size = embedded_bytes(sources.pictures.get(f"{place.clip}.mp4", b""))
        if size and used + size <= MOST_WITH_VIDEOS:
            found.add(place.clip)
            used += size
    return found


def _poster(strip: np.ndarray, about: Mapping[str, list[str]], px: int) -> str:
    """The video's first frame from the strip's, at the strip's size, as a data URI."""
    rows = [about["names"].index(name) for name in about["video"]]
    panels = [strip[row * px : (row + 1) * px, :px] for row in rows]
    head = np.zeros((HEAD_PX * px // PANEL_PX, px * len(rows), 3), np.uint8)
    return photo_uri(np.concatenate([head, np.concatenate(panels, axis=1)]))


def posters(sources: Sources) -> dict[str, str]:
    """Clip → the picture that its video shows before it plays; empty where pictures of people are left out."""
    if not sources.settings.report.people:
        return {}
    return {
        clip: _poster(png_array(sources.pictures[f"{clip}.png"]), sources.strips[clip], sources.strips[clip]["px"])
        for clip in (place.clip for place in sources.pictured)
        if f"{clip}.mp4" in sources.pictures and f"{clip}.png" in sources.pictures
    }


def players(sources: Sources, posters: Mapping[str, str], inside: Collection[str]) -> dict[str, str]:
    """Clip → HTML: its video where it is among ``inside``, else a link to the file beside the report."""
    found = {}
    for clip in (place.clip for place in sources.pictured):
        about = sources.strips[clip]
        data = sources.pictures.get(f"{clip}.mp4")
        if data is None:
            continue
        name = escape(clip)
        if clip in inside:
            size = f'style="--w: {PANEL_PX * len(about["video"])}; --h: {PANEL_PX + HEAD_PX}"'
            uri = "data:video/mp4;base64," + base64.b64encode(data).decode()
            found[clip] = (
                f'<video controls playsinline preload="metadata" {size} poster="{posters[clip]}" '
                f'aria-label="{name}, methods beside each other, with sound" src="{uri}"></video>'
            )
        else:
            path = f"data/{sources.settings.preset}/evaluate/pictures/{name}.mp4"
            found[clip] = (
                f'<p class="caption">Video with sound, {len(data) / 1000:.0f} kB: <a href="../../{path}">{path}</a> '
                "(kept by DVC: dvc pull brings it).</p>"
            )
    return found
