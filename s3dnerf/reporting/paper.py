"""The paper's own numbers (tables 1 to 3 of S³D-NeRF), as columns beside ours: quoted, never measured here.

The full model on HDTF has SSIM 0.819 in table 1 and 0.829 in table 3, all else equal: both are quoted. The paper's
appendix and its user study were not available.
"""

from __future__ import annotations

METRICS = ("ssim", "lpips", "f_lmd", "m_lmd", "cpbd", "lse_c")  # the paper's "Sync" is SyncNet's confidence, LSE-C
# fmt: off

_TABLE_1 = {
    "hdtf": {
        "GT": (1, 0, 0, 0, 0.284, 8.144), "Wav2Lip": (0.749, 0.332, 3.582, 3.652, 0.195, 8.365),
        "MakeItTalk": (0.559, 0.422, 6.846, 6.152, 0.139, 4.813), "PC-AVS": (0.582, 0.411, 3.925, 3.912, 0.206, 5.096),
        "StyleTalk": (0.776, 0.289, 3.623, 3.273, 0.234, 6.188), "SadTalker": (0.678, 0.386, 4.621, 3.654, 0.192,
        6.473),
        "S³D-NeRF": (0.819, 0.258, 2.799, 2.929, 0.263, 6.514),
    },
    "mead": {
        "GT": (1, 0, 0, 0, 0.176, 7.702), "Wav2Lip": (0.829, 0.212, 2.126, 3.377, 0.101, 7.713),
        "MakeItTalk": (0.626, 0.367, 6.081, 6.790, 0.065, 5.143), "PC-AVS": (0.673, 0.359, 8.372, 5.192, 0.068, 5.466),
        "StyleTalk": (0.850, 0.199, 2.622, 3.061, 0.145, 6.057), "SadTalker": (0.755, 0.223, 3.835, 3.631, 0.081,
        5.707),
        "S³D-NeRF": (0.845, 0.161, 2.014, 2.921, 0.152, 6.768),
    },
}
_TABLE_2 = {
    "GT": (1, 0, 0, 0, 0.278, 8.970), "GeneFace": (0.828, 0.098, 1.898, 2.436, 0.207, 5.366),
    "AD-NeRF": (0.846, 0.087, 1.715, 1.982, 0.220, 5.626), "ER-NeRF": (0.884, 0.068, 1.158, 1.659, 0.239, 6.781),
    "S³D-NeRF": (0.852, 0.104, 2.019, 1.493, 0.244, 7.118),
}
SPEED_2 = {  # method → (FPS, fit time in hours)
    "GeneFace": ("0.13", "42"), "AD-NeRF": ("0.13", "36"), "ER-NeRF": ("29", "4.5"), "S³D-NeRF": ("9.5", "< 0.01"),
}
_TABLE_3 = {
    "naive": (0.744, 0.278, 3.475, 3.507, 0.165, 5.201), "feature_concat": (0.834, 0.242, 2.855, 3.196, 0.246, 6.106),
    "no_deform": (0.556, 0.457, None, None, 0.140, 0.240), "no_sync": (0.801, 0.263, 3.276, 3.342, 0.255, 5.649),
    "full": (0.829, 0.258, 2.799, 2.929, 0.263, 6.514),
}
# fmt: on
VARIANT_TITLES = {
    "full": "S³D-NeRF (full)",
    "naive": "Naive deformation (ND)",
    "feature_concat": "Feature concatenation (FCD)",
    "no_deform": "Without deformation",
    "no_sync": "Without lip-sync loss",
}
# folder names under which people keep other methods' videos → the paper's name
ALIASES = {
    "wav2lip": "Wav2Lip",
    "makeittalk": "MakeItTalk",
    "pcavs": "PC-AVS",
    "pc-avs": "PC-AVS",
    "pc_avs": "PC-AVS",
    "styletalk": "StyleTalk",
    "sadtalker": "SadTalker",
    "geneface": "GeneFace",
    "adnerf": "AD-NeRF",
    "ad-nerf": "AD-NeRF",
    "ad_nerf": "AD-NeRF",
    "ernerf": "ER-NeRF",
    "er-nerf": "ER-NeRF",
    "er_nerf": "ER-NeRF",
    "iplap": "IP-LAP",
    "diffdub": "DiffDub",
}


def _named(row: tuple[float | None, ...]) -> dict[str, float | None]:
    return dict(zip(METRICS, row))


def table_1(corpus: str) -> dict[str, dict[str, float | None]]:
    """Method → metric → the paper's value, for ``hdtf`` or ``mead``; empty for a corpus the paper has not measured."""
    return {method: _named(row) for method, row in _TABLE_1.get(corpus, {}).items()}


def table_2() -> dict[str, dict[str, float | None]]:
    """Method → metric → the paper's value, on the videos of AD-NeRF and GeneFace."""
    return {method: _named(row) for method, row in _TABLE_2.items()}


def table_3() -> dict[str, dict[str, float | None]]:
    """Variant → metric → the paper's value, HDTF. None where the paper prints N/A."""
    return {variant: _named(row) for variant, row in _TABLE_3.items()}


def paper_name(method: str) -> str:
    """The paper's name of a method's folder, or the folder's name."""
    return ALIASES.get(method.lower(), method)
