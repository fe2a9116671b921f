"""The regression of benchmarks/speech_features.py: people left out exactly, targets without the head's motion."""

import numpy as np
import torch

from benchmarks.speech_features import left_out_errors, mouth


def test_leaving_out_by_formula_is_leaving_out():
    rng = np.random.default_rng(0)
    inputs, noise = rng.normal(size=(60, 7)), rng.normal(size=(60, 2))
    targets, people = inputs @ rng.normal(size=(7, 2)) + noise, np.repeat(np.arange(4), 15)
    found = left_out_errors(torch.from_numpy(inputs), torch.from_numpy(targets), people, 0.3)
    for person in range(4):
        x, y = inputs[people != person], targets[people != person]
        weights = np.linalg.solve(x.T @ x + 0.3 * 60 * np.eye(7), x.T @ y)
        left = ((targets[people == person] - inputs[people == person] @ weights) ** 2).sum(axis=0)
        assert np.allclose(found[person], left)


def test_a_moving_head_does_not_open_the_mouth():
    rng = np.random.default_rng(0)
    still = np.repeat(rng.uniform(0, 100, (1, 68, 2)), 5, axis=0)
    still[:, 65:68, 1] += 3.0 * np.arange(5)[:, None]  # the lower inner lip sinks
    turn, scale = rng.uniform(-0.3, 0.3, 5), rng.uniform(0.8, 1.2, 5)
    rotation = np.stack([np.stack([np.cos(turn), -np.sin(turn)], -1), np.stack([np.sin(turn), np.cos(turn)], -1)], 1)
    moved = np.einsum("n,nij,npj->npi", scale, rotation, still) + rng.uniform(-20, 20, (5, 1, 2))
    found, wanted = mouth(moved), mouth(still)
    assert np.allclose(np.diff(wanted[:, 0]), 3.0 / np.linalg.norm(still[0, 36] - still[0, 45]))
    assert np.corrcoef(found[:, 0], wanted[:, 0])[0, 1] > 0.999  # upright is what the clip's mean is
    assert np.ptp(found[:, 1]) < 1e-6 * found[:, 1].mean()
