"""The documentation's pictures: all of them are made from a drawn preset, of the right size, labelled, not of one
colour; the committed graph is that of ``dvc.yaml``.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from flows.docs_pictures.__main__ import METHODS, OUT, pictures
from flows.docs_pictures.frames import MOVING_S, depth, face_square, made_clip
from flows.docs_pictures.graph import ABOUT, edges_of, graph_picture
from flows.docs_pictures.panels import CAPTION_PX, GAP_PX, grid, resized
from flows.graph import definitions
from s3dnerf.core.errors import SettingsError
from s3dnerf.model.cameras import Camera
from s3dnerf.video.encoding import encode_clip
from tests.fake_preset import FRAMES, make_preset, settings_of
from tests.project import ROOT

LARGEST_BYTES, ANIMATION_BYTES = 1_500_000, 700_000


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The drawn preset with its raw videos, and M-LMD of three methods."""
    root = tmp_path_factory.mktemp("pictures")
    make_preset(root, settings_of())
    shades = [np.full((120, 200, 3), (20 * i, 90, 200 - 10 * i), np.uint8) for i in range(FRAMES)]
    rows = []
    for corpus, folder in (("hdtf", "HDTF"), ("mead", "MEAD")):
        table = pd.read_parquet(root / f"data/tiny/ingest/{corpus}/clips.parquet")
        for video in table["video"]:
            path = root / "raw" / folder / video
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_clip(shades, crf=4))
        for i, record in enumerate(table[table["split"] == "test"].to_dict("records")):
            for j, method in enumerate(METHODS):
                keys = {k: record[k] for k in ("clip", "corpus", "speaker")}
                rows.append({**keys, "method": method, "metric": "m_lmd", "value": 1.0 + j + 0.1 * i})
    (root / "data/tiny/evaluate").mkdir()
    pd.DataFrame(rows).to_parquet(root / "data/tiny/evaluate/clips.parquet", index=False)
    return root


@pytest.fixture
def here(made: Path, monkeypatch) -> Path:
    monkeypatch.chdir(made)
    return made


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.slow
def test_every_picture_is_made_and_shows_something(here: Path) -> None:
    for name, make in pictures(settings_of(), ROOT / "dvc.yaml").items():
        data = make()
        assert data == make(), f"{name}: other bytes the second time"
        if name.endswith(".svg"):
            assert data.startswith(b"<?xml") and b"train_s3dnerf" in data
            continue
        picture = opened(data)
        assert min(picture.size) > 100 and max(picture.size) <= 1300, name
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        colours = np.unique(pixels // 32, axis=0)
        assert len(colours) > 3, f"{name}: hardly any colour"
        assert (pixels.max(axis=1) < 110).any() and (pixels.min(axis=1) > 240).any(), f"{name}: no text on its ground"


@pytest.mark.slow
def test_the_animation_plays_the_clip_and_stops_in_time(here: Path) -> None:
    moving = opened(pictures(settings_of(), ROOT / "dvc.yaml")["talking.webp"]())
    frames = min(FRAMES, round(MOVING_S * 25))
    assert moving.n_frames == (frames + 1) // 2 and moving.info["loop"] == 0
    shown = []
    for number in (0, 1):
        moving.seek(number)
        shown.append(np.asarray(moving.convert("RGB")).astype(int))
        assert moving.info["duration"] == 80
    first, second = shown
    third = first.shape[1] // 3
    change = np.abs(first - second).max(axis=2)
    assert change[:, 2 * third :].max() > change[:, : third - 20].max() + 20  # the truth moves, the portrait does not


def test_a_grid_keeps_its_pictures_and_writes_its_words() -> None:
    red, blue = np.full((40, 60, 3), (200, 0, 0), np.uint8), np.full((40, 30, 3), (0, 0, 200), np.uint8)
    found = grid([[red, blue]], [["one", "two"]], ["row"])
    left = found.shape[1] - 60 - 30 - 2 * GAP_PX
    assert (found[GAP_PX : GAP_PX + 40, left : left + 60] == red).all()
    below, beside = found[GAP_PX + 40 : GAP_PX + 40 + CAPTION_PX, left:], found[:, : left - GAP_PX]
    assert below.min() < 100 and beside.min() < 100
    bare = grid([[red, blue]])
    assert bare.shape == (40 + 2 * GAP_PX, 90 + 3 * GAP_PX, 3)
    with pytest.raises(ValueError, match="expected"):
        grid([[red, blue]], [["one"]])
    assert resized(red, 20).shape == (20, 30, 3)


def test_depth_is_the_boxs_front_where_all_is_dense_and_its_back_where_nothing_is(here: Path) -> None:
    shown = made_clip(settings_of(), "hdtf", "hdtf_C_000")
    generator, clip = shown.made.generator, shown.clip
    windows = torch.zeros(1, generator.settings.speech_tokens, generator.speech_dim)
    camera = Camera(torch.from_numpy(clip.world_to_camera[:1]), torch.from_numpy(clip.intrinsics[:1]))
    conditions = generator.conditions(shown.identity, windows)
    middle = generator.settings.raw_px // 2
    for bias, low, high in ((200.0, -1.05, -0.7), (-200.0, 0.99, 1.01)):
        with torch.no_grad():
            generator.decoder.out.weight.zero_()
            generator.decoder.out.bias.fill_(bias)
        found = depth(shown.made, shown.identity, conditions, camera)
        assert low < float(found[middle, middle]) < high, bias


def test_the_face_square_holds_every_landmark() -> None:
    points = np.stack([np.linspace(90, 150, 68), np.linspace(100, 190, 68)], 1)[None].repeat(3, 0)
    points[1] += 10
    points[2] = np.nan
    rows, columns = face_square(points, 256)
    assert rows.start <= 100 and rows.stop >= 200 and columns.start <= 90 and columns.stop >= 160
    assert rows.stop - rows.start == columns.stop - columns.start == 150


def test_edges_are_what_a_stage_reads_of_another() -> None:
    text = """
    a: {outs: [data/a]}
    b: {deps: [data/a/part.json], outs: [{reports/b: {cache: false}}, data/b/one]}
    c: {deps: [data/b], outs: [data/c]}
    d: {deps: [data/ab], outs: [data/d]}
    """
    assert edges_of(yaml.safe_load(text)) == {("a", "b"), ("b", "c")}


def test_the_committed_graph_is_the_one_of_dvc_yaml() -> None:
    stages = definitions(ROOT / "dvc.yaml")
    committed, now = (
        (data.decode()) for data in ((ROOT / OUT / "graph.svg").read_bytes(), graph_picture(ROOT / "dvc.yaml"))
    )
    assert set(ABOUT) == set(stages) and all(f">{name}<" in committed for name in stages)
    arrows = [set(re.findall(r'id="([a-z0-9_]+-[a-z0-9_]+)"', svg)) for svg in (committed, now)]
    assert arrows[0] == arrows[1] and "train_sync_judge-evaluate" in arrows[0]


def test_only_made_up_people_are_shown(here: Path) -> None:
    with pytest.raises(SettingsError, match="its people are real"):
        pictures(settings_of(sample={"enabled": False}), ROOT / "dvc.yaml")


def test_committed_pictures_are_small_and_all_there(here: Path) -> None:
    files = {path.name: path.stat().st_size for path in (ROOT / OUT).iterdir()}
    assert set(pictures(settings_of(), ROOT / "dvc.yaml")) <= set(files)
    assert sum(files.values()) <= LARGEST_BYTES and files["talking.webp"] <= ANIMATION_BYTES
