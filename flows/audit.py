"""``s3dnerf audit``: is a versioned report to be believed, and what changed between two.

``verify [REV]`` holds the report's own rules (:mod:`s3dnerf.reporting.audit`) and those that need git, ``dvc.lock`` and
the data. ``compare A B`` writes a comparison (:mod:`s3dnerf.reporting.comparison`). Reads the repository, writes only
the comparison. Hashes are computed from bytes: DVC's own memory of times and sizes is not asked.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.audit_data import against_data, finding, made_again, made_by, measured_again, networks, pinned_packages, pull
from flows.git_calls import HERE, git, git_bytes, git_names, is_revision, shallow_hint
from flows.provenance import outs_of, preset_lock, read_lock
from flows.report_tables import finder
from flows.signing import make_keys, private_key, sign, signed_by, signer_files
from s3dnerf.core.errors import SettingsError
from s3dnerf.core.text_files import TextFileError
from s3dnerf.core.whole_files import claimed
from s3dnerf.core.yaml_text import YamlError, load_yaml
from s3dnerf.reporting.audit import verify
from s3dnerf.reporting.comparison import NotComparable, compare
from s3dnerf.reporting.comparison_page import markdown, page
from s3dnerf.reporting.report_files import SIGNATURE, Finding, Report, ReportError
from s3dnerf.settings.dotted import flat
from s3dnerf.video.packs import write_atomic

REPORTS, LOCK, PARAMS = Path("reports"), Path("dvc.lock"), Path("params.yaml")


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
    return finding("git", wrong, f"{len(here) + 2} files as in {revision}")


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
    return finding("revision", wrong, f"made on clean {str(made)[:12]}")


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
    """The data that report.json says it was made of is that of lock.yaml, and of the ``dvc.lock`` that goes with it;
    the settings that stages ran with, as lock.yaml and the networks' cards have them, are the report's.
    """
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
    wrong += _other_settings(report)
    nowhere = f"lock.yaml (no commit has a dvc.lock of it{shallow_hint(HERE)})"
    return finding("lock", wrong, f"{len(stated)} stages as in {where or nowhere}")


def _other_settings(report: Report) -> list[str]:
    stated, wrong = flat(report.settings), []
    cards = {f"train_s3dnerf@{name}": card.get("settings", {}) for name, card in report.document["cards"].items()}
    for stage, parts in sorted(report.lock.get("stages", {}).items()):
        card = flat(cards.get(stage, {}))
        for key, value in sorted(flat(parts.get("params", {}).get(str(PARAMS), {})).items()):
            for where, found in (("settings.yaml", stated), ("its card", card)):
                if key in found and found[key] != value:
                    wrong.append(f"{stage} ran with {key}: {value}, {where} has {found[key]}")
    return wrong


def _undeclared() -> list[str]:
    """Code of this folder whose change nobody declared (``s3dnerf code``); a folder without code has none."""
    from stages.code_lock import changes, read_code, read_versions
    from stages.code_lock import read_lock as read_code_lock

    if not Path("stages/code.lock").is_file():
        return []
    found = changes(read_code(HERE.resolve()), read_code_lock(HERE.resolve()), read_versions(HERE.resolve()))
    return [f"{change.part} changed and its version did not: {', '.join(change.files)}" for change in found]


def against_code(
    lock: Mapping[str, Any], where: str, read: Callable[[str], bytes | None], undeclared: Sequence[str] = ()
) -> Finding:
    """What a lock names besides data, code, lists and versions, is what lies in ``where``, as ``read`` gives it; and no
    code changed ``undeclared``.
    """
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
    return finding("code", wrong + list(undeclared), f"{len(files) + len(held)} files as in {where}")


def _here(path: str) -> bytes | None:
    return Path(path).read_bytes() if Path(path).is_file() else None


def run_verify(
    revision: str,
    folder: Path,
    without_data: bool,
    signers: Sequence[Path] = (),
    pulled: bool = False,
    measure: int = 0,
) -> list[Finding]:
    """Every rule over the report in ``folder`` and the repository around it. Raises ReportError where there is no
    report or revision, and where ``pulled`` data cannot be had.

    Parameters
    ----------
    signers : public keys, one of which must have signed the report; none: a signature is looked at where there is one
    pulled : ``dvc pull`` what is not here first
    measure : how many test clips to measure again

    The report holds the settings and the lock that it was made with; those of the repository are held against them
    where they are of the same preset, else those committed together with the report.
    """
    if not is_revision(revision):
        raise ReportError(f"{revision}: no such revision in this repository{shallow_hint(HERE)}")
    report = folder_report(folder, None if without_data else HERE)
    if pulled:
        pull(report)
    params = _yaml(_here(str(PARAMS)))

    def settings_of_it() -> tuple[str, Any]:
        where, given = kept_with(report, folder, revision, PARAMS, params or {})
        nowhere = f"settings.yaml (no commit has a params.yaml of it{shallow_hint(HERE)})"
        return (where, given) if where else (nowhere, report.settings)

    def in_force() -> bool:
        return bool((params or {}).get("preset") == report.document["preset"])

    def code() -> Finding:
        if in_force():
            return against_code(report.lock, "this folder", _here, _undeclared())
        made = str(report.document["origin"]["git"].get("revision"))
        return against_code(report.lock, f"commit {made[:12]}", lambda path: git_bytes(made, path))

    rules: list[tuple[str, Callable[[], Finding]]] = [
        ("revision", lambda: from_revision(report, revision)),
        ("lock", lambda: against_lock(report, *kept_with(report, folder, revision, LOCK, params or {}))),
        ("code", code),
    ]
    rules += [("packages", lambda: pinned_packages(report)), ("made by", lambda: made_by(report, revision))]
    if signers or SIGNATURE in report.files:
        rules.append(("signature", lambda: signed_by(report, signers)))
    if not without_data:
        rules += [
            ("data", lambda: against_data(report)),
            ("networks", lambda: networks(report)),
            ("made again", lambda: made_again(report, in_force())),
        ]
        if measure:
            rules.append(("measured again", lambda: measured_again(report, measure, in_force())))
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


def verify_command(
    revision: str,
    folder: Path,
    without_data: bool,
    signers: Sequence[Path] = (),
    pulled: bool = False,
    measure: int = 0,
) -> int:
    """Print one line a rule, and what was not looked at; exit status 1 when one fails."""
    found = run_verify(revision, folder, without_data, signers, pulled, measure)
    for answer in found:
        print(answer)
    if without_data:
        print(
            "NOT RUN  data, networks, made again: --without-data: numbers, tables and pictures that were all changed "
            "alike are found by these alone"
        )
    elif not measure:
        print(
            "NOT RUN  measured again: numbers in data, locks and report all made anew to fit each other are found by "
            "--measure N, which measures N clips again, or by a signature"
        )
    if not signers:
        print(
            "NOT RUN  signature: no --signer: times and machines that were all rewritten alike, data included, are "
            "found by a signature alone"
        )
    failed = sum(not f.passed for f in found)
    partly = [answer.rule for answer in found if answer.passed and answer.unchecked]
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


def sign_command(folder: Path, revision: str, key: Path | None) -> int:
    """Sign a report that every rule holds for; exit status 1, and no signature, where one fails."""
    loaded = private_key(key)
    failed = [answer for answer in run_verify(revision, folder, False) if not answer.passed]
    failed = [answer for answer in failed if answer.rule != "signature"]  # it is replaced
    if failed:
        print("\n".join(map(str, failed)))
        print(f"{folder}: not signed: {len(failed)} rules fail")
        return 1
    print(f"signed: {sign(folder, loaded)}; commit it with the report")
    return 0


def audit_command(
    action: str,
    names: tuple[str, ...],
    folder: Path,
    preset: str,
    force: bool = False,
    without_data: bool = False,
    out: Path | None = None,
    signer: Sequence[Path] = (),
    pulled: bool = False,
    key: Path | None = None,
    measure: int = 0,
) -> int:
    """``verify [REV]``, ``compare A B``, ``sign [REV]`` or ``key FILE``. Raises SettingsError for another number of
    names.
    """
    if action in ("verify", "sign"):
        if len(names) > 1:
            raise SettingsError(f"audit {action}: got {' '.join(names)} — accepted: one revision, or none for HEAD")
        revision = names[0] if names else "HEAD"
        if action == "sign":
            return sign_command(folder, revision, key)
        return verify_command(revision, folder, without_data, signer_files(signer), pulled, measure)
    if action == "key":
        if len(names) != 1:
            raise SettingsError("audit key: expected the name of the new key's file: s3dnerf audit key KEY.pem")
        private, public = make_keys(Path(names[0]))
        print(f"{private}: keep it to yourself, outside of the repository\n{public}: give it to auditors")
        return 0
    if len(names) != 2:
        raise SettingsError(
            "audit compare: expected two reports, each a folder or a git revision: s3dnerf audit compare A B"
        )
    return compare_command(names[0], names[1], preset, force, out)
