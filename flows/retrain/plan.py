"""What one retraining was asked for, and what it works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flows.champion import Registry
from flows.mlflow_client import tracking_uri
from flows.retrain.judging import MARGINS
from s3dnerf.reporting.sources import network_file
from s3dnerf.settings.schema import Settings

REPRO_HOURS = 168.0  # a training of days is no fault
REFERENCE = "S3DNERF_RETRAIN_REFERENCE"  # environment: the fixed reference report where none is given


@dataclass(frozen=True)
class Options:
    """What was asked for.

    Attributes
    ----------
    margins : dict
        Metric → share of the better value by which it may be worse. The metrics that it names are those that gate.
    hours : float
        The most that ``dvc repro`` may take, and each measuring of an earlier generator.
    branch : str
        The branch that is trained; empty: see :func:`flows.retrain.branches.branch_to_train`.
    reference : str
        A report that gates beside the promoted versions: a folder or a git revision; empty: none.
    rescore : bool
        Measure the promoted versions again whatever their reports say.
    """

    margins: Mapping[str, float] = field(default_factory=lambda: MARGINS)
    hours: float = REPRO_HOURS
    branch: str = ""
    reference: str = ""
    rescore: bool = False


@dataclass(frozen=True)
class Plan:
    """What one retraining works with.

    Attributes
    ----------
    place : Path
        The worktree.
    branch, revision : str
        What is trained: a branch and its commit.
    remote : bool
        Whether a DVC remote is configured.
    """

    repository: Path
    place: Path
    branch: str
    revision: str
    settings: Settings
    remote: bool
    options: Options = Options()

    def registry(self) -> Registry:
        """The registered models of the preset."""
        return Registry(self.settings.preset, tracking_uri(self.repository))

    @property
    def variant(self) -> str:
        """The variant that the report calls ours."""
        variants = self.settings.train.variants
        return "full" if "full" in variants else variants[0]

    def model(self) -> Path:
        """The folder of the generator that the report calls ours."""
        return network_file(self.place / self.settings.data_dir, self.variant).parent
