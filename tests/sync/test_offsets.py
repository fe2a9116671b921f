"""The offset curve against SyncNet's protocol written out, and shifts recovered."""

import numpy as np
import pytest
import torch

from s3dnerf.sync.offsets import shifted_distances, sync_result


def literal_protocol(lips: torch.Tensor, audio: torch.Tensor, reach: int = 15) -> tuple[list[float], float, float, int]:
    """Window by window, offset by offset: mean distances, LSE-C, LSE-D, offset."""
    n = len(lips)
    curve = []
    for j in range(2 * reach + 1):
        total = 0.0
        for i in range(n):
            k = i + j - reach
            heard = audio[k] if 0 <= k < n else torch.zeros_like(audio[0])
            total += float(torch.nn.functional.pairwise_distance(lips[i][None], heard[None])[0])
        curve.append(total / n)
    ordered = sorted(curve)
    least = ordered[0]
    return curve, ordered[len(ordered) // 2] - least, least, reach - curve.index(least)


@pytest.mark.parametrize("n, e", [(40, 8), (7, 3), (1, 4)])
def test_equals_the_protocol_written_out(n, e):
    generator = torch.Generator().manual_seed(n)
    lips, audio = torch.randn(n, e, generator=generator), torch.randn(n, e, generator=generator)
    curve, confidence, distance, offset = literal_protocol(lips, audio)
    result = sync_result(shifted_distances(lips, audio))
    assert np.allclose(result.curve, curve, atol=1e-5)
    assert (result.lse_c, result.lse_d) == (pytest.approx(confidence, abs=1e-5), pytest.approx(distance, abs=1e-5))
    assert result.offset_frames == offset and result.windows == n


@pytest.mark.parametrize("k", range(-10, 11))
@pytest.mark.parametrize("zero_padded", [True, False])
def test_a_shift_is_recovered(k, zero_padded):
    sound = torch.nn.functional.normalize(torch.randn(120, 16, generator=torch.Generator().manual_seed(3)), dim=1)
    # what the lips of frame f say stands at f - k in the sound: early by k
    lips, audio = (
        sound[20:100],
        sound[20 + k : 100 + k],
    )
    assert sync_result(shifted_distances(lips, audio, zero_padded=zero_padded)).offset_frames == k


def test_pairs_beyond_the_ends_are_left_out_unless_padded():
    unit = torch.nn.functional.normalize(torch.randn(30, 64, generator=torch.Generator().manual_seed(5)), dim=1)
    other = torch.nn.functional.normalize(torch.randn(30, 64, generator=torch.Generator().manual_seed(6)), dim=1)
    padded, plain = (sync_result(shifted_distances(unit, other, zero_padded=z)).curve for z in (True, False))
    assert padded[0] < plain[0] - 0.1 and padded[30] < plain[30] - 0.1  # why the trained judge does not pad
    assert padded[15] == pytest.approx(plain[15])


def test_a_clip_too_short_for_an_offset_is_refused():
    with pytest.raises(ValueError, match="expected more than 15"):
        sync_result(shifted_distances(torch.randn(15, 4), torch.randn(15, 4), zero_padded=False))
