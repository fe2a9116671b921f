"""Files of the layout that the owners of the Basel Face Model 2009 and of its companions give, with random values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat


def owners_files(
    folder: Path, vertices: int = 50, with_expression: int = 40, front: int = 30, modes: int = 85, expressions: int = 70
) -> dict[str, Any]:
    """Write the seven files into ``folder``; their arrays by name, those of ``Exp_Pca.bin`` as ``exp_basis``."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(9)

    def floats(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32)

    def choice(many: int, among: int) -> np.ndarray:
        return (random.permutation(among)[:many] + 1)[:, None].astype(np.uint16)

    held: dict[str, Any] = {
        "shapeMU": floats(3 * vertices, 1) * 1e5,
        "shapePC": floats(3 * vertices, modes),
        "shapeEV": np.abs(floats(modes, 1)) * 1e5,
        "texMU": np.abs(floats(3 * vertices, 1)) * 50,
        "texPC": floats(3 * vertices, modes),
        "texEV": np.abs(floats(modes, 1)) * 10,
    }
    savemat(folder / "01_MorphableModel.mat", held | {"tl": np.ones((9, 3))})
    held["exp_basis"] = floats(expressions, 3 * with_expression)
    head = np.array([expressions], "<i4").tobytes() + floats(3 * with_expression).tobytes()
    (folder / "Exp_Pca.bin").write_bytes(head + held["exp_basis"].tobytes())
    held["std_exp"] = np.abs(floats(expressions)) * 1e5
    np.savetxt(folder / "std_exp.txt", held["std_exp"][None])
    held["trimIndex"] = choice(with_expression, vertices)
    savemat(folder / "BFM_exp_idx.mat", {"trimIndex": held["trimIndex"]})
    held["idx"] = choice(front, with_expression)
    savemat(folder / "BFM_front_idx.mat", {"idx": held["idx"]})
    held["tri"] = random.integers(1, front + 1, (front, 3)).astype(np.uint16)
    held["keypoints"] = random.integers(1, front + 1, (1, 68)).astype(np.uint16)
    info = {"tri": held["tri"], "keypoints": held["keypoints"], "skinmask": np.ones((1, front), np.uint8)}
    savemat(folder / "facemodel_info.mat", info)
    held["lm"] = random.standard_normal((68, 3))
    savemat(folder / "similarity_Lm3D_all.mat", {"lm": held["lm"]})
    return held
