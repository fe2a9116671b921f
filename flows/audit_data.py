"""What an auditor asks of the data behind a report: is it what the report's lock names, does it come down to the
report, and who made it.

Reads ``data/<preset>``, DVC's cache and git; writes nothing. Hashes are computed from bytes: DVC's own memory of times
and sizes is not asked.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.git_calls import HERE, git, git_bytes, is_revision, shallow_hint
from flows.provenance import is_keys
from flows.report_tables import CACHE, table_faults
from flows.workspace import main_repository, seen_from_here
from s3dnerf.core.yaml_text import load_yaml
from s3dnerf.reporting.audit import NOT_LISTED
from s3dnerf.reporting.document import UNKNOWN, manifest
from s3dnerf.reporting.page import SOURCE_PICTURES
from s3dnerf.reporting.report_files import MANIFEST, SIGNATURE, Finding, Report, ReportError, some
from s3dnerf.reporting.sources import network_file
from s3dnerf.settings.dotted import flat
from s3dnerf.settings.loading import load_settings, preset_settings, settings_from
from s3dnerf.settings.schema import Settings
from s3dnerf.video.packs import file_sha256
from stages.weight_hashes import describe

# of a value, by which a number measured on another processor may differ; smaller values than the second count as it
MOST_APART, ABOUT_NOTHING = 0.01, 0.01
PAGE, NOT_SHOWN = "index.html", b"The source cannot be shown: "
VERSIONS_FILE, REQUIREMENTS = "stages/versions.yaml", "requirements.lock"


def _md5(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()


def finding(rule: str, wrong: list[str], right: str, unchecked: str = "") -> Finding:
    """A rule's answer: the first of what is wrong, else what was looked at."""
    return Finding(rule, not wrong, some(wrong) or right, unchecked)


def _listed(cache: Path, md5: str) -> dict[str, str] | None:
    """Relative path → md5 of a folder, as DVC's cache has it; None where it has not."""
    path = cache / md5[:2] / md5[2:]
    try:
        data = path.read_bytes()
        if hashlib.md5(data).hexdigest() + ".dir" != md5:
            return None
        return {entry["relpath"]: entry["md5"] for entry in json.loads(data)}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def differences(path: Path, md5: str, cache: Path = CACHE) -> Iterator[str]:
    """What in an out is not what its hash says: the file where DVC's cache can name it, else the out."""
    if not path.exists():
        yield f"{path} is not here (dvc pull brings it)"
    elif not md5.endswith(".dir"):
        if not path.is_file() or _md5(path) != md5:
            yield f"{path} differs from dvc.lock"
    else:
        here = {p.relative_to(path).as_posix(): _md5(p) for p in sorted(path.rglob("*")) if p.is_file()}
        entries = [
            {"md5": digest, "relpath": name}
            for name, digest in sorted(here.items(), key=lambda item: Path(item[0]).parts)
        ]
        if hashlib.md5(json.dumps(entries, sort_keys=True).encode()).hexdigest() + ".dir" == md5:
            return
        listed = _listed(cache, md5)
        if listed is None:
            yield f"{path} differs from dvc.lock"
            return
        for name in sorted(here.keys() | listed.keys()):
            if name not in here:
                yield f"{path / name} is missing"
            elif name not in listed:
                yield f"{path / name} is not in dvc.lock"
            elif here[name] != listed[name]:
                yield f"{path / name} differs from dvc.lock"


def against_data(report: Report) -> Finding:
    """Every out on this machine has the hash that the report's lock names, and the membership table the one that
    ``report.json`` names.
    """
    made = report.document.get("made", UNKNOWN)
    records = set() if made == UNKNOWN else {f"data/{report.document['preset']}/keys/{name}.json" for name in made}
    outs = {
        out["path"]: out.get("md5", "")
        for stage, parts in report.lock.get("stages", {}).items()
        if stage != "report"
        for out in parts.get("outs", [])
        if not is_keys(out["path"]) or out["path"] in records
    }
    wrong = [line for path, md5 in outs.items() for line in differences(Path(path), md5)]
    wrong += table_faults(report)
    return finding("data", wrong, f"{len(outs)} outs as in dvc.lock")


def networks(report: Report) -> Finding:
    """The networks on this machine, ours and those of the backends, are those that the report was made with."""
    data, wrong, count = Path("data") / report.document["preset"], [], 0
    for name, sha256 in sorted(report.document["networks"].items()):
        path, count = network_file(data, name), count + 1
        if not path.is_file():
            wrong.append(f"{path} is not here (dvc pull brings it)")
        elif file_sha256(path) != sha256:
            wrong.append(f"{path} is not the network of the report")
    for listed in sorted((data / "inventory" / "weights").glob("*.json")):
        for setting, entry in json.loads(listed.read_text(encoding="utf-8")).items():
            if isinstance(entry, dict) and entry.get("sha256"):
                count += 1
                path, found = Path(entry["path"]), describe(entry["path"])  # a file, or a folder of them
                if "missing" in found:
                    wrong.append(f"{path} ({setting}) is not here")
                elif found["sha256"] != entry["sha256"]:
                    wrong.append(f"{path} ({setting}) is not that of the report")
    return finding("networks", wrong, f"{count} weight files as in the report")


def pull(report: Report) -> None:
    """``dvc pull`` of what the report's lock names and this machine lacks. Raises ReportError where it fails.

    It brings what the ``dvc.lock`` in force names: the rule ``data`` says where that is not what the report names.
    """
    outs = [out["path"] for parts in report.lock.get("stages", {}).values() for out in parts.get("outs", [])]
    table = [str(report.table["path"])] if report.table else []
    lacking = sorted({path for path in (*outs, *table) if not Path(path).exists()})
    if lacking:
        done = subprocess.run([sys.executable, "-m", "dvc", "pull", *lacking], capture_output=True, text=True)
        if done.returncode:
            raise ReportError(f"dvc pull failed: {' '.join(done.stderr.split())[-400:] or 'it gave no reason'}")


def _versions_then(revision: str) -> dict[str, Any]:
    found = load_yaml(git_bytes(revision, VERSIONS_FILE) or b"{}")
    return flat(found) if isinstance(found, dict) else {}


def _another_code(report: Report, settings: Settings) -> list[str]:
    """What of the code and packages that make a report is not as it was when this one was made."""
    from flows.provenance import packages
    from stages.code_lock import stage_packages, stage_versions

    origin = report.document["origin"]
    then, now = _versions_then(str(origin["git"].get("revision"))), stage_versions("report", settings)
    wrong = [f"{name}: {then.get(name)}, now {now[name]}" for name in sorted(now) if then.get(name) != now[name]]
    here, stated = packages(), origin["packages"]
    used = [name for name in stage_packages("report", settings) if name in here]
    return wrong + [f"{n} {stated.get(n)}, now {here[n]}" for n in used if stated.get(n) != here[n]]


def made_again(report: Report, in_force: bool) -> Finding:
    """The report, made again from the data on this machine, is the one there is, to the byte.

    What no data can tell is taken from the report itself: revision, packages and machine in ``origin``, and
    ``timings.json``. With other code or packages than its own it cannot be made again: a fault where its preset is
    ``in_force`` (the report is not of this commit then), else left open.
    """
    from stages.context import Context
    from stages.report import report_files

    rule, document = "made again", report.document
    settings = settings_from(document["settings"])
    # a report does not hold where raw folders lie
    raw = (load_settings() if in_force else preset_settings(settings.preset)).raw
    settings = seen_from_here(main_repository(), replace(settings, raw=raw))
    if changed := _another_code(report, settings):
        made = str(document["origin"]["git"].get("revision"))[:12]
        why = f"reports are made by other code now ({some(changed)}): check out {made} with its data, verify there"
        return Finding(rule, False, why) if in_force else Finding(rule, True, "not done", why)
    known = {key: value for key, value in document["origin"].items() if value != UNKNOWN}
    context = Context(settings, "report", provenance={**known, "lock": report.lock})
    try:
        files, members, _ = report_files(context, json.loads(report.files["timings.json"]))
    except FileNotFoundError as error:
        return Finding(rule, False, f"{error} (dvc pull brings it)")
    ours, unchecked = dict(report.files), ""
    if NOT_SHOWN in files[PAGE] and NOT_SHOWN not in ours.get(PAGE, b""):
        # only raw videos give these pictures: left out on both sides, and with them the manifest's hash of the page
        unchecked = f"pictures of raw videos in {PAGE}, which are not here"
        for given in (ours, files):
            given[PAGE] = SOURCE_PICTURES.sub(b"", given.get(PAGE, b""))
            given[MANIFEST] = manifest({name: data for name, data in given.items() if name not in NOT_LISTED}).encode()
    wrong = [f"{name} is not what the data gives" for name in sorted(files) if ours.get(name) != files[name]]
    wrong += [f"{name} is no file that a report has" for name in sorted(set(report.files) - set(files) - {SIGNATURE})]
    if report.table is not None and hashlib.sha256(members).hexdigest() != report.table["sha256"]:
        wrong.append("the membership table is not what the data gives")
    return finding(rule, wrong, f"{len(files)} files, the same bytes", unchecked)


def _pins(revision: str) -> dict[str, str]:
    """Package → version in a revision's requirements.lock, without what stands after ``+``."""
    lines = (git_bytes(revision, REQUIREMENTS) or b"").decode().splitlines()
    found = (line.split(";")[0].split("\\")[0].strip().partition("==") for line in lines if "==" in line)
    return {name.lower().replace("_", "-"): version.partition("+")[0].strip() for name, _, version in found}


def _unpinned(stated: Mapping[str, str], revision: str) -> list[str]:
    pins = _pins(revision)
    return [
        f"{name} {version}, {REQUIREMENTS} of {revision[:12]} has {pins[key]}"
        for name, version in sorted(stated.items())
        if (key := name.lower().replace("_", "-")) in pins and version.partition("+")[0] != pins[key]
    ]


def pinned_packages(report: Report) -> Finding:
    """The packages that the report states are those that ``requirements.lock`` of its revision pins."""
    origin = report.document["origin"]
    revision = str(origin["git"].get("revision"))
    lock = git_bytes(revision, REQUIREMENTS)
    wrong = []
    if lock is None or hashlib.sha256(lock).hexdigest() != origin["lock_sha256"]:
        wrong.append(f"lock_sha256 is not that of {REQUIREMENTS} of {revision[:12]}")
    wrong += _unpinned(origin["packages"], revision)
    return finding("packages", wrong, f"{len(origin['packages'])} packages as {REQUIREMENTS} has them")


def made_by(report: Report, revision: str) -> Finding:
    """Who trained and measured is recorded, bound to the networks by their hashes, and fits the history: clean commits
    before the report's and before ``revision``, the packages that their ``requirements.lock`` pins, no day to come.
    """
    rule, document = "made by", report.document
    reported = str(document["origin"]["git"].get("revision"))
    if document.get("made", UNKNOWN) == UNKNOWN:
        return Finding(
            rule, True, "nothing recorded", "who trained and measured: the report is older than such records"
        )
    wrong, lacking = [], []
    today = datetime.now(UTC).date().isoformat()
    for name, sha256 in sorted(document["networks"].items()):
        weights = network_file(Path(), name)
        part = document["made"].get(weights.parent.as_posix(), {})
        if part.get("files", {}).get(weights.name) != sha256:
            wrong.append(f"{name}: the record is of other weights than the report's")
    for name, part in sorted(document["made"].items()):
        for by in part["by"]:
            git_state = by.get("git") or {}
            made = str(git_state.get("revision"))
            if not git_state:
                lacking.append(name)
                continue
            if not is_revision(made):
                wrong.append(f"{name} was made on {made[:12]}, which this repository does not have{shallow_hint(HERE)}")
            elif git(HERE, "merge-base", "--is-ancestor", made, revision).returncode:
                wrong.append(f"{name} was made on {made[:12]}, which is not before {revision}")
            elif git(HERE, "merge-base", "--is-ancestor", made, reported).returncode:
                wrong.append(f"{name} was made on {made[:12]}, the report before that, on {reported[:12]}")
            else:
                wrong += [f"{name} was made with {line}" for line in _unpinned(by.get("packages", {}), made)]
            if git_state.get("dirty") is not False:
                wrong.append(f"{name} was made on changed files")
            if by.get("date", "") > today:
                wrong.append(f"{name} was made on {by['date']}, which is still to come")
    unchecked = f"who made {', '.join(dict.fromkeys(lacking))}: not recorded" if lacking else ""
    return finding(rule, wrong, f"{len(document['made'])} parts, by clean commits", unchecked)


def measured_again(report: Report, count: int, in_force: bool) -> Finding:
    """So many test clips, drawn anew each time, measured again from the networks and the preprocessed data: the numbers
    are the report's, but for what another processor changes; and all clips are those that were measured.

    With data, locks and report all made anew to fit each other this alone finds wrong numbers. It takes as long as
    evaluation takes for so many clips.
    """
    from s3dnerf.evaluation.other_methods import find_methods
    from stages.evaluate import forget, measured_clip, plan
    from stages.out_keys import keys_file, read_keys

    rule = "measured again"
    if not in_force:
        return Finding(rule, True, "not done", "its preset is not the one in force: s3dnerf preset, then again")
    forget()
    settings = load_settings()
    jobs = plan(settings, find_methods(settings.evaluate.methods))
    recorded = {entry.place: entry.key for entry in read_keys(keys_file(settings.data_dir, "evaluate"))[1]}
    wrong = [
        f"{job.clip}: its data or the code that measures is not what it was measured with"
        for job in jobs
        if recorded.get(job.clip) != job.key
    ]
    stated = {(row["clip"], row["method"], row["metric"]): float(row["value"]) for row in report.rows}
    chosen, largest = random.SystemRandom().sample(jobs, min(count, len(jobs))), 0.0
    for job in chosen:
        for row in measured_clip(job).rows:
            name = (row["clip"], row["method"], row["metric"])
            was, now = stated.get(name, math.nan), float(row["value"])
            apart = abs(now - was) / max(abs(was), ABOUT_NOTHING) if math.isfinite(was) and math.isfinite(now) else 0.0
            largest = max(largest, apart)
            if math.isfinite(was) != math.isfinite(now) or apart > MOST_APART:
                wrong.append(f"{' '.join(name)}: {was:.4g} in the report, {now:.4g} now")
    clips = ", ".join(job.clip for job in chosen)
    return finding(rule, wrong, f"{clips}: as in the report (largest difference {largest:.2g} of a value)")
