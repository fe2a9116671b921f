"""insightface: ``FaceAnalysis`` on any folder of its models: SCRFD or RetinaFace detection and 68 3-D points.

Reads the ``*.onnx`` files of ``align.model_dir`` (for example ``buffalo_l``: ``det_10g.onnx`` and ``1k3d68.onnx``).
Nothing is downloaded: the folder must exist. One thread, so that results do not depend on the machine's cores.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s3dnerf.core.devices import onnx_provider
from s3dnerf.core.errors import MissingWeights
from s3dnerf.faces.types import Face

WHERE = "the buffalo_l pack of github.com/deepinsight/insightface (python-package/README, model zoo), unpacked"
LICENCE = "insightface's models: non-commercial research only"
INSTEAD = "align.backend: dlib needs no further file"
WEAK_SCORE = 0.3  # enough for a face that was there a moment ago
NET_STRIDE = 32  # the detector's input sides are multiples of its coarsest stride


class InsightFaceBackend:
    """insightface; see :class:`s3dnerf.faces.detectors.FaceBackend`.

    Parameters
    ----------
    model_dir : path or None
        A folder with a detector, and ``1k3d68.onnx`` for landmarks.

    Raises
    ------
    MissingWeights
        No folder, no detector in it; on the first call of ``landmarks``: no 68-point model in it.
    RuntimeError
        A file that is no model.
    """

    name = "insightface"
    real = True
    contour = "fixed"
    sure_score = 0.5

    def __init__(self, model_dir: str | Path | None) -> None:
        folder = Path(model_dir) if model_dir is not None else None
        if folder is None or not folder.is_dir():
            raise MissingWeights("align.model_dir", folder, WHERE, LICENCE, INSTEAD)
        if not sorted(folder.glob("*.onnx")):
            raise MissingWeights("align.model_dir", folder / "*.onnx", WHERE, LICENCE, INSTEAD)
        import onnxruntime
        from insightface.app import FaceAnalysis
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf

        provider = onnx_provider()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.model_dir = folder
        try:
            analysis = FaceAnalysis(
                name=str(folder),
                allowed_modules=["detection", "landmark_3d_68"],
                sess_options=options,
                providers=[provider],
                static_shape_sessions=False,
            )
        except (InvalidProtobuf, InvalidGraph, InvalidArgument, Fail) as error:
            raise RuntimeError(
                f"align.model_dir: {folder}: holds a file that is no model: {str(error)[:300]}"
            ) from error
        except AssertionError:  # how FaceAnalysis says that none of the models detects faces
            raise MissingWeights("align.model_dir", folder / "det_10g.onnx", WHERE, LICENCE, INSTEAD) from None
        analysis.prepare(
            ctx_id=-1 if provider == "CPUExecutionProvider" else 0, det_thresh=WEAK_SCORE, det_size=(640, 640)
        )
        self._detector = analysis.models["detection"]
        self._landmarks = analysis.models.get("landmark_3d_68")

    def detect(self, image: np.ndarray, max_px: int | None = None, weak: bool = False) -> list[Face]:
        """Faces, largest first, by SCRFD on the picture scaled to ``max_px``."""
        longer = max(image.shape[:2])
        side = NET_STRIDE * round(max(min(max_px or longer, max(longer, 320)), NET_STRIDE) / NET_STRIDE)
        boxes, _ = self._detector.detect(np.ascontiguousarray(image[..., ::-1]), input_size=(side, side))
        faces = [
            Face((float(r[0]), float(r[1]), float(r[2]), float(r[3])), float(r[4]))
            for r in boxes
            if weak or r[4] >= self.sure_score
        ]
        return sorted(faces, key=lambda f: (-f.side_px, -f.score, f.box_px))

    def landmarks(self, image: np.ndarray, box_px: tuple[float, float, float, float]) -> np.ndarray:
        """68 landmarks float32 (68, 2). Raises MissingWeights where the folder has no 68-point model."""
        if self._landmarks is None:
            raise MissingWeights(
                "align.model_dir",
                self.model_dir / "1k3d68.onnx",
                WHERE + " (this folder has a detector but no model of 68 3-D points)",
                LICENCE,
                INSTEAD,
            )
        from insightface.app.common import Face as InsightFace

        points = self._landmarks.get(
            np.ascontiguousarray(image[..., ::-1]), InsightFace(bbox=np.asarray(box_px, np.float32))
        )
        return (np.asarray(points)[:, :2] + 0.5).astype(np.float32)  # pixel indices name centres

    def landmarks_and_doubt(
        self, image: np.ndarray, box_px: tuple[float, float, float, float]
    ) -> tuple[np.ndarray, float]:
        """The landmarks; the model answers once and says nothing of doubt: 0."""
        return self.landmarks(image, box_px), 0.0

    def plain_landmarks(self, image: np.ndarray, box_px: tuple[float, float, float, float]) -> np.ndarray:
        """The same as ``landmarks``: the model's one answer is already plain."""
        return self.landmarks(image, box_px)

    def track_box(self, landmarks: np.ndarray) -> tuple[float, float, float, float]:
        """The landmarks' bounding box, extended by a forehead."""
        low, high = landmarks.min(axis=0), landmarks.max(axis=0)
        top = low[1] - FOREHEAD * (high[1] - low[1])
        return float(low[0]), float(top), float(high[0]), float(high[1])


FOREHEAD = (
    0.32  # SCRFD's box begins so far above the highest brow, in units of the landmarks' height (median, real clips)
)
