"""Consistent forgeries of a finished report at preset tiny: what somebody would do who knows every file of it.

Works in the current folder, a project after ``dvc repro`` and a commit. Most change the data, have the report made of
that with all its tables, pages and hashes, and put the data back; others rewrite each file of the report alike.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flows.audit import folder_report
from s3dnerf.core.yaml_text import dump_yaml, load_yaml
from s3dnerf.evaluation.feature_files import features_bytes
from s3dnerf.reporting.document import manifest
from s3dnerf.reporting.report_files import MANIFEST
from s3dnerf.settings.loading import experiment, load_settings, settings_from
from stages.context import Context
from stages.report import report_files

DATA, FOLDER = Path("data/tiny"), Path("reports/tiny")
CLIPS = DATA / "evaluate/clips.parquet"
CARD = DATA / "train_s3dnerf/full/card.json"


def git(*words: str) -> str:
    who = ["-c", "user.name=forger", "-c", "user.email=forger@test.invalid"]
    return subprocess.run(["git", *who, *words], capture_output=True, text=True, check=True).stdout.strip()


def written(path: Path, data: bytes) -> None:
    """In the place of a file that may share its bytes with DVC's cache."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


@contextlib.contextmanager
def put_back() -> Iterator[None]:
    """Data as it was, after the block changed some."""
    before = {path: path.read_bytes() for path in DATA.rglob("*") if path.is_file()}
    yield
    for path in [path for path in DATA.rglob("*") if path.is_file() and path not in before]:
        path.unlink()
    for path, data in before.items():
        if not path.is_file() or path.read_bytes() != data:
            written(path, data)


def write_report(files: dict[str, bytes]) -> None:
    files = {name: data for name, data in files.items() if name != MANIFEST}
    for name, data in (files | {MANIFEST: manifest(files).encode()}).items():
        written(FOLDER / name, data)


def report_of(settings: dict[str, Any] | None = None, lock: dict[str, Any] | None = None, **origin: Any) -> None:
    """The whole report of the data as it is, with what the honest one says of its origin, but for what is given."""
    honest = folder_report(FOLDER, Path())
    known = {**honest.document["origin"], **origin, "lock": lock or honest.lock}
    made_with = replace(settings_from(settings or honest.document["settings"]), raw=load_settings().raw)
    write_report(
        report_files(Context(made_with, "report", provenance=known), json.loads(honest.files["timings.json"]))[0]
    )


def of_changed_data(change: Callable[[], None]) -> Callable[[], None]:
    """A report of data that somebody changed, and changed back."""

    def forge() -> None:
        with put_back():
            change()
            report_of()

    return forge


def rows(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[], None]:
    """Another table of measurements."""

    def forge() -> None:
        table = change(pd.read_parquet(CLIPS))
        CLIPS.unlink()
        table.to_parquet(CLIPS, index=False)

    return of_changed_data(forge)


def scaled(method: str, factor: float, *metrics: str) -> Callable[[], None]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[(table.method == method) & table.metric.isin(metrics), "value"] *= factor
        return table

    return rows(change)


def json_file(path: Path, change: Callable[[dict[str, Any]], object]) -> Callable[[], None]:
    def forge() -> None:
        value = json.loads(path.read_text())
        change(value)
        written(path, json.dumps(value).encode())

    return of_changed_data(forge)


def in_every_file(before: str, after: str, *names: str) -> Callable[[], None]:
    """The report's text files, all of them or those named, with some words replaced."""

    def forge() -> None:
        files = folder_report(FOLDER).files
        found = False
        for name in names or [n for n in files if not n.endswith(".parquet")]:
            found = found or before.encode() in files[name]
            files[name] = files[name].replace(before.encode(), after.encode())
        assert found, before
        write_report(files)

    return forge


def document(change: Callable[[dict[str, Any]], object]) -> Callable[[], None]:
    """report.json alone."""

    def forge() -> None:
        files = folder_report(FOLDER).files
        value = json.loads(files["report.json"])
        change(value)
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        write_report(files | {"report.json": text.encode()})

    return forge


def moved_person() -> None:
    """Somebody whom the generator was trained on is measured, and every list says that they were held out."""
    path = DATA / "ingest/hdtf/clips.parquet"
    table = pd.read_parquet(path)
    table.loc[table.speaker == json.loads(CARD.read_text())["speakers"][0], "split"] = "test"
    path.unlink()
    table.to_parquet(path, index=False)


def no_exclusions() -> None:
    for path in DATA.glob("ingest/*/excluded.parquet"):
        table = pd.read_parquet(path)
        path.unlink()
        table.iloc[:0].to_parquet(path, index=False)


def another_picture() -> None:
    """The picture of one clip is another clip's."""
    one, other = (
        sorted((DATA / "evaluate/pictures").glob("*0.png"))[0],
        sorted((DATA / "evaluate/pictures").glob("*1.png"))[0],
    )
    written(one, other.read_bytes())


def invented_features() -> None:
    """Features that nobody measured, of which ours are nearer to the truth than any control's."""
    random, features = np.random.default_rng(0), {}
    table = pd.read_parquet(CLIPS)
    for clip in sorted(set(table["clip"])):
        truth = random.normal(0, 1, (3, 256))
        for method, by in (("truth", 0.0), ("s3dnerf", 0.01), ("wrong_speech", 0.5), ("still", 1.0)):
            features[clip, method, "alexnet"] = truth + by
    written(DATA / "evaluate/features.safetensors", features_bytes(features))


def smoother_curves() -> None:
    path = CARD.parent / "curves.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    written(path, "".join(json.dumps(row | {"total": row["total"] / 2}) + "\n" for row in lines).encode())


def more_steps() -> None:
    """Trained for longer: in the settings, the lock and the report alike."""
    lock, params = load_yaml(Path("dvc.lock").read_bytes()), load_yaml(Path("params.yaml").read_bytes())
    lock["stages"]["train_s3dnerf@full"]["params"]["params.yaml"]["train.steps"] = 400000
    params["train"]["steps"] = 400000
    written(Path("params.yaml"), dump_yaml(params).encode())
    written(Path("dvc.lock"), dump_yaml(lock).encode())
    ours = folder_report(FOLDER).lock
    ours["stages"]["train_s3dnerf@full"]["params"]["params.yaml"]["train.steps"] = 400000
    report_of(experiment(settings_from(params)), ours)


def other_data() -> None:
    """Data, lock and report of another run, in the place of what ``dvc.lock`` names."""
    with put_back():
        table = pd.read_parquet(CLIPS)
        CLIPS.unlink()
        table.assign(value=table.value * 0.9).to_parquet(CLIPS, index=False)
        ours = folder_report(FOLDER).lock
        outs = {name: {o["path"]: o["md5"] for o in stage["outs"]} for name, stage in ours["stages"].items()}
        outs["evaluate"]["data/tiny/evaluate"] = "0" * 32 + ".dir"
        report_of(dvc_lock={n: {p: m for p, m in o.items() if "/keys/" not in p} for n, o in outs.items()})


def old_report() -> None:
    """The report of an earlier commit, whose data was other."""
    lock = load_yaml(Path("dvc.lock").read_bytes())
    lock["stages"]["evaluate"]["outs"][0]["md5"] = "f" * 32 + ".dir"
    written(Path("dvc.lock"), dump_yaml(lock).encode())


def changed_metric() -> None:
    """A metric's code computes something else under the version that it had."""
    path = Path("s3dnerf/metrics/lmd.py")
    written(path, path.read_bytes() + b"\nSLACK = 0.7\n")


def forged_membership() -> None:
    """Membership under DVC and in the report alike, one row fewer."""
    with put_back():
        path = DATA / "inventory/files.parquet"
        table = pd.read_parquet(path)
        path.unlink()
        table.iloc[1:].to_parquet(path, index=False)
        report_of()


def first_commit() -> str:
    return git("rev-list", "--max-parents=0", "HEAD")


def of_the_first_commit() -> None:
    """Said to be made before anything of it was trained."""
    report_of(git={"revision": first_commit(), "dirty": False})


def folder_md5(folder: Path) -> str:
    """A folder's hash as DVC has it."""
    names = sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.relative_to(folder).parts)
    entries = [
        {"md5": hashlib.md5(p.read_bytes()).hexdigest(), "relpath": p.relative_to(folder).as_posix()} for p in names
    ]
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode()).hexdigest() + ".dir"


def all_alike() -> None:
    """Better numbers in the data, both locks and the whole report. The data stays changed."""
    table = pd.read_parquet(CLIPS)
    table.loc[(table.method == "s3dnerf") & (table.metric == "m_lmd"), "value"] *= 0.7
    CLIPS.unlink()
    table.to_parquet(CLIPS, index=False)
    md5, lock, ours = folder_md5(CLIPS.parent), load_yaml(Path("dvc.lock").read_bytes()), folder_report(FOLDER).lock
    for stages in (lock["stages"], ours["stages"]):
        for stage in stages.values():
            for entry in [*stage.get("outs", []), *stage.get("deps", [])]:
                if entry["path"] == CLIPS.parent.as_posix():
                    entry["md5"] = md5
    written(Path("dvc.lock"), dump_yaml(lock).encode())
    stated = folder_report(FOLDER).document["origin"]["dvc_lock"]
    stated["evaluate"][CLIPS.parent.as_posix()] = md5
    report_of(lock=ours, dvc_lock=stated)


@dataclass(frozen=True)
class Forgery:
    """``rules``: those of which one at least must find it. ``forge`` changes the working copy, which is then committed."""

    name: str
    rules: set[str]
    forge: Callable[[], None]


def _better_gate(card: dict[str, Any]) -> None:
    card["held_out"]["accuracy"] = 0.97


def _machine(value: dict[str, Any]) -> None:
    for part in value["made"].values():
        for by in part["by"]:
            by["machines"][0]["gpu"] = ["NVIDIA H100"]


def _date(value: dict[str, Any]) -> None:
    for part in value["made"].values():
        for by in part["by"]:
            by["date"] = "2020-01-01"


AGAIN = {"made again"}
FORGERIES = [
    Forgery("our mouth and face distances times 0.7", AGAIN, scaled("s3dnerf", 0.7, "m_lmd", "f_lmd")),
    Forgery("still, the control, made worse", AGAIN, scaled("still", 1.5, "m_lmd", "f_lmd")),
    Forgery("wrong speech made worse", AGAIN, scaled("wrong_speech", 1.5, "m_lmd")),
    Forgery("SSIM a little better", AGAIN, scaled("s3dnerf", 1.01, "ssim")),
    Forgery("the truth less sharp", AGAIN, scaled("truth", 0.8, "cpbd")),
    Forgery("a clip that failed dropped", AGAIN, rows(lambda t: t[t["clip"] != min(t["clip"])])),
    Forgery("a metric dropped", AGAIN, rows(lambda t: t[t.metric != "identity"])),
    Forgery("two speakers made of one", AGAIN, rows(lambda t: t.assign(speaker=t["clip"]))),
    Forgery("reasons of missing values taken out", AGAIN, rows(lambda t: t.assign(reason="", failed=0))),
    Forgery("a person moved from train to test", AGAIN, of_changed_data(moved_person)),
    Forgery("exclusions taken out", AGAIN, of_changed_data(no_exclusions)),
    Forgery("a raw file never seen", AGAIN, forged_membership),
    Forgery("a picture of another clip", AGAIN, of_changed_data(another_picture)),
    Forgery("the truth's mouth as ours", AGAIN, json_file(
        DATA / "evaluate/mouth.json", lambda v: [c.update(s3dnerf=c["truth"]) for c in v.values()])),
    Forgery("wrong speech from the same person", AGAIN, json_file(
        DATA / "evaluate/methods.json", lambda v: v["wrong_speech"].clear())),
    Forgery("more steps on the card", AGAIN, json_file(CARD, lambda card: card.update(steps=400000))),
    Forgery("an expert that passed", AGAIN, json_file(DATA / "train_sync/expert/card.json", _better_gate)),
    Forgery("a perceptual loss with real weights", AGAIN, json_file(
        CARD, lambda card: card["perceptual"].update(name="vgg19", real=True))),
    Forgery("whole-corpus distances invented", AGAIN, of_changed_data(invented_features)),
    Forgery("a distance's reason rewritten", AGAIN, document(
        lambda v: v["distances"]["not_measured"].update(fvd_i3d="not asked for"))),
    Forgery("smoother curves", AGAIN, of_changed_data(smoother_curves)),
    Forgery("more steps in settings and locks", {"lock", "code", "made again"}, more_steps),
    Forgery("other packages", {"packages"}, lambda: report_of(
        packages=folder_report(FOLDER).document["origin"]["packages"] | {"torch": "2.99.0"})),
    Forgery("another requirements.lock", {"packages"}, lambda: report_of(lock_sha256="0" * 64)),
    Forgery("a GPU in the records", AGAIN, document(_machine)),
    Forgery("another machine in every file", AGAIN, in_every_file('"cores": 2,', '"cores": 512,', "report.json")),
    Forgery("another day of the training", AGAIN, document(_date)),
    Forgery("another seed", AGAIN, document(lambda v: v["determinism"]["seeds"].update(generator=7))),
    Forgery("a warning taken out", AGAIN, document(lambda v: v["says"].pop(0))),
    Forgery("replacements said to be real", AGAIN, in_every_file("replacement", "real")),
    Forgery("a word in the page alone", AGAIN, in_every_file("no difference shown", "much better", "index.html")),
    Forgery("a word in report.md alone", AGAIN, in_every_file("no difference shown", "much better", "report.md")),
    Forgery("a word in the model card", AGAIN, in_every_file("no difference shown", "much better", "MODEL_CARD.md")),
    Forgery("made on the first commit", {"made by"}, of_the_first_commit),
    Forgery("a report of other data", {"lock"}, other_data),
    Forgery("an old report under a new revision", {"lock"}, old_report),
    Forgery("a metric's code changed, its version kept", {"code"}, changed_metric),
]  # fmt: skip
