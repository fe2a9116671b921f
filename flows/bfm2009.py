"""Basel Face Model 2009 and its companions, as their owners give them → ``BFM_model_front.mat``, which
``masks.backend: deep3d`` reads.

Reads from one folder (n vertices of the Basel model, m of them with expressions, f of those in the front face):

- ``01_MorphableModel.mat`` (University of Basel): ``shapeMU`` (3n, 1), µm; ``shapePC`` (3n, k), orthonormal columns;
  ``shapeEV`` (k, 1), their standard deviations; ``texMU``, ``texPC``, ``texEV`` alike, 0–255; x y z of a vertex lie one
  after the other;
- ``Exp_Pca.bin`` (Guo et al., 3DFace): little-endian int32 e, float32 3m (a mean, not used), float32 e × 3m;
  ``std_exp.txt``: e standard deviations;
- ``BFM_exp_idx.mat``: ``trimIndex`` (m), ``BFM_front_idx.mat``: ``idx`` (f), both from 1: which of n, which of m;
- ``facemodel_info.mat``: ``tri`` (t, 3) and ``keypoints`` (1, 68) from 1, of the f vertices, and what else it says of
  them; ``similarity_Lm3D_all.mat``: ``lm`` (68, 3). These four come with Deep3DFaceRecon_pytorch.

Writes ``BFM_model_front.mat`` with ``meanshape`` (1, 3f) and ``idBase`` (3f, 80), ``exBase`` (3f, 64) in units of
10 cm, ``meantex`` (1, 3f), ``texBase`` (3f, 80), float32, a basis column times its standard deviation; beside it
``similarity_Lm3D_all.mat``. Equal inputs give equal bytes. ``s3dnerf fetch deep3d --from FOLDER`` calls this.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from s3dnerf.core.weight_files import WeightFileError
from s3dnerf.core.whole_files import taking_the_place_of
from s3dnerf.faces.recon.morphable import EXP, ID, STANDARD_POINTS, TEX, read_mat

MODEL, EXPRESSION, DEVIATIONS = "01_MorphableModel.mat", "Exp_Pca.bin", "std_exp.txt"
WITH_EXPRESSION, FRONT, INFO = "BFM_exp_idx.mat", "BFM_front_idx.mat", "facemodel_info.mat"
FROM_BASEL, FROM_GUO = "University of Basel, on request", "github.com/Juyong/3DFace"
FROM_DEEP3D = "github.com/sicxu/Deep3DFaceRecon_pytorch, folder BFM"
SOURCES = {
    MODEL: FROM_BASEL,
    EXPRESSION: FROM_GUO,
    DEVIATIONS: FROM_DEEP3D,
    WITH_EXPRESSION: FROM_DEEP3D,
    FRONT: FROM_DEEP3D,
    INFO: FROM_DEEP3D,
    STANDARD_POINTS: FROM_DEEP3D,
}
MICROMETRES = 1e5  # in 10 cm
ALSO = ("point_buf", "tri_mask2", "frontmask2_idx", "skinmask")  # of facemodel_info.mat, kept for other readers
HEADER = b"MATLAB 5.0 MAT-file, Basel Face Model 2009 converted by s3dnerf fetch deep3d".ljust(116)


def _arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """All arrays of a MATLAB file; those named must be in it and hold numbers."""
    try:
        found = read_mat(path)
    except ValueError as error:
        raise WeightFileError(str(error)) from error
    for name in names:
        kind = found[name].dtype if name in found else "nothing"
        if name not in found or found[name].dtype.kind not in "iuf":
            raise WeightFileError(f"{path}: {name}: got {kind}, expected an array of numbers")
    return found


def _indices(path: Path, name: str, values: np.ndarray, count: int) -> np.ndarray:
    """Vertices from 1 → int64 from 0, all of them below ``count``."""
    whole = values.astype(np.int64)
    if not whole.size or whole.min() < 1 or whole.max() > count:
        span = f"{whole.min()} … {whole.max()}" if whole.size else "none"
        raise WeightFileError(f"{path}: {name}: got vertices {span}, expected some of 1 … {count}")
    return whole - 1


def _basis(path: Path, names: str, basis: np.ndarray, deviation: np.ndarray, width: int) -> np.ndarray:
    """Basis (3n, k) times the k standard deviations, the first ``width`` columns: float32 (n, 3, width)."""
    if basis.ndim != 2 or basis.shape[0] % 3 or basis.shape[1] < width or deviation.size != basis.shape[1]:
        raise WeightFileError(
            f"{path}: {names}: got shapes {basis.shape} and {deviation.shape}, expected (3n, k) and k with k at least "
            f"{width}"
        )
    scaled = basis[:, :width] * deviation.ravel()[:width].astype(np.float64)
    if not np.isfinite(scaled).all():
        raise WeightFileError(f"{path}: {names}: got numbers that are not finite, expected finite ones")
    return scaled.astype(np.float32).reshape(-1, 3, width)


def _part_of_model(path: Path, kind: str, width: int) -> tuple[np.ndarray, np.ndarray]:
    """``shape`` or ``tex``: mean float64 (n, 3) and basis float32 (n, 3, width)."""
    names = f"{kind}MU", f"{kind}PC", f"{kind}EV"
    found = _arrays(path, *names)
    mean, components, deviation = (found[name] for name in names)
    basis = _basis(path, f"{kind}PC, {kind}EV", components, deviation, width)
    if mean.size != 3 * len(basis):
        raise WeightFileError(f"{path}: {kind}MU: got {mean.size} numbers, expected {3 * len(basis)} as in {kind}PC")
    return mean.astype(np.float64).reshape(-1, 3), basis


def _expressions(folder: Path) -> np.ndarray:
    """float32 (m, 3, 64), µm."""
    path = folder / EXPRESSION
    data = path.read_bytes()
    modes = int(np.frombuffer(data, "<i4", 1)[0]) if len(data) >= 4 else 0
    if modes < EXP or len(data) % 4 or (len(data) // 4 - 1) % (3 * (modes + 1)):
        raise WeightFileError(
            f"{path}: got {len(data)} bytes with the number {modes} first, expected e of at least {EXP}, then 3m "
            "floats of a mean and e · 3m of a basis"
        )
    numbers = np.frombuffer(data, "<f4", offset=4).reshape(modes + 1, -1)
    try:
        deviation = np.loadtxt(folder / DEVIATIONS, ndmin=1)
    except ValueError as error:
        raise WeightFileError(f"{folder / DEVIATIONS}: expected {modes} numbers: {error}") from error
    return _basis(path, f"basis and {DEVIATIONS}", numbers[1:].T, deviation, EXP)


def front_model(folder: str | Path) -> dict[str, np.ndarray]:
    """The arrays of ``BFM_model_front.mat`` out of the owners' files, as this module's head describes both.

    Raises
    ------
    WeightFileError
        Files are missing (all of them are named, with who gives them), an array is missing, of another shape, or names
        vertices that there are not.
    """
    folder = Path(folder)
    if missing := [name for name in SOURCES if not (folder / name).is_file()]:
        listed = "; ".join(f"{name} ({SOURCES[name]})" for name in missing)
        got = f"{len(SOURCES) - len(missing)} of {len(SOURCES)} files"
        raise WeightFileError(f"{folder}: got {got}, expected also {listed}")
    points = _arrays(folder / STANDARD_POINTS, "lm")["lm"]
    if points.shape != (68, 3):
        raise WeightFileError(f"{folder / STANDARD_POINTS}: lm: got shape {points.shape}, expected (68, 3)")
    with_expression = _arrays(folder / WITH_EXPRESSION, "trimIndex")["trimIndex"].ravel()
    front = _arrays(folder / FRONT, "idx")["idx"].ravel()
    info = _arrays(folder / INFO, "tri", "keypoints")
    triangles, keypoints = info["tri"], info["keypoints"]
    if keypoints.size != 68 or triangles.ndim != 2 or triangles.shape[1] != 3:
        shapes = f"{keypoints.shape} and {triangles.shape}"
        raise WeightFileError(f"{folder / INFO}: keypoints, tri: got shapes {shapes}, expected (1, 68) and (t, 3)")
    mean, identity = _part_of_model(folder / MODEL, "shape", ID)
    mean_tex, texture = _part_of_model(folder / MODEL, "tex", TEX)
    if len(mean_tex) != len(mean):
        raise WeightFileError(f"{folder / MODEL}: texMU: got {len(mean_tex)} vertices, expected {len(mean)} of shapeMU")
    expression = _expressions(folder)
    if with_expression.size != len(expression):
        raise WeightFileError(
            f"{folder / WITH_EXPRESSION}: trimIndex: got {with_expression.size} vertices, expected {len(expression)} "
            f"as in {EXPRESSION}"
        )
    of_expression = _indices(folder / FRONT, "idx", front, len(expression))
    of_model = _indices(folder / WITH_EXPRESSION, "trimIndex", with_expression, len(mean))[of_expression]
    for name, values in (("tri", triangles), ("keypoints", keypoints)):
        _indices(folder / INFO, name, values, len(of_model))
    return {
        "meanshape": (mean[of_model] / MICROMETRES).reshape(1, -1).astype(np.float32),
        "meantex": mean_tex[of_model].reshape(1, -1).astype(np.float32),
        "idBase": identity[of_model].reshape(-1, ID) / np.float32(MICROMETRES),
        "exBase": expression[of_expression].reshape(-1, EXP) / np.float32(MICROMETRES),
        "texBase": texture[of_model].reshape(-1, TEX),
        "tri": triangles,
        "keypoints": keypoints,
        **{name: info[name] for name in ALSO if name in info},
    }


def _refuse_another(path: Path, content: bytes) -> None:
    """Raises WeightFileError where ``path`` is a file that holds something else."""
    if path.is_file() and path.read_bytes() != content:
        raise WeightFileError(f"{path}: got another file there, expected none or the one to be written: move it away")


def convert(folder: str | Path, model: str | Path) -> list[Path]:
    """Write ``model`` (``BFM_model_front.mat``) and, beside it, the standard points; both files.

    Raises WeightFileError as :func:`front_model`, and where other files are in their places; OSError where they cannot
    be written.
    """
    from scipy.io import savemat

    arrays, buffer = front_model(folder), io.BytesIO()
    savemat(buffer, arrays)
    buffer.getbuffer()[: len(HEADER)] = HEADER  # scipy writes the time there
    model = Path(model)
    points = (Path(folder) / STANDARD_POINTS).read_bytes()
    contents = {model: buffer.getvalue(), model.with_name(STANDARD_POINTS): points}
    for path, content in contents.items():
        _refuse_another(path, content)
    for path, content in contents.items():
        with taking_the_place_of(path) as part:
            part.write_bytes(content)
    return list(contents)
