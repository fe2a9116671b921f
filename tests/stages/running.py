"""Running stages in a test, without flows: settings for raw folders, one stage after another, tables back."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pandas as pd

from s3dnerf.settings.loading import settings_from
from s3dnerf.settings.schema import Settings
from stages.context import Context


def settings_for(
    ingest: dict[str, Any] | None = None, resample: dict[str, Any] | None = None, **raw: str | Path | None
) -> Settings:
    """Settings (preset ``tiny``'s name) whose raw folders are those given; the others are not used."""
    folders = {
        corpus: None if raw.get(corpus) is None else str(raw[corpus])
        for corpus in ("hdtf", "lrs2", "mead", "portraits")
    }
    defaults = {"max_failed_fraction": 1.0, "hdtf_test_fraction": 0.0}
    return settings_from(
        {"preset": "tiny", "raw": folders, "ingest": {**defaults, **(ingest or {})}, "resample": resample or {}}
    )


def run(settings: Settings, *stages: str) -> dict[str, Any]:
    """Run stages in the working directory; the summary of the last."""
    summary: dict[str, Any] = {}
    for name in stages:
        summary = importlib.import_module(f"stages.{name}").main(Context(settings=settings, stage=name))
    return summary


def table(settings: Settings, *parts: str) -> pd.DataFrame:
    """``data/<preset>/<parts>.parquet``"""
    return pd.read_parquet(settings.data_dir.joinpath(*parts).with_suffix(".parquet"))


def reasons(settings: Settings, corpus: str) -> dict[str, str]:
    """Clip → reason, over ingest's exclusions and resample's quarantine."""
    found = table(settings, "ingest", corpus, "excluded")
    path = settings.data_dir / "resample" / corpus / "quarantine.parquet"
    both = pd.concat([found, pd.read_parquet(path)]) if path.is_file() else found
    return dict(zip(both["clip"], both["reason"]))
