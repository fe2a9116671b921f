"""What each step of a retraining does, in the order of :func:`flows.retrain.once.attempt`.

Each is a plain function of the plan and of what came before, so that it runs by itself or as a Prefect task. A step may
be tried again: none changes what anybody uses but the last, :func:`promote`.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from flows.champion import Champion, Registry
from flows.git_calls import git_text
from flows.mlflow_client import tracking_uri
from flows.retrain import worktree
from flows.retrain.judging import judge
from flows.retrain.outcome import KEPT, NOTHING_NEW, PROMOTED, Outcome
from s3dnerf.reporting.sources import network_file
from s3dnerf.settings.loading import load_settings
from s3dnerf.settings.schema import Settings
from s3dnerf.video.packs import file_sha256, write_atomic

REPRO_HOURS = 168.0  # a training of days is no fault
TRANSFER_HOURS = 12.0  # of dvc pull and dvc push


@dataclass(frozen=True)
class Plan:
    """What one retraining works with. ``hours``: the most that ``dvc repro`` may take."""

    repository: Path
    place: Path
    revision: str
    settings: Settings
    remote: bool
    hours: float

    def registry(self) -> Registry:
        """The registered models of the preset."""
        return Registry(self.settings.preset, tracking_uri(self.repository))

    def model(self) -> Path:
        """The folder of the generator that the report calls ours."""
        return network_file(self.place / self.settings.data_dir, self.settings.train.variants[0]).parent


@dataclass(frozen=True)
class Verdict:
    """What the comparison came to.

    Attributes
    ----------
    outcome : Outcome
        Its status and lines; after :func:`commit` also the report's commit and branch.
    how : str
        Against which version and with which margins it was judged; empty for a preset's first.
    champion : Champion or None
        The champion that it was compared with.
    files : dict
        File name → text of the comparison.
    """

    outcome: Outcome
    how: str = ""
    champion: Champion | None = None
    files: dict[str, str] = field(default_factory=dict)


def prepare(repository: Path, hours: float) -> Plan:
    """The worktree at the repository's HEAD and its settings. Raises GitError, SettingsError."""
    revision = git_text(repository, "rev-parse", "HEAD")
    place = worktree.worktree(repository, revision)
    settings = load_settings(place / "params.yaml")
    worktree.mend_rwlock(place)
    return Plan(repository, place, revision, settings, worktree.has_remote(place, repository), hours)


def pull(plan: Plan) -> None:
    """Fetch what the remote has. Raises RetrainError."""
    worktree.dvc(plan.place, plan.repository, *worktree.PULL, hours=TRANSFER_HOURS)


def repro(plan: Plan) -> None:
    """Reproduce the graph in the worktree. Raises RetrainError."""
    worktree.dvc(plan.place, plan.repository, "repro", hours=plan.hours)


def compare(plan: Plan, margins: Mapping[str, float]) -> Verdict:
    """Whether the worktree's generator is new and no worse than the champion. Raises MlflowError, ReportError."""
    preset, registry = plan.settings.preset, plan.registry()
    champion = registry.champion()
    if champion is None:
        return Verdict(Outcome(PROMOTED, preset, ["the first of its preset: nothing to compare with"]))
    generator = file_sha256(plan.model() / "generator.safetensors")
    if generator == champion.generator_sha256:
        lines = [f"the generator is the champion's, version {champion.version}, to the byte"]
        return Verdict(Outcome(NOTHING_NEW, preset, lines))
    how = f"against version {champion.version}, margins {json.dumps(dict(sorted(margins.items())))}"
    before = registry.kept_out(generator, how)
    if before is not None:
        lines = [f"the generator is that of version {before}, to the byte, which was kept out {how}"]
        return Verdict(Outcome(NOTHING_NEW, preset, lines))
    good, lines, files = judge(plan.place, plan.repository, plan.settings, champion, margins)
    return Verdict(Outcome(PROMOTED if good else KEPT, preset, lines), how, champion, files)


def commit(plan: Plan, verdict: Verdict) -> Verdict:
    """Commit ``dvc.lock``, the report and the comparison on a branch of its own. Raises GitError."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
    preset, place = plan.settings.preset, plan.place
    branch, folder = f"retrain/{preset}/{stamp}", Path("reports/retrain") / preset / stamp
    for name, text in (verdict.files | {"outcome.md": verdict.outcome.markdown()}).items():
        write_atomic(place / folder / name, text.encode())
    git_text(place, "add", "--force", "dvc.lock", f"reports/{preset}", str(folder))
    who = ["-c", "user.name=s3dnerf retrain", "-c", "user.email=retrain@localhost"]
    message = f"Retrained {preset}: report of {stamp}"
    git_text(place, *who, "commit", "--quiet", "--allow-empty", "-m", message)
    revision = git_text(place, "rev-parse", "HEAD")
    git_text(place, "branch", branch, revision)
    return replace(verdict, outcome=replace(verdict.outcome, commit=revision, branch=branch))


def push(plan: Plan) -> None:
    """Send data to the remote. Raises RetrainError."""
    worktree.dvc(plan.place, plan.repository, "push", hours=TRANSFER_HOURS)


def promote(plan: Plan, verdict: Verdict) -> Outcome:
    """Register the generator as a version and, where it is no worse, make it the champion: the last act of all.

    Raises MlflowError where it did not become it, PromotionUnclear where nobody can say.
    """
    registry, outcome, good = plan.registry(), verdict.outcome, verdict.outcome.status == PROMOTED
    described = f"{outcome.status}: {outcome.lines[0]}"
    version = registry.register(plan.model(), outcome.commit, described, "" if good else verdict.how, plan.place)
    if good:
        registry.promote(version)
        line = f"version {version.version} is the champion now"
    else:
        assert verdict.champion is not None
        stays = verdict.champion.version
        line = f"version {stays} stays the champion; this one is registered as version {version.version}"
    return replace(outcome, lines=[*outcome.lines, line])
