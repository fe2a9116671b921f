"""Retraining while nobody looks: fetch, reproduce in a worktree, report, compare with the champion, promote only what
is no worse.

    s3dnerf retrain                          # once, now
    s3dnerf retrain --cron "0 2 * * *"       # serve it as a Prefect deployment, every night at two
    prefect deploy --all                     # or as prefect.yaml has it, on a work pool

Reads the repository's HEAD, the raw folders that its ``params.yaml`` names and, where one is configured, the DVC
remote; writes a branch ``retrain/<preset>/<time>`` with ``dvc.lock``, the report and the comparison, and MLflow's
registry. The working copy is never touched: work goes on in ``.worktrees/retrain``, which stays for the next run, so
that only what is new is made. Never two at once: a file lock, which the system lets go of when its holder dies. A
failure at any point leaves the champion as it was: setting the alias is the last act. The Prefect flow stands in
``flows/deployment.py``.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from flows.audit import folder_report, report_at
from flows.champion import Champion, PromotionUnclear, Registry
from flows.mlflow_client import MlflowError, tracking_uri
from s3dnerf.core.errors import S3DNeRFError, SettingsError
from s3dnerf.core.processes import die_with_parent
from s3dnerf.reporting.audit import ReportError
from s3dnerf.reporting.comparison import Comparison, NotComparable, compare, markdown, page
from s3dnerf.reporting.sources import network_file
from s3dnerf.settings.loading import load_settings
from s3dnerf.settings.schema import CORPORA, Settings
from s3dnerf.video.packs import file_sha256, write_atomic

PLACE, LOCK = Path(".worktrees/retrain"), Path(".locks/retrain.lock")
# what must not get worse, and by which share of the champion's value it may at most be worse (the interval's bad end)
MARGINS = {"m_lmd": 0.05, "f_lmd": 0.05, "ssim": 0.02}
MOST_LOST = (
    0.1  # share of a corpus's test clips that may be missing beside the champion's: lost clips may be the hard ones
)
PROMOTED, KEPT, NOTHING_NEW, FAILED, BUSY = "promoted", "kept", "nothing new", "failed", "busy"
PULL = (
    "pull",
    "--allow-missing",
    "--run-cache",
    "--force",
)  # force: what a failed run left in the worktree is nobody's
WEBHOOK_TIMEOUT_S = 10
# the flow's own process, not its stages'
LOGGED = {
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_LOGGING_TO_API_ENABLED": "true",
}


class RetrainError(S3DNeRFError, RuntimeError):
    """Retraining cannot go on; the message says at what and what to do. The champion is as it was."""


@dataclass
class Outcome:
    """How a run ended: ``status``, what it says to people, the report's commit and branch (empty where there is
    none).
    """

    status: str
    preset: str
    lines: list[str] = field(default_factory=list)
    commit: str = ""
    branch: str = ""

    def markdown(self) -> str:
        """For Prefect's artifact and the branch."""
        where = [f"Report: commit `{self.commit}` on `{self.branch}`"] if self.commit else []
        head = f"# Retraining of {self.preset or 'the repository'}: {self.status}"
        return "\n".join([head, "", *(f"- {line}" for line in [*self.lines, *where])]) + "\n"


def git(folder: Path, *words: str) -> str:
    """A git command; its output. Raises RetrainError with what git said."""
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
    if done.returncode:
        raise RetrainError(f"git {' '.join(words[:2])}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout.strip()


@contextmanager
def alone(repository: Path) -> Iterator[None]:
    """Hold the one lock of retraining. Raises Timeout at once when another run holds it."""
    (repository / LOCK).parent.mkdir(parents=True, exist_ok=True)
    with FileLock(repository / LOCK, timeout=0):
        yield


def worktree(repository: Path, revision: str) -> Path:
    """A clean checkout of ``revision`` beside the working copy; what earlier runs made and git ignores stays in it."""
    place = repository / PLACE
    git(repository, "worktree", "prune")
    if place.is_dir() and (place / ".git").is_file():
        git(place, "checkout", "--quiet", "--force", "--detach", revision)
        git(place, "clean", "--quiet", "--force", "-d")
    else:
        git(repository, "worktree", "add", "--quiet", "--force", "--detach", str(PLACE), revision)
    local = repository / ".dvc" / "config.local"  # a remote's credentials
    if local.is_file():
        write_atomic(place / ".dvc" / "config.local", local.read_bytes())
    return place


def link_raw(repository: Path, place: Path, settings: Settings) -> None:
    """The raw folders that the settings name relative to the repository, seen from the worktree."""
    for corpus in CORPORA:
        named = getattr(settings.raw, corpus)
        if not named or Path(named).is_absolute() or Path(named).parts[0] == "data":
            continue  # the synthetic corpora are made in the worktree itself
        source, link = repository / named, place / named
        if source.exists() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(source.resolve(), target_is_directory=True)


def environment(repository: Path) -> dict[str, str]:
    """The environment of the worktree's commands: this Python first, MLflow's store the repository's own, stages silent
    to Prefect.
    """
    ours = {name: value for name, value in os.environ.items() if name not in LOGGED}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return ours | {"PATH": path, "MLFLOW_TRACKING_URI": tracking_uri(repository)}


def dvc(place: Path, repository: Path, *words: str) -> None:
    """A dvc command in the worktree; dies with this process. Raises RetrainError when it fails; what it said stands in
    the log.
    """
    command = [sys.executable, "-m", "dvc", *words]
    last: deque[str] = deque(maxlen=12)
    with subprocess.Popen(
        command,
        cwd=place,
        env=environment(repository),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=die_with_parent,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.strip():
                last.append(line.strip())
    if process.returncode:
        raise RetrainError("\n".join([f"dvc {' '.join(words)} failed; its last lines:", *last]))


def mend_rwlock(place: Path) -> None:
    """Remove DVC's list of readers and writers where a full disk left it torn: every later dvc would refuse, nobody
    else runs one here.
    """
    path = place / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except ValueError:
        path.unlink()


def has_remote(place: Path, repository: Path) -> bool:
    """Whether a DVC remote is configured."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "remote", "list"],
        cwd=place,
        env=environment(repository),
        capture_output=True,
        text=True,
    )
    return done.returncode == 0 and bool(done.stdout.strip())


def lost_clips(found: Comparison) -> tuple[bool, list[str]]:
    """Whether the challenger was measured on the champion's test clips, but for MOST_LOST of a corpus; a line where not
    on all of them.
    """
    lines, good = [], True
    for corpus, (common, lost, _) in found.clips.items():
        passed = lost <= MOST_LOST * (common + lost)
        good = good and passed
        if lost:
            word = "tolerated" if passed else "NOT shown to be no worse"
            lines.append(
                f"{lost} of the champion's {common + lost} test clips on {corpus} were not measured again: {word}"
            )
    return good, lines


def no_worse(
    found: Comparison, ours: str, margins: Mapping[str, float], directions: Mapping[str, str]
) -> tuple[bool, list[str]]:
    """Whether no metric that matters is worse than its margin allows, and a line for each.

    A metric passes on a corpus when the bad end of the 95 % interval of its change lies within ``margin`` times the
    champion's mean. With one speaker there is no interval, and nothing is shown: it does not pass.
    """
    lines, good, seen = [], True, set()
    for row in found.rows:
        if row.method != ours or row.metric not in margins:
            continue
        seen.add(row.metric)
        worst = row.high if directions[row.metric] == "down" else (None if row.low is None else -row.low)
        allowed = margins[row.metric] * abs(row.mean_a)
        passed = worst is not None and worst <= allowed
        good = good and passed
        shown = "no interval from one speaker" if worst is None else f"at worst {worst:+.4g}, {allowed:.4g} allowed"
        word = "no worse" if passed else "NOT shown to be no worse"
        lines.append(f"{row.metric} on {row.corpus}: {row.mean_a:.4g} → {row.mean_b:.4g}; {shown}: {word}")
    for metric in sorted(set(margins) - seen):
        good = False
        lines.append(f"{metric}: not measured on a clip that both have: NOT shown to be no worse")
    return good, lines


def commit_report(place: Path, settings: Settings, stamp: str, files: dict[str, str]) -> tuple[str, str]:
    """Commit ``dvc.lock``, the report and ``files`` on a branch of its own. Returns commit and branch."""
    branch = f"retrain/{settings.preset}/{stamp}"
    folder = Path("reports/retrain") / settings.preset / stamp
    for name, text in files.items():
        write_atomic(place / folder / name, text.encode())
    git(place, "add", "--force", "dvc.lock", f"reports/{settings.preset}", *([str(folder)] if files else []))
    who = ["-c", "user.name=s3dnerf retrain", "-c", "user.email=retrain@localhost"]
    git(place, *who, "commit", "--quiet", "--allow-empty", "-m", f"Retrained {settings.preset}: report of {stamp}")
    commit = git(place, "rev-parse", "HEAD")
    git(place, "branch", branch, commit)
    return commit, branch


def model_folder(place: Path, settings: Settings) -> Path:
    """The generator that the report calls ours."""
    return network_file(place / settings.data_dir, settings.train.variants[0]).parent


def judge(
    place: Path, repository: Path, settings: Settings, champion: Champion, margins: Mapping[str, float]
) -> tuple[bool, list[str], dict[str, str]]:
    """Compare the worktree's report with the champion's over the test clips that both have. Returns promote or not,
    lines, files.
    """
    old = report_at(champion.report_commit, settings.preset, repository)
    new = folder_report(place / "reports" / settings.preset)
    old.name, new.name = f"the champion, version {champion.version} ({champion.report_commit[:12]})", "the challenger"
    try:
        found = compare(old, new)
    except NotComparable as error:
        return False, [f"not comparable with the champion: {error}"], {}
    directions = {m["name"]: m["direction"] for m in new.document["metrics"]}
    whole, said = lost_clips(found)
    good, lines = no_worse(found, new.document["methods"]["ours"], margins, directions)
    return (
        whole and good,
        [found.verdict(), *said, *lines],
        {"comparison.md": markdown(found), "comparison.html": page(found)},
    )


def attempt(repository: Path, margins: Mapping[str, float], say: Callable[[str], None]) -> Outcome:
    """One retraining, the lock held. Raises RetrainError, ReportError, SettingsError or MlflowError; the champion is as
    it was.
    """
    revision = git(repository, "rev-parse", "HEAD")
    place = worktree(repository, revision)
    settings = load_settings(place / "params.yaml")
    link_raw(repository, place, settings)
    mend_rwlock(place)
    remote = has_remote(place, repository)
    if remote:
        say("fetching what the remote has")
        dvc(place, repository, *PULL)
    say(f"dvc repro of {revision[:12]}, preset {settings.preset}, in {PLACE}")
    dvc(place, repository, "repro")
    registry = Registry(settings.preset, tracking_uri(repository))
    champion = registry.champion()
    model = model_folder(place, settings)
    outcome, files = Outcome(NOTHING_NEW, settings.preset), dict[str, str]()
    how = ""
    if champion is not None:
        generator = file_sha256(model / "generator.safetensors")
        if generator == champion.generator_sha256:
            outcome.lines = [f"the generator is the champion's, version {champion.version}, to the byte"]
            return outcome
        how = f"against version {champion.version}, margins {json.dumps(dict(sorted(margins.items())))}"
        before = registry.kept_out(generator, how)
        if before is not None:
            outcome.lines = [f"the generator is that of version {before}, to the byte, which was kept out {how}"]
            return outcome
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
    if champion is None:
        promote, outcome.lines = True, ["the first of its preset: nothing to compare with"]
    else:
        promote, outcome.lines, files = judge(place, repository, settings, champion, margins)
    outcome.status = PROMOTED if promote else KEPT
    files["outcome.md"] = outcome.markdown()
    outcome.commit, outcome.branch = commit_report(place, settings, stamp, files)
    if remote:
        say("sending data to the remote")
        dvc(place, repository, "push")
    version = registry.register(model, outcome.commit, f"{outcome.status}: {outcome.lines[0]}", "" if promote else how)
    if promote:
        registry.promote(version)
        outcome.lines.append(f"version {version.version} is the champion now")
    else:
        assert champion is not None
        outcome.lines.append(
            f"version {champion.version} stays the champion; this one is registered as version {version.version}"
        )
    return outcome


def tell(outcome: Outcome, webhook: str | None, say: Callable[[str], None]) -> None:
    """What people see: the log, and a webhook (JSON by POST), whose failure is said and changes nothing."""
    say(f"retraining of {outcome.preset or 'the repository'}: {outcome.status}")
    for line in outcome.lines:
        say(f"  {line}")
    if webhook:
        data = json.dumps(dataclasses.asdict(outcome)).encode()
        request = urllib.request.Request(webhook, data, {"Content-Type": "application/json"})  # noqa: S310 - the operator's own address
        try:
            urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S).close()  # noqa: S310
        except (urllib.error.URLError, OSError, ValueError) as error:
            say(f"  the webhook was not told: {error}")


def retrain_once(
    repository: Path = Path("."),
    margins: Mapping[str, float] | None = None,
    webhook: str | None = None,
    say: Callable[[str], None] = lambda line: print(line, flush=True),
) -> Outcome:
    """One retraining from the lock to the word to people. Never raises for what can be expected: the outcome says
    it.
    """
    repository = repository.resolve()
    unknown = sorted(
        set(margins or {}) - {"ssim", "psnr", "lpips", "f_lmd", "m_lmd", "cpbd", "lse_c", "lse_d", "identity"}
    )
    if unknown:
        raise SettingsError(f"margins: {', '.join(unknown)} — accepted: metrics of the report, such as m_lmd")
    try:
        with alone(repository):
            outcome = attempt(repository, margins or MARGINS, say)
    except Timeout:
        outcome = Outcome(BUSY, "", ["another retraining is running: turned away"])
    except PromotionUnclear as error:
        outcome = Outcome(FAILED, "", str(error).splitlines())
    except (RetrainError, ReportError, SettingsError, MlflowError, OSError) as error:
        outcome = Outcome(FAILED, "", [*str(error).splitlines(), "the champion is as it was"])
    tell(outcome, webhook, say)
    return outcome


def margins_of(words: tuple[str, ...]) -> dict[str, float] | None:
    """``("m_lmd=0.05",)`` as a mapping; None for none. Raises SettingsError for what is neither a metric nor a
    share.
    """
    found = {}
    for word in words:
        name, _, share = word.partition("=")
        try:
            found[name] = float(share)
        except ValueError:
            raise SettingsError(f"--margin {word}: accepted: METRIC=SHARE, for example m_lmd=0.05") from None
        if not 0 <= found[name] <= 10:
            raise SettingsError(f"--margin {word}: accepted: a share of the champion's value, 0 … 10")
    return found or None


def exit_status(outcome: Outcome) -> int:
    """0: promoted, kept or nothing new; 1: failed; 3: turned away."""
    return {FAILED: 1, BUSY: 3}.get(outcome.status, 0)
