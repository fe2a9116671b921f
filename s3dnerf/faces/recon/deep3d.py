"""The real reconstruction: Deep3DFaceRecon's network and the Basel model, on each aligned frame.

Reads ``masks.network`` (``epoch_20.pth``), ``masks.morphable_model`` (``BFM_model_front.mat``) and, beside it,
``similarity_Lm3D_all.mat`` (the standard 3-D points it aligns to). The official cut resizes to whole pixels and cuts
whole pixels; ours is one exact similarity, so that crop and camera agree to a fraction of a pixel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from s3dnerf.core.devices import chosen_device
from s3dnerf.core.errors import MissingWeights
from s3dnerf.faces import camera
from s3dnerf.faces.recon.crop import crop_for, crop_matrix
from s3dnerf.faces.recon.morphable import BFM_LICENCE, BFM_WHERE, LAYOUT, STANDARD_POINTS, five_of, load_bfm, read_mat
from s3dnerf.faces.recon.network import load_network
from s3dnerf.faces.recon.rasterise import MaskPainter
from s3dnerf.faces.recon.types import Reconstruction, smoothed
from s3dnerf.faces.warping import warp
from s3dnerf.settings.schema import MasksSettings


def standard_points(path: str | Path) -> np.ndarray:
    """The 5 standard points (5, 3) of Deep3DFaceRecon's ``similarity_Lm3D_all.mat`` (``lm``: 68 points in the head
    frame).

    Raises MissingWeights when the file is absent, ValueError when it holds no 68 points.
    """
    if not Path(path).is_file():
        raise MissingWeights(
            f"masks.morphable_model (its folder must hold {STANDARD_POINTS})", path, BFM_WHERE, BFM_LICENCE
        )
    points = read_mat(path).get("lm")
    if points is None or points.shape != (68, 3):
        raise ValueError(f"{path}: expected lm of shape (68, 3), got {None if points is None else points.shape}")
    return five_of(points.astype(np.float64))


class Deep3DReconstructor:
    """Deep3DFaceRecon on aligned frames; see :class:`s3dnerf.faces.recon.reconstruct.Reconstructor`."""

    name = "deep3d"
    real = True
    needs_frames = True

    def __init__(self, settings: MasksSettings, size_px: int = 256) -> None:
        self.settings, self.size_px = settings, size_px
        self.device = chosen_device()
        self.network = load_network(settings.network).to(self.device)
        self.model = load_bfm(settings.morphable_model)
        self.standard = standard_points(Path(settings.morphable_model or "").with_name(STANDARD_POINTS))
        self._painter = MaskPainter(self.model, size_px)

    def coefficients(self, frames: np.ndarray, crops: np.ndarray) -> np.ndarray:
        """The network's answer float64 (N, 257) for frames uint8 (N, size, size, 3) and Deep3D's crops (N, 3)."""
        cuts = np.stack([warp(f, crop_matrix(c, self.size_px), camera.CROP_PX) for f, c in zip(frames, crops)])
        answers = []
        with torch.inference_mode():
            for part in np.split(cuts, range(self.settings.batch, len(cuts), self.settings.batch)):
                # [b, 3, 224, 224]
                images = torch.from_numpy(part).to(self.device).permute(0, 3, 1, 2).float() / 255
                answers.append(self.network(images).double().cpu().numpy())
        return np.concatenate(answers)

    def run(self, landmarks: np.ndarray, frames: np.ndarray | None = None) -> Reconstruction:
        """A clip's reconstruction from landmarks (n, 68, 2) and frames uint8 (n, h, w, 3).

        Raises ValueError without a frame for each set of landmarks.
        """
        if frames is None or len(frames) != len(landmarks):
            got = None if frames is None else len(frames)
            raise ValueError(f"deep3d needs a frame for each of {len(landmarks)} landmark sets, got {got}")
        landmarks = np.asarray(landmarks, dtype=np.float64)
        crops = crop_for(five_of(landmarks), self.standard, self.size_px)
        found = self.coefficients(frames, crops)
        angles, translation = found[:, LAYOUT["angle"]], found[:, LAYOUT["trans"]]
        # each frame has a crop of its own; all are put under one crop, so that what is smoothed is the head, not the
        # crop
        own_k = camera.intrinsics(crops, self.size_px)
        k = camera.intrinsics(np.median(crops, axis=0), self.size_px)
        centre = self.model.mean[self.model.keypoints].mean(axis=0)
        angles_k, translation_k = camera.pose_of(
            camera.with_intrinsics(camera.world_to_camera(angles, translation), own_k, k, centre)
        )
        smooth = self.settings.smooth_frames
        w2c = camera.world_to_camera(smoothed(np.unwrap(angles_k, axis=0), smooth), smoothed(translation_k, smooth))
        identity, expression = found[:, LAYOUT["id"]].mean(axis=0), found[:, LAYOUT["exp"]]
        points = camera.project(self.model.shape(identity, expression, self.model.keypoints), w2c, k)
        error = np.sqrt(((points - landmarks)[:, 17:] ** 2).sum(axis=2).mean(axis=1))
        return Reconstruction(
            coefficients=found.astype(np.float32),
            world_to_camera=w2c.astype(np.float32),
            intrinsics=np.tile(k, (len(frames), 1, 1)).astype(np.float32),
            box=self.model.box().astype(np.float32),
            raw_camera=np.concatenate([angles, translation, crops], axis=1).astype(np.float32),
            mask=self._painter.paint(identity, expression, w2c, k),
            error_px=error,
        )
