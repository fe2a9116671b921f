"""The towers: sizes, scaling by width, the whole range of the cosine, indifference to skin and light."""

import pytest
import torch

from s3dnerf.settings.schema import SyncSettings
from s3dnerf.sync.expert import SyncExpert, cosine
from s3dnerf.sync.towers import AudioTower, TokenTower, VisualTower
from tests.margins import Between, Margin


@pytest.mark.parametrize("size, width, embed", [(48, 4, 16), (96, 4, 32), (48, 8, 512)])
def test_sizes(size, width, embed):
    expert = SyncExpert(SyncSettings(crop_px=size, width=width, embed=embed))
    assert expert.visual(torch.rand(3, 5, 3, size, size)).shape == (3, embed)
    assert expert.audio(torch.randn(3, 16, 80)).shape == (3, embed)


def test_sizes_with_tokens():
    expert = SyncExpert(SyncSettings(crop_px=48, width=4, embed=16, audio="tokens"), token_dim=20)
    assert expert.audio(torch.randn(3, 10, 20)).shape == (3, 16)
    with pytest.raises(ValueError, match="token_dim"):
        SyncExpert(SyncSettings(crop_px=48, width=4, embed=16, audio="tokens"))


def test_tokens_are_standardised():
    torch.manual_seed(0)
    tower = TokenTower(6, 4, 16).eval()
    tokens, mean, std = torch.randn(3, 10, 6), torch.randn(6), torch.rand(6) + 0.5
    plain = tower(tokens)
    tower.set_statistics(mean, std)
    assert torch.allclose(tower(tokens * std + mean), plain, atol=1e-5)


def test_width_scales():
    count = [
        sum(p.numel() for p in SyncExpert(SyncSettings(crop_px=48, width=w, embed=32)).parameters()) for w in (4, 8)
    ]
    assert 3 < count[1] / count[0] < 4.2


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="48 or 96"):
        VisualTower(5, 64, 4, 16)
    with pytest.raises(ValueError, match=r"expected \(b, 5, 3, 48, 48\)"):
        VisualTower(5, 48, 4, 16)(torch.rand(1, 5, 3, 96, 96))
    with pytest.raises(ValueError, match=r"expected \(b, 5, 3, 48, 48\)"):
        VisualTower(5, 48, 4, 16)(torch.rand(1, 4, 3, 48, 48))


def test_shapes_are_enforced_by_the_tests():
    with pytest.raises(Exception, match="shape|type"):
        AudioTower(4, 16)(torch.randn(2, 80, 16))


def signs_of_embeddings(seed, folder):
    torch.manual_seed(seed)
    expert = SyncExpert(SyncSettings(crop_px=48, width=4, embed=64)).eval()
    lips, audio = expert.visual(torch.rand(4, 5, 3, 48, 48)), expert.audio(torch.randn(4, 16, 80))
    below = {f"{name} below 0": float((e < 0).float().mean()) for name, e in (("lips", lips), ("audio", audio))}
    return {**below, "least cosine": float(cosine(lips, audio).detach().min())}


SIGNS = Margin(
    "test_embeddings_have_both_signs",
    signs_of_embeddings,
    {"lips below 0": Between(0.2, 0.8), "audio below 0": Between(0.2, 0.8), "least cosine": Between(low=-0.999)},
)


def test_embeddings_have_both_signs(tmp_path):
    SIGNS.check(SIGNS.measure(SIGNS.seed, tmp_path))


def test_a_grey_tower_does_not_see_colours():
    torch.manual_seed(0)
    lips = torch.rand(2, 5, 3, 48, 48)
    swapped = lips[:, :, [2, 0, 1]]
    for grey in (True, False):
        tower = VisualTower(5, 48, 4, 16, grey).eval()
        assert torch.allclose(tower(lips), tower(swapped), atol=1e-5) == grey


def light_against_time(seed, folder):
    torch.manual_seed(seed)
    tower = VisualTower(5, 48, 8, 32).eval()
    lips = torch.rand(2, 5, 3, 48, 48)
    dark = lips * 0.5 + torch.tensor([0.1, 0.2, 0.05])[:, None, None]
    light, time = (1 - cosine(tower(lips), tower(other)) for other in (dark, lips.flip(1)))
    return {"change by light, of that by time": float((light.max() / time.min()).detach())}


LIGHT = Margin(
    "test_light_and_tint_do_not_matter", light_against_time, {"change by light, of that by time": Between(high=0.1)}
)


def test_light_and_tint_do_not_matter(tmp_path):
    LIGHT.check(LIGHT.measure(LIGHT.seed, tmp_path))
