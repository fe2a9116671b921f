"""Videos of the page: inside it in its order while there is room, linked otherwise."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3dnerf.reporting import figures, videos
from s3dnerf.reporting.png import png_bytes
from s3dnerf.reporting.sources import Sources
from s3dnerf.settings.loading import preset_settings

SIZES = {"a": 900, "b": 3000, "c": 600}
NAMES = ["truth", "s3dnerf", "wrong_speech", "still"]


def sources_of(people: bool = True) -> Sources:
    """Three clips; by M-LMD c is the worst, a the best."""
    settings = preset_settings("tiny")
    settings = replace(settings, report=replace(settings.report, people=people, strips=3))
    rows: list[dict[str, Any]] = [
        {"clip": clip, "corpus": "hdtf", "method": "s3dnerf", "metric": "m_lmd", "value": value}
        for clip, value in (("a", 1.0), ("b", 2.0), ("c", 3.0))
    ]
    strip = np.concatenate([np.full((128, 256, 3), 60 * i, np.uint8) for i in range(4)])
    return Sources(
        settings,
        rows,
        strips={clip: {"names": NAMES, "video": NAMES[:3], "px": 128, "frames": [0, 5]} for clip in SIZES},
        pictures={f"{clip}.mp4": clip.encode() * size for clip, size in SIZES.items()}
        | {f"{clip}.png": png_bytes(strip) for clip in SIZES},
    )


def test_as_many_as_there_is_room_for_in_the_pages_order() -> None:
    sources = sources_of()
    assert [p.clip for p in sources.pictured] == ["c", "a", "b"]
    room = {
        clip: videos.MOST_WITH_VIDEOS - size for clip, size in (("none", 799), ("c", 800), ("ca", 2000), ("cab", 6000))
    }
    assert [videos.fitting(sources, room[k]) for k in room] == [set(), {"c"}, {"c", "a"}, {"c", "a", "b"}]
    # one that is too large does not keep out one that fits
    assert videos.fitting(replace(sources, rows=sources.rows[1:] + sources.rows[:1]), room["ca"]) == {"c", "a"}


def test_a_player_holds_its_video_and_a_poster_of_the_strip() -> None:
    sources = sources_of()
    found = videos.players(sources, videos.posters(sources), {"a"})
    data = re.search(r'<video controls [^>]*src="data:video/mp4;base64,([^"]+)"', found["a"])[1]
    assert base64.b64decode(data) == sources.pictures["a.mp4"]
    from io import BytesIO

    from PIL import Image

    poster = re.search(r'poster="data:image/webp;base64,([^"]+)"', found["a"])[1]
    shown = np.asarray(Image.open(BytesIO(base64.b64decode(poster))).convert("RGB")).astype(int)
    assert shown.shape == (140, 384, 3)  # three panels under their names
    assert np.abs(shown[76, 64::128, 0] - (0, 60, 120)).max() < 8
    for clip in ("b", "c"):
        assert f'href="../../data/tiny/evaluate/pictures/{clip}.mp4"' in found[clip] and "dvc pull" in found[clip]
        assert "base64" not in found[clip]


def test_people_who_may_not_be_shown_are_linked_alone() -> None:
    sources = sources_of(people=False)
    assert videos.fitting(sources, 0) == set() and videos.posters(sources) == {}
    assert all("<video" not in html and "base64" not in html for html in videos.players(sources, {}, set()).values())


def test_data_without_videos_has_no_players() -> None:
    sources = sources_of()
    older = replace(sources, pictures={n: d for n, d in sources.pictures.items() if n.endswith(".png")})
    assert videos.players(older, videos.posters(older), videos.fitting(older, 0)) == {}


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000])
def test_the_size_inside_the_page_is_that_of_base64(size: int) -> None:
    assert videos.embedded_bytes(b"x" * size) == len(base64.b64encode(b"x" * size))


def test_nothing_waits_to_be_scrolled_to_so_that_a_printed_page_has_its_pictures() -> None:
    """A browser that prints does not scroll: lazily loaded pictures stay white in a PDF, and so do videos."""
    folder = Path(figures.__file__).parent
    for path in (*folder.glob("*.py"), *folder.glob("*.html"), *folder.glob("*.js")):
        assert "lazy" not in path.read_text(encoding="utf-8"), path
    printed = (folder / "page.css").read_text(encoding="utf-8").partition("@media print")[2]
    assert re.search(r"video \{ display: none; \}", printed)
