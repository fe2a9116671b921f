"""Fits the map from speech to lip shapes (:class:`s3dnerf.model.lip_shapes.LipShapes`) to the training clips.

Ridge regression in closed form: over frames t of training clips and a few source frames s of each,

    Σ ‖W x_ts − y_ts‖² + n (λ ‖W_speech‖² + λ' ‖W_source‖² / clips)

x: what the map reads; y: :func:`s3dnerf.model.lip_shapes.lip_offsets` of frame t from frame s; n: the number of pairs.
Of sources a clip shows few, however many frames it has: hence the division. Reads landmarks, cameras and tokens, no
pictures; the same clips give the same map.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.model.cameras import Camera
from s3dnerf.model.crossmodal import speech_windows
from s3dnerf.model.lip_shapes import LipShapes, lip_offsets
from s3dnerf.training.clips import ClipFolder

MOST_CLIPS, SOURCES = 512, 3  # clips that are read, evenly spread; source frames of each
# λ and λ': tokens are in standard deviations, lip shapes in widths of the face
RIDGE_SPEECH, RIDGE_SOURCE = 0.5, 0.02


def spread_over(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All clips, or :data:`MOST_CLIPS` of more, evenly spread over their order."""
    places = np.unique(np.linspace(0, len(records) - 1, min(len(records), MOST_CLIPS)).round().astype(int))
    return [records[place] for place in places]


def read_clip(folder: ClipFolder, record: dict[str, Any]) -> tuple[Tensor, Camera, Tensor, Tensor]:
    """Landmarks, cameras, box and tokens of a clip."""

    def read(stage: str, kind: str) -> Tensor:
        return torch.from_numpy(np.asarray(folder.packs[stage].read(record["clip"], kind), np.float32))

    camera = Camera(read("masks", "world_to_camera.npy"), read("masks", "intrinsics.npy"))
    return read("align", "landmarks.npy"), camera, read("masks", "box.npy"), read("speech", "tokens.npy")


def offsets_from(
    source: int, landmarks: Float[Tensor, "n 68 2"], camera: Camera, box: Float[Tensor, " 4"]
) -> Float[Tensor, "n 20 2"]:
    """:func:`lip_offsets` of each frame of a clip from its frame ``source``."""
    n, one = len(landmarks), slice(source, source + 1)
    start, taken_by = landmarks[one].expand(n, -1, -1), camera[one].repeat(n)
    return lip_offsets(landmarks, start, camera, taken_by, box.expand(n, -1))


def fit_lip_shapes(
    shapes: LipShapes, folder: ClipFolder, records: list[dict[str, Any]], tokens: int, seed: int
) -> None:
    """Give ``shapes`` its map.

    Parameters
    ----------
    records : the training clips
    tokens : around each frame
    seed : of the source frames
    """
    clips = [read_clip(folder, record) for record in spread_over(records)]
    heard = torch.cat([speech for *_, speech in clips]).double()
    mean, std = heard.mean(0), heard.std(0).clamp_min(1e-4)
    standard = (heard - mean) / std
    kept = shapes.directions.shape[1]
    directions = torch.linalg.eigh(standard.T @ standard).eigenvectors.flip(1)[:, :kept]
    # an eigenvector's sign is nobody's: its largest entry is made positive
    directions = directions * directions.gather(0, directions.abs().argmax(0, keepdim=True)).sign()
    shapes.set_map(mean.float(), (directions / std[:, None]).float(), torch.zeros_like(shapes.weight))
    size, pairs = len(shapes.weight), 0
    squares, products = torch.zeros(size, size, dtype=torch.double), torch.zeros(size, shapes.weight.shape[1]).double()
    draw = np.random.default_rng([seed, 4])
    for landmarks, camera, box, speech in clips:
        windows = speech_windows(speech, tokens)
        for source in draw.integers(len(landmarks), size=SOURCES):
            given = shapes.inputs(windows, landmarks[source][None].expand(len(windows), -1, -1))
            wanted = offsets_from(int(source), landmarks, camera, box).flatten(1)
            squares += (given.T @ given).double()
            products += (given.T @ wanted).double()
            pairs += len(given)
    speech_inputs = tokens * kept
    ridge = torch.full((size,), RIDGE_SOURCE / len(clips), dtype=torch.double)
    ridge[:speech_inputs], ridge[-1] = RIDGE_SPEECH, 1e-9
    weight = torch.linalg.solve(squares + torch.diag(pairs * ridge), products)
    shapes.set_map(shapes.mean, shapes.directions, weight.float())
