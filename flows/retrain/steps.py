"""What each step of a retraining does, in the order of :func:`flows.retrain.once.attempt`.

Each is a plain function of the plan and of what came before, so that it runs by itself or as a Prefect task. A step may
be tried again: none changes what anybody uses but the last, :func:`promote`.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from flows.audit import folder_report, report_at
from flows.champion import Champion, History
from flows.git_calls import git_text
from flows.retrain import worktree
from flows.retrain.branches import branch_to_train, push_branch
from flows.retrain.judging import judge
from flows.retrain.outcome import KEPT, NOTHING_NEW, PROMOTED, Outcome
from flows.retrain.plan import Options, Plan
from flows.retrain.references import fixed_reference, promoted_references
from s3dnerf.reporting.report_files import Report
from s3dnerf.settings.loading import load_settings
from s3dnerf.video.packs import file_sha256, write_atomic

TRANSFER_HOURS = 12.0  # of dvc pull, dvc push and the first checkout


@dataclass(frozen=True)
class Verdict:
    """What the comparison came to.

    Attributes
    ----------
    outcome : Outcome
        Its status and lines; after :func:`commit` also the report's commit and branch.
    how : str
        Against which versions, with which margins and by which metrics it was judged; empty for a preset's first.
    champion : Champion or None
        The champion until now.
    best : dict
        "corpus/metric" → the promoted version that is still better than this one.
    files : dict
        File name → bytes of the comparisons.
    """

    outcome: Outcome
    how: str = ""
    champion: Champion | None = None
    best: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def prepare(repository: Path, options: Options) -> Plan:
    """The worktree at the commit of the branch that is trained, and its settings. Raises GitError, SettingsError where
    there is no such branch, ReportError where there is no such fixed reference, RetrainError.
    """
    branch, revision = branch_to_train(repository, options.branch)
    place = worktree.worktree(repository, revision)
    settings = load_settings(place / "params.yaml")
    if options.reference:  # not after days of training
        report_at(options.reference, settings.preset, repository)
    worktree.mend_rwlock(place)
    worktree.share_cache(place, repository)
    remote = worktree.has_remote(place, repository)
    return Plan(repository, place, branch, revision, settings, remote, options)


def pull(plan: Plan) -> None:
    """Fetch what the remote has. Raises RetrainError."""
    worktree.dvc(plan.place, plan.repository, *worktree.PULL, hours=TRANSFER_HOURS)


def repro(plan: Plan) -> None:
    """Reproduce the graph in the worktree, from what the main checkout has where it is new. Raises RetrainError."""
    worktree.seed(plan.place, plan.repository, hours=TRANSFER_HOURS)
    worktree.dvc(plan.place, plan.repository, "repro", hours=plan.options.hours)


def judged_how(plan: Plan, new: Report, history: History, current: Champion | None) -> str:
    """In words, all that a judgement depends on beside the generator; empty where there is nothing to compare with."""
    margins, reference = plan.options.margins, plan.options.reference
    best = sorted({*([current.version] if current else ()), *(history.best or {}).values()}, key=int)
    against = [f"version {', '.join(best)}"] if best else []
    against += [f"the fixed reference {reference}"] if reference else []
    if not against:
        return ""
    metrics = ", ".join(new.versions.get(metric, f"no {metric}") for metric in sorted(margins))
    said = f"against {' and '.join(against)}, margins {json.dumps(dict(sorted(margins.items())))}, metrics {metrics}"
    return said + (", measured again" if plan.options.rescore else "")


def compare(plan: Plan) -> Verdict:
    """Whether the worktree's generator is new and no worse than the best ever promoted (:mod:`flows.retrain.judging`).

    Raises MlflowError, ReportError, RetrainError where an earlier generator could not be measured again.
    """
    preset, registry = plan.settings.preset, plan.registry()
    champion = registry.champion()
    history = registry.history(champion)
    generator = file_sha256(plan.model() / "generator.safetensors")
    if champion is not None and generator == champion.generator_sha256:
        lines = [f"the generator is the champion's, version {champion.version}, to the byte"]
        return Verdict(Outcome(NOTHING_NEW, preset, lines))
    new = folder_report(plan.place / "reports" / preset, plan.place)
    new.name = "the challenger"
    current = champion or (history.versions[-1] if history.versions else None)
    how = judged_how(plan, new, history, current)
    if not how:
        return Verdict(Outcome(PROMOTED, preset, ["the first of its preset: nothing to compare with"]))
    before = registry.kept_out(generator, how)
    if before is not None:
        lines = [f"the generator is that of version {before}, to the byte, which was kept out {how}"]
        return Verdict(Outcome(NOTHING_NEW, preset, lines))
    references, lines = promoted_references(plan, new, history, current) if current else ([], [])
    fixed, more = fixed_reference(plan, new)
    found = judge(new, references, fixed, plan.options.margins)
    said = [found.lines[0], *lines, *more, *found.lines[1:]]
    best = {key: version for key, version in (history.best or {}).items() if key not in found.judged} | found.best
    return Verdict(Outcome(PROMOTED if found.good else KEPT, preset, said), how, champion, best, found.files)


def commit(plan: Plan, verdict: Verdict) -> Verdict:
    """Commit ``dvc.lock``, the report and the comparison on a branch of its own. Raises GitError."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
    preset, place = plan.settings.preset, plan.place
    branch, folder = f"retrain/{preset}/{stamp}", Path("reports/retrain") / preset / stamp
    for name, data in (verdict.files | {"outcome.md": verdict.outcome.markdown().encode()}).items():
        write_atomic(place / folder / name, data)
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


def publish(plan: Plan, verdict: Verdict) -> Verdict:
    """Push the night's branch to the git remote, where one is configured; a line says so, or why it is not there.

    What cannot be pushed is promoted all the same: the record is whole in this repository, and the champion does not
    depend on who else has it.
    """
    line = push_branch(plan.repository, verdict.outcome.branch, plan.branch)
    lines = [*verdict.outcome.lines, *([line] if line else [])]
    return replace(verdict, outcome=replace(verdict.outcome, lines=lines))


def promote(plan: Plan, verdict: Verdict) -> Outcome:
    """Register the generator as a version and, where it is no worse, make it the champion: the last act of all.

    Raises MlflowError where it did not become it, PromotionUnclear where nobody can say.
    """
    registry, outcome, good = plan.registry(), verdict.outcome, verdict.outcome.status == PROMOTED
    described = f"{outcome.status}: {outcome.lines[0]}"
    version = registry.register(plan.model(), outcome.commit, described, "" if good else verdict.how, plan.place)
    if good:
        registry.promote(version, verdict.champion, verdict.best)
        line = f"version {version.version} is the champion now"
    else:
        stays = f"version {verdict.champion.version} stays the champion" if verdict.champion else "there is no champion"
        line = f"{stays}; this one is registered as version {version.version}"
    return replace(outcome, lines=[*outcome.lines, line])
