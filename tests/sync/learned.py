"""A network that has learned the made-up talkers."""

from __future__ import annotations

import functools

import numpy as np
import torch

from s3dnerf.settings.schema import SyncSettings
from s3dnerf.sync.expert import SyncExpert
from s3dnerf.sync.losses import expected_triplet_loss
from s3dnerf.training.sync_augment import plain_lips
from s3dnerf.training.sync_data import draw_batch
from tests.sync.talking import talker

TINY = SyncSettings(crop_px=48, width=8, embed=32, batch=32, lr=2e-3, gate=0.75, eval_trials=260)


@functools.lru_cache(maxsize=1)  # frozen: whoever asks for the same seed may have the same one
def learned(seed: int = 0) -> SyncExpert:
    """A narrow network after 110 steps on eight talkers; ``seed`` for its start and for what is drawn."""
    clips = [talker(name * 3, 3.0, 0) for name in "abcdefgh"]
    torch.manual_seed(seed)
    network = SyncExpert(TINY)
    optimiser = torch.optim.Adam(network.parameters(), lr=TINY.lr, betas=(0.9, 0.99))
    for step in range(110):
        batch = draw_batch(clips, TINY.batch, np.random.default_rng([seed, step]))
        loss = expected_triplet_loss(
            network.visual(plain_lips(batch.lips, clips[0].margin)),
            network.audio(batch.audio),
            batch.negatives,
            TINY.margin,
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval().requires_grad_(False)
