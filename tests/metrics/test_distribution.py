"""KID and FID: literal formulas, scipy's matrix root, what few pictures do, and the jackknife."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from s3dnerf.evaluation.feature_networks import of_alexnet
from s3dnerf.evaluation.picture_sets import PictureSets
from s3dnerf.metrics.distribution import distance, fid, kid
from s3dnerf.metrics.lpips import LPIPS, features


@pytest.mark.parametrize("sizes", [(5, 7), (12, 4), (2, 2)])
def test_kid_by_the_literal_formula(sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    x, y = (random.normal(s, 1, (n, 6)) for s, n in zip((0.0, 0.5), sizes))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (sum(p * q for p, q in zip(a, b)) / 6 + 1) ** 3

    def within(z: np.ndarray) -> float:
        pairs = [k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
        return sum(pairs) / len(pairs)

    across = [k(a, b) for a in x for b in y]
    assert kid(x, y) == pytest.approx(within(x) + within(y) - 2 * sum(across) / len(across))


def test_kid_has_no_bias_where_fid_has_one() -> None:
    """Twelve pictures of one distribution against twelve others: KID is 0 on average, FID far from it."""
    random = np.random.default_rng(1)
    sets = [random.normal(0, 1, (2, 12, 16)) for _ in range(200)]
    kids = [kid(x, y) for x, y in sets]
    assert abs(np.mean(kids)) < 3 * np.std(kids) / math.sqrt(len(kids))
    assert np.mean([fid(x, y) for x, y in sets]) > 5


@pytest.mark.parametrize("sizes", [(40, 60), (9, 5)])  # more pictures than features, and fewer
def test_fid_is_scipys(sizes: tuple[int, int]) -> None:
    from scipy.linalg import sqrtm

    random = np.random.default_rng(2)
    x, y = (random.normal(s, 1 + s, (n, 8)) for s, n in zip((0.0, 0.5), sizes))
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(a @ b)).real
    assert fid(x, y) == pytest.approx(expected, rel=1e-5)
    assert fid(x, x) == pytest.approx(0, abs=1e-6)


def test_the_error_is_a_jackknife_over_clips() -> None:
    random = np.random.default_rng(3)
    ours = {c: random.normal(0.3, 1, (4, 6)) for c in "abcd"}
    truth = {c: random.normal(0, 1, (5, 6)) for c in "abcde"}
    found = distance(ours, truth)
    left = [kid(*(np.concatenate([side[c] for c in "abcd" if c != out]) for side in (ours, truth))) for out in "abcd"]
    assert found.kid_error == pytest.approx(math.sqrt(3 / 4 * sum((k - np.mean(left)) ** 2 for k in left)))
    assert (found.generated, found.truth, found.clips) == (16, 20, 4)
    assert "16 pictures of 4 clips" in found.in_words() and "fewer" not in found.in_words()  # 6 numbers: 7 are enough
    long = {c: random.normal(0, 1, (4, 256)) for c in "abcd"}
    assert "fewer than the 257 that FID asks for" in distance(long, long).in_words()
    assert math.isnan(distance({c: ours[c] for c in "ab"}, truth).kid_error)
    with pytest.raises(ValueError, match="got 0 generated and 0 true pictures, expected 2 and more"):
        distance(ours, {"z": truth["a"]})
    with pytest.raises(ValueError, match="got 1 generated"):
        fid(ours["a"][:1], truth["a"])


def test_features_are_the_fifth_relus_means_and_one_a_second_is_taken() -> None:
    torch.manual_seed(0)
    network = LPIPS()
    frames = np.random.default_rng(4).integers(0, 256, (60, 64, 64, 3), dtype=np.uint8)
    x = (torch.from_numpy(frames[25].transpose(2, 0, 1)).float() / 127.5 - 1)[None]
    expected = network.features((x - network.shift) / network.scale).clamp(min=0).mean(dim=(2, 3))[0]
    assert np.allclose(features(network, frames[:30], batch=7)[25], expected.detach().numpy(), atol=1e-6)
    sets = PictureSets({"alexnet": of_alexnet(network)}, {})
    for clip in ("a", "b"):
        sets.add(None, clip, frames)
        sets.add("same", clip, frames)
        sets.add("dark", clip, frames // 4)
    sets.add("alone", "c", frames)
    found = sets.distances("alexnet")
    assert set(found) == {"same", "dark"} and found["same"].generated == 6
    assert found["same"].fid == pytest.approx(0, abs=1e-6) and found["dark"].kid > found["same"].kid
    assert [line.split(":")[0] for line in sets.lines()][:2] == ["dark", "same"]


def test_without_a_network_it_says_why() -> None:
    sets = PictureSets({}, {"alexnet": "no weights here"})
    sets.add(None, "a", np.zeros((2, 64, 64, 3), np.uint8))
    assert sets.lines()[0] == "kid_alexnet, fid_alexnet: not measured: no weights here"
    assert "no method has two pictures" in PictureSets({"alexnet": of_alexnet(LPIPS())}, {}).lines()[0]
