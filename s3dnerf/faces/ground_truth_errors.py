"""How well faces are found and reconstructed, measured: against the synthetic speakers' truth, and against
Deep3DFaceRecon.

``python -m s3dnerf.faces.ground_truth_errors --sample data/sample``
    Reads a finished preset's ``ingest``, ``resample``, ``align``, ``masks`` and ``lips`` outs and the truth beside the
    synthetic videos: landmark error (pixels at 256, by region), pose error (degrees), mask IoU, lip-box error, and the
    share of source frames in which the embedded detector finds a face.
``python -m s3dnerf.faces.ground_truth_errors --deep3d ../shared``
    Reads real clips and Deep3DFaceRecon's own coefficients for them: our pose against theirs, an axis a column.

Prints a table; ``--json FILE`` writes the numbers as well. Truth is read here and by tests alone, by no stage.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from s3dnerf.corpora.synthetic.truth import Truth, load_truth, truth_path
from s3dnerf.faces import camera
from s3dnerf.faces.alignment import align_track
from s3dnerf.faces.detectors import face_backend
from s3dnerf.faces.lips import lip_boxes
from s3dnerf.faces.recon.reconstruct import FittedReconstructor
from s3dnerf.faces.tracking import track_faces
from s3dnerf.faces.types import REGIONS, FaceBackend, main_face
from s3dnerf.faces.warping import apply, warp
from s3dnerf.settings.loading import load_settings, preset_settings
from s3dnerf.settings.schema import CORPORA, AlignSettings
from s3dnerf.video.packs import CorpusPacks, write_atomic
from s3dnerf.video.reading import probe, read_frames

AXES = ("yaw", "pitch", "roll")
STAGES = ("resample", "align", "masks", "lips")


@dataclasses.dataclass(frozen=True)
class ClipParts:
    """What the stages made of one clip, as :mod:`stages.align`, ``masks`` and ``lips`` write it, and where its frames
    come from.
    """

    source_frames: np.ndarray
    crop_xy: tuple[int, int]
    landmarks: np.ndarray
    matrix: np.ndarray
    world_to_camera: np.ndarray
    mask: np.ndarray
    lip_box: np.ndarray


def pose_difference(ours: np.ndarray, theirs: np.ndarray) -> dict[str, np.ndarray]:
    """Pose against pose, an axis a column.

    Parameters
    ----------
    ours, theirs : (N, 3), yaw, pitch, roll in degrees

    Returns
    -------
    dict of (3,)
        ``correlation``; ``constant``: the median difference; ``median``: median absolute difference after removing it;
        ``gain``: our standard deviation over theirs.
    """
    difference = ours - theirs
    constant = np.median(difference, axis=0)
    spread = ours.std(axis=0), theirs.std(axis=0)
    covariance = ((ours - ours.mean(axis=0)) * (theirs - theirs.mean(axis=0))).mean(axis=0)
    return {
        "correlation": covariance / np.maximum(spread[0] * spread[1], 1e-9),
        "constant": constant,
        "median": np.median(np.abs(difference - constant), axis=0),
        "gain": spread[0] / np.maximum(spread[1], 1e-9),
    }


def same_frame(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Our rotations (N, 3, 3), turned by the one rotation of the head frame that brings them closest to theirs.

    Two head models need not agree on what is straight ahead; a head frame that is pitched turns yaw into roll, so the
    difference is removed as a rotation, not axis by axis.
    """
    u, _, vt = np.linalg.svd((np.swapaxes(ours, 1, 2) @ theirs).mean(axis=0))
    return ours @ (u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt)


def against_truth(parts: ClipParts, truth: Truth, lip_scale: float) -> dict[str, float]:
    """One clip's errors: ``landmarks``, and a region each, in pixels at 256; pose in degrees; ``mask_iou``; ``lip_box``
    in pixels.
    """
    rows = parts.source_frames
    to_aligned = parts.matrix.copy()
    # truth counts from the whole frame's corner
    to_aligned[:, 2] -= parts.matrix[:, :2] @ np.array(parts.crop_xy, float)
    true_points = apply(to_aligned, truth.landmarks[rows].astype(np.float64))
    off = np.linalg.norm(parts.landmarks - true_points, axis=2)
    true_turn = truth.world_to_camera[rows][..., :3]
    turn = same_frame(parts.world_to_camera[..., :3].astype(np.float64), true_turn)
    pose = pose_difference(_degrees(turn), _degrees(true_turn))
    true_box, _ = lip_boxes(true_points, lip_scale)
    centred = np.linalg.norm(
        (parts.landmarks - parts.landmarks.mean(axis=1, keepdims=True))
        - (true_points - true_points.mean(axis=1, keepdims=True)),
        axis=2,
    )
    result = {
        "frames": float(len(rows)),
        "landmarks": float(off.mean()),
        "centred": float(centred.mean()),
        **{name: float(off[:, region].mean()) for name, region in REGIONS.items()},
        "lip_box": float(np.abs(true_box - parts.lip_box).mean()),
    }
    for i, axis in enumerate(AXES):
        result[axis], result[f"{axis}_constant"] = float(pose["median"][i]), float(pose["constant"][i])
        result[f"{axis}_correlation"], result[f"{axis}_gain"] = float(pose["correlation"][i]), float(pose["gain"][i])
    overlaps = []
    at = {int(frame): k for k, frame in enumerate(truth.mask_frames)}
    for i, frame in enumerate(rows):
        if int(frame) in at:
            true_mask = warp(truth.masks[at[int(frame)]].astype(np.uint8) * 255, to_aligned, parts.mask.shape[1]) > 127
            overlaps.append((true_mask & parts.mask[i]).sum() / max((true_mask | parts.mask[i]).sum(), 1))
    if overlaps:
        result["mask_iou"] = float(np.mean(overlaps))
    return result


def _degrees(rotation: np.ndarray) -> np.ndarray:
    """Yaw, pitch, roll in degrees (N, 3) of camera rotations (N, 3, 3)."""
    return camera.pose_degrees(np.concatenate([rotation, np.zeros((*rotation.shape[:2], 1))], axis=2))


def detection_rate(
    path: Path, frames: np.ndarray, crop: tuple[int, int, int, int] | None, backend: FaceBackend, detect_px: int
) -> tuple[int, int]:
    """In how many of a video's frames the detector finds one face, and how many were looked at. No tracking helps
    it.
    """
    found = [
        main_face(backend.detect(frame, detect_px))[1] == 1 for frame in read_frames(path, np.unique(frames), crop)
    ]
    return sum(found), len(found)


def sample_errors(data_dir: Path, detect_every: int = 5) -> list[dict[str, float | str]]:
    """Errors of every clip of a finished preset with synthetic speakers, and detection rates. Raises FileNotFoundError
    without truth.
    """
    import pandas as pd

    params = Path("params.yaml")
    settings = load_settings(params) if params.is_file() else preset_settings(data_dir.name)
    if settings.preset != data_dir.name:
        settings = preset_settings(data_dir.name)
    backend, rows = face_backend(settings.align), []
    for corpus in CORPORA:
        root = getattr(settings.raw, corpus)
        if root is None or not (data_dir / "lips" / corpus / "index.parquet").is_file():
            continue
        packs = {stage: CorpusPacks(data_dir / stage / corpus) for stage in STAGES}
        table = pd.read_parquet(data_dir / "ingest" / corpus / "clips.parquet").sort_values("clip")
        for record in table.to_dict("records"):
            clip = record["clip"]
            if clip not in packs["resample"]:
                continue
            truth = load_truth(truth_path(data_dir / "sample", corpus, record["video"]))
            frames = packs["resample"].read(clip, "frames.npy")
            x, y, w, h = (int(record[f"crop_{k}"]) for k in "xywh")
            crop = None if w < 0 else (x, y, w, h)
            row: dict[str, float | str] = {"clip": clip, "corpus": corpus}
            found, looked = detection_rate(
                Path(root) / record["video"], frames[::detect_every], crop, backend, settings.align.detect_px
            )
            row |= {"found": float(found), "looked": float(looked)}
            if all(clip in pack for pack in packs.values()):
                parts = ClipParts(
                    frames,
                    (0, 0) if crop is None else (x, y),
                    packs["align"].read(clip, "landmarks.npy"),
                    packs["align"].read(clip, "matrix.npy"),
                    packs["masks"].read(clip, "world_to_camera.npy"),
                    np.unpackbits(packs["masks"].read(clip, "mask.npy"), axis=-1).astype(bool),
                    packs["lips"].read(clip, "lip_box.npy"),
                )
                row |= against_truth(parts, truth, settings.lips.scale)
            rows.append(row)
    if not rows:
        raise FileNotFoundError(f"{data_dir}: no clips with truth: run the sample or tiny preset to lips first")
    return rows


def deep3d_errors(
    shared: Path, align: AlignSettings, seconds: float = 10.0, names: tuple[str, ...] = ()
) -> list[dict[str, float | str]]:
    """Our pose against Deep3DFaceRecon's, every frame of the first ``seconds``, for each clip that has coefficients (or
    those named).
    """
    from scipy.io import loadmat

    files = sorted((shared / "weights" / "deep3d_coeffs").glob("*.mat"))
    files = [file for file in files if not names or file.stem in names]
    if not files:
        raise FileNotFoundError(f"{shared}/weights/deep3d_coeffs: no *.mat with coefficients")
    backend, rows = face_backend(align), []
    recon = FittedReconstructor(preset_settings("mini").masks, backend.contour)
    for file in files:
        theirs = loadmat(str(file))["coeff"]
        path = shared / "corpora" / "HDTF" / "clips" / f"{file.stem}.mp4"
        frames = np.arange(min(len(theirs), round(seconds * probe(path).fps_hz)))
        aligned = align_track(
            track_faces(read_frames(path, frames), backend, align.detect_every, align.detect_px), align
        )
        found = recon.run(aligned.landmarks)
        pose = pose_difference(
            camera.pose_degrees(found.world_to_camera), np.degrees(theirs[frames, 224:227])[:, [1, 0, 2]]
        )
        row: dict[str, float | str] = {
            "clip": file.stem,
            "frames": float(len(frames)),
            "fit_px": float(np.median(found.error_px)),
        }
        for i, axis in enumerate(AXES):
            row |= {
                axis: float(pose["median"][i]),
                f"{axis}_correlation": float(pose["correlation"][i]),
                f"{axis}_gain": float(pose["gain"][i]),
                f"{axis}_constant": float(pose["constant"][i]),
            }
        rows.append(row)
    return rows


def table(rows: Iterable[dict[str, float | str]], columns: list[str]) -> str:
    """Rows as plain text, the mean of each column below (frames weigh nothing: a clip is a clip)."""
    rows = list(rows)
    means: dict[str, float | str] = {"clip": f"mean of {len(rows)}"}
    for column in columns:
        values = [float(row[column]) for row in rows if column in row]
        means[column] = float(np.mean(values)) if values else float("nan")
    width = max(len(str(row["clip"])) for row in [*rows, means])
    short = {"_correlation": " r", "_gain": " ×", "_constant": " +"}
    heads = [functools.reduce(lambda text, pair: text.replace(*pair), short.items(), column) for column in columns]
    lines = [" " * width + "".join(f"{head:>11}" for head in heads)]
    for row in [*rows, means]:
        cells = (f"{row[c]:11.3f}" if c in row else " " * 10 + "–" for c in columns)
        lines.append(f"{row['clip']:<{width}}" + "".join(cells))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """The command; see the module's description."""
    parser = argparse.ArgumentParser(
        prog="python -m s3dnerf.faces.ground_truth_errors", description="Errors of landmarks, pose, masks, lip boxes."
    )
    parser.add_argument(
        "--sample", type=Path, metavar="DATA", help="a finished preset with synthetic speakers, for example data/sample"
    )
    parser.add_argument(
        "--deep3d", type=Path, metavar="SHARED", help="folder with weights/deep3d_coeffs and corpora/HDTF/clips"
    )
    parser.add_argument("--detect-every", type=int, default=5, help="detection rate on every n-th frame (default 5)")
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    given = parser.parse_args(arguments)
    if given.sample is None and given.deep3d is None:
        parser.error("one of --sample and --deep3d is needed")
    results: dict[str, list[dict[str, float | str]]] = {}
    if given.sample is not None:
        rows = results["sample"] = sample_errors(given.sample, given.detect_every)
        found, looked = (sum(float(row[key]) for row in rows) for key in ("found", "looked"))
        print(
            "landmarks and lip box: px at 256; pose: median absolute degrees after removing one rotation of the head "
            "frame a clip"
        )
        print(table(rows, ["landmarks", *REGIONS, "centred", *AXES, "mask_iou", "lip_box"]))
        print(
            f"detector ({preset_settings(given.sample.name).align.backend}): one face in {found:.0f} of {looked:.0f} "
            "source frames "
            f"({100 * found / looked:.2f} %); clips that reached lips: {sum('landmarks' in row for row in rows)} of "
            f"{len(rows)}"
        )
    if given.deep3d is not None:
        rows = results["deep3d"] = deep3d_errors(given.deep3d, preset_settings("mini").align)
        print(
            "pose against Deep3DFaceRecon: median absolute degrees after removing a clip's constant;"
            " r: correlation; ×: our spread over theirs"
        )
        print(table(rows, [*AXES, *(f"{axis}_{what}" for what in ("correlation", "gain") for axis in AXES), "fit_px"]))
    if given.json is not None:
        write_atomic(given.json, (json.dumps(results, indent=1, sort_keys=True) + "\n").encode())


if __name__ == "__main__":
    main()
