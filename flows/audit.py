"""``s3dnerf audit``: is a versioned report to be believed, and what changed between two.

``verify [REV]`` holds the report's own rules (:mod:`s3dnerf.reporting.audit`) and those that need git, ``dvc.lock`` and
the data. ``compare A B`` writes a comparison (:mod:`s3dnerf.reporting.comparison`). Reads the repository, writes only
the comparison. Hashes are computed from bytes: DVC's own memory of times and sizes is not asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.git_calls import git, shallow_hint
from flows.provenance import is_keys, outs_of, preset_lock, read_lock
from flows.report_tables import CACHE, finder, table_faults
from s3dnerf.core.errors import SettingsError
from s3dnerf.core.text_files import TextFileError
from s3dnerf.core.whole_files import claimed
from s3dnerf.core.yaml_text import YamlError, load_yaml
from s3dnerf.reporting.audit import verify
from s3dnerf.reporting.comparison import NotComparable, compare, markdown, page
from s3dnerf.reporting.report_files import Finding, Report, ReportError
from s3dnerf.reporting.sources import network_file
from s3dnerf.settings.dotted import flat
from s3dnerf.video.packs import file_sha256, write_atomic
from stages.weight_hashes import describe

HERE = Path()
REPORTS, LOCK, PARAMS = Path("reports"), Path("dvc.lock"), Path("params.yaml")


def git_bytes(revision: str, path: str | Path, repository: Path = HERE) -> bytes | None:
    """A file of the repository as a revision has it, or None where it has none."""
    done = git(repository, "cat-file", "blob", f"{revision}:./{Path(path).as_posix()}")
    return done.stdout if done.returncode == 0 else None


def git_names(revision: str, folder: Path, repository: Path = HERE) -> list[str]:
    """Files of a folder of the repository in a revision, relative to the folder."""
    done = git(repository, "ls-tree", "-r", "-z", "--name-only", revision, "--", f"{folder.as_posix()}/")
    names = [name for name in done.stdout.decode("utf-8", "surrogateescape").split("\0") if name]
    return [Path(name).relative_to(folder).as_posix() for name in names]


def is_revision(name: str, repository: Path = HERE) -> bool:
    """Whether git knows a commit of this name."""
    return git(repository, "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}").returncode == 0


def folder_report(folder: Path, repository: Path | None = None) -> Report:
    """A report from its folder; its membership table from the repository, where one is given. Raises ReportError where
    there is none.
    """
    if not folder.is_dir():
        raise ReportError(f"{folder}: no such folder — expected a report, such as reports/sample")
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return Report(str(folder), files, finder(repository)) if repository else Report(str(folder), files)


def report_at(name: str, preset: str, repository: Path = HERE) -> Report:
    """A report by its folder, or by a git revision whose ``reports/<preset>`` is meant, both of ``repository``.

    Raises ReportError where there is neither.
    """
    if (repository / name).is_dir():
        return folder_report(repository / name, repository)
    if not is_revision(name, repository):
        raise ReportError(
            f"{name}: neither a folder nor a git revision — expected a report's folder, such as reports/sample, or a "
            f"commit{shallow_hint(repository)}"
        )
    folder = REPORTS / preset
    found = {file: git_bytes(name, folder / file, repository) for file in git_names(name, folder, repository)}
    files = {file: data for file, data in found.items() if data is not None}
    if not files:
        raise ReportError(f"{name} has no {folder} — name another revision, or another preset with --preset")
    return Report(f"{name}:{folder}", files, finder(repository))


def _yaml(data: bytes | None) -> dict[str, Any] | None:
    try:
        value = load_yaml(data) if data is not None else None
    except YamlError:
        return None
    return value if isinstance(value, dict) else None


def _md5(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()


def _finding(rule: str, wrong: list[str], right: str) -> Finding:
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    return Finding(rule, not wrong, ", ".join(wrong[:5]) + more if wrong else right)


def against_git(folder: Path, revision: str) -> Finding:
    """The report, ``dvc.lock`` and ``params.yaml`` are what the revision holds, to the byte."""
    wrong, names = [], {folder / name for name in git_names(revision, folder)}
    here = {p for p in folder.rglob("*") if p.is_file()} if folder.is_dir() else set()
    for path in sorted(here | names | {LOCK, PARAMS}):
        versioned = git_bytes(revision, path)
        if versioned is None:
            wrong.append(f"{path} is not in {revision}: commit it")
        elif not path.is_file():
            wrong.append(f"{path} is missing")
        elif path.read_bytes() != versioned:
            wrong.append(f"{path} differs from {revision}")
    return _finding("git", wrong, f"{len(here) + 2} files as in {revision}")


def from_revision(report: Report, revision: str) -> Finding:
    """The report was made on a clean commit that is part of this history."""
    origin = report.document["origin"]["git"]
    made, dirty = origin.get("revision"), origin.get("dirty")
    wrong = []
    if not made or not is_revision(str(made)):
        wrong.append(f"made on {made}, which this repository does not have{shallow_hint(HERE)}")
    elif git(HERE, "merge-base", "--is-ancestor", str(made), revision).returncode:
        wrong.append(f"made on {made}, which is not before {revision}{shallow_hint(HERE)}")
    if dirty is not False:
        wrong.append("made on changed files (git was dirty)" if dirty else "made where git's state was unknown")
    return _finding("revision", wrong, f"made on clean {str(made)[:12]}")


def kept_with(report: Report, folder: Path, revision: str, path: Path, params: Mapping[str, Any]) -> tuple[str, Any]:
    """``params.yaml`` or ``dvc.lock`` as it goes with a report: the one here where the settings in force (``params``)
    are of the report's preset, else the one committed with the report; its name and its mapping, or ('', None) where
    that is of another preset.
    """
    preset = report.document["preset"]
    if params.get("preset") == preset:
        return str(path), _yaml(path.read_bytes() if path.is_file() else None)
    commit = git(HERE, "log", "-1", "--format=%H", revision, "--", folder.as_posix()).stdout.decode().strip()
    committed = {name: _yaml(git_bytes(commit, name)) for name in (PARAMS, LOCK)} if commit else {}
    if (committed.get(PARAMS) or {}).get("preset") != preset:
        return "", None
    return f"{path} of {commit[:12]}", committed[path]


def _why_not(where: str) -> str:
    """What is wrong with a lock that cannot be read, where it is a file of this folder."""
    try:
        read_lock(Path(where))
    except (TextFileError, YamlError) as error:
        return f": {error}"
    return ""


def against_lock(report: Report, where: str, lock: Mapping[str, Any] | None) -> Finding:
    """The data that report.json says it was made of is that of lock.yaml, and of the ``dvc.lock`` that goes with it."""
    stated = report.document["origin"]["dvc_lock"]
    if where and lock is None:
        return Finding("lock", False, f"{where} cannot be read{_why_not(where)}")
    locks = {"lock.yaml": outs_of(report.lock)}
    if where:
        locks[where] = outs_of(preset_lock(lock, report.document["preset"]))
    wrong = []
    for name, outs in locks.items():
        for stage, path in sorted({(s, p) for side in (stated, outs) for s in side for p in side[s]}):
            values = stated.get(stage, {}).get(path), outs.get(stage, {}).get(path)
            if values[0] != values[1]:
                wrong.append(f"{path} ({stage}): {values[0]} in report.json, {values[1]} in {name}")
    nowhere = f"lock.yaml (no commit has a dvc.lock of it{shallow_hint(HERE)})"
    return _finding("lock", wrong, f"{len(stated)} stages as in {where or nowhere}")


def against_code(lock: Mapping[str, Any], where: str, read: Callable[[str], bytes | None]) -> Finding:
    """What a lock names besides data, code, lists and versions, is what lies in ``where``, as ``read`` gives it."""
    wrong, files = [], dict[str, str]()
    for parts in lock.get("stages", {}).values():
        for dep in parts.get("deps", []):
            if Path(dep["path"]).parts[0] != "data" and not str(dep.get("md5", "")).endswith(".dir"):
                files[dep["path"]] = dep.get("md5", "")
    for path, md5 in sorted(files.items()):
        data = read(path)
        if data is None:
            wrong.append(f"{path} is missing in {where}")
        elif hashlib.md5(data).hexdigest() != md5:
            wrong.append(f"{path} in {where} is not what the report was made with")
    values = {
        (name, key): value
        for parts in lock.get("stages", {}).values()
        for name, params in parts.get("params", {}).items()
        if name != str(PARAMS)
        for key, value in flat(params).items()
    }
    held = {name: flat(_yaml(read(name)) or {}) for name in {name for name, _ in values}}
    for (name, key), value in sorted(values.items(), key=str):
        if held[name].get(key) != value:
            wrong.append(f"{name}: {key} is {held[name].get(key)} in {where}, the report was made with {value}")
    return _finding("code", wrong, f"{len(files) + len(held)} files as in {where}")


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
    outs = {
        out["path"]: out.get("md5", "")
        for stage, parts in report.lock.get("stages", {}).items()
        if stage != "report"
        for out in parts.get("outs", [])
        if not is_keys(out["path"])
    }
    wrong = [line for path, md5 in outs.items() for line in differences(Path(path), md5)]
    wrong += table_faults(report)
    return _finding("data", wrong, f"{len(outs)} outs as in dvc.lock")


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
    return _finding("networks", wrong, f"{count} weight files as in the report")


def _here(path: str) -> bytes | None:
    return Path(path).read_bytes() if Path(path).is_file() else None


def run_verify(revision: str, folder: Path, without_data: bool) -> list[Finding]:
    """Every rule over the report in ``folder`` and the repository around it. Raises ReportError where there is no
    report or revision.

    The report holds the settings and the lock that it was made with; those of the repository are held against them
    where they are of the same preset, else those committed together with the report.
    """
    if not is_revision(revision):
        raise ReportError(f"{revision}: no such revision in this repository{shallow_hint(HERE)}")
    report = folder_report(folder, None if without_data else HERE)
    params = _yaml(_here(str(PARAMS)))

    def settings_of_it() -> tuple[str, Any]:
        where, given = kept_with(report, folder, revision, PARAMS, params or {})
        nowhere = f"settings.yaml (no commit has a params.yaml of it{shallow_hint(HERE)})"
        return (where, given) if where else (nowhere, report.settings)

    def code() -> Finding:
        if (params or {}).get("preset") == report.document["preset"]:
            return against_code(report.lock, "this folder", _here)
        made = str(report.document["origin"]["git"].get("revision"))
        return against_code(report.lock, f"commit {made[:12]}", lambda path: git_bytes(made, path))

    rules: list[tuple[str, Callable[[], Finding]]] = [
        ("revision", lambda: from_revision(report, revision)),
        ("lock", lambda: against_lock(report, *kept_with(report, folder, revision, LOCK, params or {}))),
        ("code", code),
    ]
    if not without_data:
        rules += [("data", lambda: against_data(report)), ("networks", lambda: networks(report))]
    try:
        where, given = ("params.yaml", None) if params is None else settings_of_it()
    except (ReportError, KeyError) as error:
        where, given = f"what goes with the report ({error})", None
    found = verify(report, given, where) + [against_git(folder, revision)]
    for name, rule in rules:
        try:
            found.append(rule())
        except ReportError as error:
            found.append(Finding(name, False, str(error)))
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
        ) as error:  # a damaged file is data, not a fault of ours
            found.append(
                Finding(
                    name,
                    False,
                    f"a lock or report.json is not as it should be: {type(error).__name__}: {str(error)[:120]}",
                )
            )
    return found


def verify_command(revision: str, folder: Path, without_data: bool) -> int:
    """Print one line a rule; exit status 1 when one fails."""
    found = run_verify(revision, folder, without_data)
    for finding in found:
        print(finding)
    if without_data:
        print("NOT RUN  data, networks: --without-data")
    failed = sum(not f.passed for f in found)
    partly = [finding.rule for finding in found if finding.passed and finding.unchecked]
    said = f"{failed} of {len(found)} rules fail" if failed else f"{len(found)} rules hold"
    print(f"{folder}: {said}" + (f"; not checked in full: {', '.join(partly)}" if partly else ""))
    return 1 if failed else 0


def compare_command(a: str, b: str, preset: str, force: bool, out: Path | None) -> int:
    """Print the comparison's verdict and, with ``out``, write comparison.md and comparison.html there. Exit status 2
    when it is refused.
    """
    with contextlib.ExitStack() as held:
        for name in ("comparison.md", "comparison.html") if out is not None else ():
            held.enter_context(claimed(Path(out or "") / name, "--out", {"the first report": a, "the second": b}))
        try:
            found = compare(report_at(a, preset), report_at(b, preset), force)
        except NotComparable as error:
            print(f"refused: {error}")
            return 2
        if out is None:
            print(markdown(found), end="")
            return 0
        write_atomic(out / "comparison.md", markdown(found).encode())
        write_atomic(out / "comparison.html", page(found).encode())
    for line in found.forced:
        print(f"forced: {line}")
    print(found.verdict())
    print(f"comparison: {(out / 'comparison.html').resolve()}")
    return 0


def audit_command(
    action: str, names: tuple[str, ...], folder: Path, preset: str, force: bool, without_data: bool, out: Path | None
) -> int:
    """``verify [REV]`` or ``compare A B``. Raises SettingsError for another number of names."""
    if action == "verify":
        if len(names) > 1:
            raise SettingsError(f"audit verify: got {' '.join(names)} — accepted: one revision, or none for HEAD")
        return verify_command(names[0] if names else "HEAD", folder, without_data)
    if len(names) != 2:
        raise SettingsError(
            "audit compare: expected two reports, each a folder or a git revision: s3dnerf audit compare A B"
        )
    return compare_command(names[0], names[1], preset, force, out)
