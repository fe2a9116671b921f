"""The towers: sizes, scaling by width, the whole range of the cosine, indifference to skin and light."""

import pytest
import torch

from s3dnerf.settings.schema import SyncSettings
from s3dnerf.sync.expert import SyncExpert, cosine
from s3dnerf.sync.towers import AudioTower, VisualTower


@pytest.mark.parametrize("size, width, embed", [(48, 4, 16), (96, 4, 32), (48, 8, 512)])
def test_sizes(size, width, embed):
    expert = SyncExpert(SyncSettings(crop_px=size, width=width, embed=embed))
    assert expert.visual(torch.rand(3, 5, 3, size, size)).shape == (3, embed)
    assert expert.audio(torch.randn(3, 16, 80)).shape == (3, embed)


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


def test_embeddings_have_both_signs():
    torch.manual_seed(0)
    expert = SyncExpert(SyncSettings(crop_px=48, width=4, embed=64)).eval()
    lips, audio = expert.visual(torch.rand(4, 5, 3, 48, 48)), expert.audio(torch.randn(4, 16, 80))
    for embedding in (lips, audio):
        assert 0.2 < (embedding < 0).float().mean() < 0.8
    assert cosine(lips, audio).min() > -1


def test_a_grey_tower_does_not_see_colours():
    torch.manual_seed(0)
    lips = torch.rand(2, 5, 3, 48, 48)
    swapped = lips[:, :, [2, 0, 1]]
    for grey in (True, False):
        tower = VisualTower(5, 48, 4, 16, grey).eval()
        assert torch.allclose(tower(lips), tower(swapped), atol=1e-5) == grey


def test_light_and_tint_do_not_matter():
    torch.manual_seed(0)
    tower = VisualTower(5, 48, 8, 32).eval()
    lips = torch.rand(2, 5, 3, 48, 48)
    dark = lips * 0.5 + torch.tensor([0.1, 0.2, 0.05])[:, None, None]
    light, time = (1 - cosine(tower(lips), tower(other)) for other in (dark, lips.flip(1)))
    assert light.max() < 0.1 * time.min()
