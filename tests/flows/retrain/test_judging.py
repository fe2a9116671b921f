"""Whether a challenger is no worse, and the margins it is judged by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flows.retrain.judging import MARGINS, margins_of, no_worse
from flows.retrain.once import retrain_once
from s3dnerf.core.errors import SettingsError
from s3dnerf.reporting.comparison import compare
from tests.flows.retrain.played import DIRECTIONS
from tests.reporting.small_report import make_report, rows_of


def test_no_worse_means_the_bad_end_of_the_interval() -> None:
    def judged(noise: float, by: float) -> bool:
        def change(method: str, metric: str, random: np.random.Generator) -> float:
            return by + noise * random.standard_normal() if (method, metric) == ("s3dnerf", "m_lmd") else 0.0

        found = compare(make_report("a", rows_of()), make_report("b", rows_of(change=change)))
        return no_worse(found, "s3dnerf", {"m_lmd": 0.05}, DIRECTIONS)[0]

    assert judged(0.0, 0.0) and judged(0.01, -0.1) and judged(0.0, 0.06)  # 5 % of 1.4 px is 0.07
    assert not judged(0.0, 0.08) and not judged(0.5, 0.0)  # worse; and too noisy to say
    rows = [r for r in rows_of() if r["metric"] != "m_lmd"]
    found = compare(make_report("a", rows), make_report("b", rows))
    assert no_worse(found, "s3dnerf", {"m_lmd": 0.05}, DIRECTIONS) == (
        False,
        ["m_lmd: not measured on a clip that both have: NOT shown to be no worse"],
    )


def test_margins_from_the_command_line() -> None:
    assert margins_of(()) is None and margins_of(("m_lmd=0.1", "ssim=0")) == {"m_lmd": 0.1, "ssim": 0.0}
    for wrong in ("m_lmd", "m_lmd=x", "m_lmd=-1"):
        with pytest.raises(SettingsError, match="accepted"):
            margins_of((wrong,))
    with pytest.raises(SettingsError, match="accepted: metrics"):
        retrain_once(Path("."), {"beauty": 0.1})
    assert np.isfinite(list(MARGINS.values())).all()
