"""Batches of fixed shapes give what the plain path gives. (The CUDA graph itself: benchmarks/gpu_day.py, on a GPU.)"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from s3dnerf.model.cameras import Camera
from s3dnerf.synthesis.replayed import Batches, Request, largest_extent
from s3dnerf.synthesis.synthesizer import Synthesizer, final_pixels, load_card, load_generator, painted_and_moved
from tests.synthesis.test_synthesizer import BOX, INTRINSICS, _driven, _portrait, _write_generator, turn


@pytest.fixture(scope="module")
def synthesizer(tmp_path_factory: pytest.TempPathFactory) -> Synthesizer:
    folder = tmp_path_factory.mktemp("generator")
    _write_generator(folder)
    return Synthesizer(load_generator(folder), load_card(folder))


def request_of(
    synthesizer: Synthesizer, driven: tuple[np.ndarray, ...], closed: dict[int, torch.Tensor] | None = None
) -> Request:
    poses, k = (torch.from_numpy(np.ascontiguousarray(x, np.float32)) for x in driven[1:])
    return Request(partial(synthesizer.windows, driven[0]), Camera(poses, k), (closed or {}).get)


@pytest.mark.parametrize("batch", [1, 3, 20])
def test_frames_are_those_of_the_plain_path(synthesizer: Synthesizer, batch: int) -> None:
    identity, driven = _portrait(synthesizer), _driven(7)
    plain = np.stack(list(synthesizer.frames(identity, *driven)))
    made = Batches(synthesizer.generator, identity, request_of(synthesizer, driven), batch, final_pixels, graph=False)
    frames = np.concatenate([parts[0] for parts in made])
    assert frames.shape == plain.shape and frames.dtype == np.uint8
    assert np.abs(frames.astype(int) - plain).max() <= 1


def test_closed_eyes_are_shown_in_their_frames_alone(synthesizer: Synthesizer) -> None:
    identity, driven = _portrait(synthesizer), _driven(7)
    other = 1.0 - identity.source[-1][0]
    plain, shut = (
        np.concatenate(
            [
                parts[0]
                for parts in Batches(
                    synthesizer.generator,
                    identity,
                    request_of(synthesizer, driven, closed),
                    3,
                    final_pixels,
                    graph=False,
                )
            ]
        )
        for closed in ({}, {1: other, 5: other})
    )
    changed = np.abs(plain.astype(int) - shut).max((1, 2, 3)) > 50
    assert changed.tolist() == [number in (1, 5) for number in range(7)]


def test_what_is_painted_and_moved_comes_with_each_batch(synthesizer: Synthesizer) -> None:
    identity, driven = _portrait(synthesizer), _driven(5)
    made = list(
        Batches(synthesizer.generator, identity, request_of(synthesizer, driven), 2, painted_and_moved, graph=False)
    )
    plain = [painted_and_moved(rendered) for rendered in synthesizer.render(identity, *driven, batch=2)]
    assert [len(parts[0]) for parts in made] == [2, 2, 1]
    for got, wanted in zip(made, plain, strict=True):
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b.numpy(), atol=2e-4)


def test_bfloat16_moves_pixels_by_little(synthesizer: Synthesizer) -> None:
    """A few levels where the network paints; were places computed in bfloat16, edges would be pixels off."""
    identity, driven = _portrait(synthesizer), _driven(2)
    exact, short = (
        np.concatenate(
            [
                p[0]
                for p in Batches(
                    synthesizer.generator, identity, request_of(synthesizer, driven), 2, final_pixels, bf16, False
                )
            ]
        ).astype(int)
        for bf16 in (False, True)
    )
    assert 0 < np.abs(exact - short).mean() < 0.5 and np.abs(exact - short).max() < 24


def test_the_rectangle_of_rays_holds_every_frames(synthesizer: Synthesizer) -> None:
    poses = torch.from_numpy(np.stack([turn(a) for a in (0.0, 0.4, -0.8)]).astype(np.float32))
    k = torch.from_numpy(INTRINSICS.astype(np.float32)).expand(3, -1, -1)
    box = torch.from_numpy(np.asarray(BOX, np.float32))[None]
    together = largest_extent(Camera(poses, k), box, 32)
    each = [largest_extent(Camera(poses[i : i + 1], k[:1]), box, 32) for i in range(3)]
    assert together == (max(w for w, _ in each), max(h for _, h in each)) and len(set(each)) > 1
    assert all(isinstance(side, int) for side in together)


def test_a_generator_from_before_the_rule_for_devices_loads(tmp_path: Path) -> None:
    import json

    _write_generator(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    card["settings"]["align"]["device"] = card["settings"]["masks"]["device"] = "cpu"
    (tmp_path / "card.json").write_text(json.dumps(card))
    assert load_generator(tmp_path).speech_dim == card["speech_dim"]
    assert load_card(tmp_path) == card
