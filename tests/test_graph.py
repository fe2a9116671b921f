"""The whole graph at ``tiny`` through a real ``dvc repro``: a first run, a second one with nothing to do, one made again
elsewhere, tampering, experiments.

Each project is a copy of this repository in a folder of its own. Hashes are DVC's, from ``dvc.lock``; the report's own
out is left out of comparisons, since it says when and on what revision it was made, but its ``summary.json`` and
``clips.parquet`` are in.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from s3dnerf.core.yaml_text import read_mapping
from s3dnerf.reporting.report_files import Finding
from s3dnerf.settings.loading import load_settings, preset_settings
from s3dnerf.video.decoder import close_decoders
from s3dnerf.video.packs import PACK_STAGES
from tests.flows import prefect_records as records
from tests.project import Project
from tests.remembered import remember_what_reports_share
from tests.settings_reads import reads, recording

ALARMING = ("Traceback", "ERROR", "Error:", "Exception", "Warning", "WARNING", "CRITICAL", "deprecat")

QUICK = {"S3DNERF_RUNNER": "inline", "S3DNERF_TRACKING": "off"}

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project as a newcomer has it after their first ``dvc repro`` of the preset tiny, and what that printed."""
    project = Project(tmp_path_factory.mktemp("first"))
    project.settings()
    project.commit("tiny")
    return project, project.repro(**recording(project.folder.parent / "recorded"))


def test_a_first_run_goes_from_raw_video_to_a_report(first: tuple[Project, str]) -> None:
    project, said = first
    assert not [line for line in said.splitlines() if any(word in line for word in ALARMING)], said
    assert project.quiet(), project.processes()
    reports = project.folder / "reports/tiny"
    for name in ("index.html", "summary.json", "report.json", "clips.parquet", "membership.parquet", "report.md"):
        assert (reports / name).stat().st_size > 0
    whole = project.folder / "data/tiny/report/membership.parquet"
    assert whole.read_bytes() == (reports / "membership.parquet").read_bytes()
    outs = read_mapping(project.folder / "dvc.lock")["stages"]["report"]["outs"]
    assert [out["path"] for out in outs] == ["data/tiny/report/membership.parquet", "reports/tiny"]
    rows = pd.read_parquet(reports / "clips.parquet")
    measured = rows[rows["value"].notna()]
    for method in ("s3dnerf", "still", "wrong_speech"):
        assert {"m_lmd", "f_lmd", "ssim"} <= set(measured[measured["method"].str.startswith(method)]["metric"]), method


def test_a_stage_reads_no_setting_that_dvc_yaml_does_not_list(first: tuple[Project, str]) -> None:
    """Whatever a stage reads and does not list could change without making it stale."""
    from stages.stage_fields import STAGE_FIELDS

    found = reads(first[0].folder.parent / "recorded")
    # not the experiment's: where this machine's raw folders lie; how often a run saves its state and draws pictures
    free = {"train.checkpoint_every", "train.strip_every", "sync.checkpoint_every"}
    # read from the card of a network that is a dep, not from params.yaml; and what chooses among the versions that
    # dvc.yaml lists for evaluate
    of_cards = {"train_s3dnerf": ("sync.",), "evaluate": ("sync.", "model.", "masks.backend", "speech.backend")}
    assert {"align", "masks", "train_sync_expert", "train_s3dnerf", "evaluate"} <= set(found)
    for stage, names in found.items():
        if stage in ("inventory", "check", "report"):  # always run; quotes every setting
            continue
        listed = set(STAGE_FIELDS[stage]) | free
        unlisted = {n for n in names - listed if not n.startswith(("raw.", *of_cards.get(stage, ())))}
        assert not unlisted, (stage, unlisted)


def test_a_second_run_has_nothing_to_do(first: tuple[Project, str]) -> None:
    project, _ = first
    before = project.hashes()
    said = project.repro()
    ran = [line for line in said.splitlines() if line.startswith("Running stage")]
    assert ran == ["Running stage 'check':", "Running stage 'inventory':"], said
    assert project.hashes() == before
    assert project.quiet()


def test_the_store_s_clean_up_leaves_what_the_graph_would_take(first: tuple[Project, str]) -> None:
    project, _ = first

    def store(*words: str) -> str:
        command = [sys.executable, "-m", "flows.cli", "store", *words]
        done = subprocess.run(command, cwd=project.folder, env=project.environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = store()
    assert "planned" in said and not any(word in said for word in ("unused", "undecided", "half-made")), said
    half = project.folder / ".packs/align/0123"
    half.mkdir()
    (half / "pack.tar").write_bytes(b"a killed run")
    before = sorted(project.folder.glob(".packs/*/*")), sorted(project.folder.glob(".checkpoints/*/*"))
    assert "1 removed, 12 bytes freed" in store("--collect")
    assert [path for path in before[0] if not path.exists()] == [half] and all(path.exists() for path in before[1])


EDITS = {  # file, text, what it becomes
    "a docstring": ("s3dnerf/settings/schema.py", '"""Typed settings', '"""The typed settings'),
    "a comment": ("stages/masks.py", "LARGEST_ERROR_PX = 8.0", "# measured\nLARGEST_ERROR_PX = 8.0"),
    "an annotation of an argument": ("stages/lips.py", "size_px: int)", "size_px: float)"),
    "a return annotation": ("s3dnerf/video/packs.py", "def file_sha256(path: str | Path) -> str:", "def file_sha256(path: Path) -> Any:"),
    "formatting": ("s3dnerf/sync/offsets.py", "import torch\n", "import torch\n\n\n"),
    "an unused import of a type": ("s3dnerf/model/triplane.py", "import torch\n", "from typing import Any\n\nimport torch\n"),
}  # fmt: skip
CHANGES = {  # what runs: the part of the code and the file that the message must name
    "a constant": ("stages/masks.py", "LARGEST_ERROR_PX = 8.0", "LARGEST_ERROR_PX = 8.5", "masks"),
    "a shared module": ("s3dnerf/video/packs.py", "COPY_BYTES = 1 << 20", "COPY_BYTES = 1 << 21", "clip_packs"),
    "a backend that is not in force": ("s3dnerf/faces/insightface_backend.py", "import numpy as np\n", "import numpy as np\n\nADDED = 1\n", "backends.insightface"),
    "a message": ("s3dnerf/settings/checking.py", "no such setting", "there is no such setting", "framework"),
}  # fmt: skip


def edit(project: Project, file: str, before: str, after: str) -> None:
    text = (project.folder / file).read_text()
    assert before in text, (file, before)
    (project.folder / file).write_text(text.replace(before, after, 1))


def ran(said: str) -> list[str]:
    return [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]


def test_only_code_that_runs_stops_a_run_and_only_a_bump_makes_anything_again(first: tuple[Project, str]) -> None:
    project = first[0]

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *words], cwd=project.folder, env=project.environment(**QUICK), capture_output=True, text=True
        )  # fmt: skip

    before = project.hashes()
    for file, old, new in EDITS.values():
        edit(project, file, old, new)
    assert ran(project.repro(**QUICK)) == ["check", "inventory"]
    for what, (file, old, new, part) in CHANGES.items():
        edit(project, file, old, new)
        stopped = command("dvc", "repro") if what == "a constant" else command("flows.run", "check")
        said = stopped.stdout + stopped.stderr
        assert stopped.returncode and f"  {part} (stages " in said and file in said, (what, said)
        assert f"s3dnerf code bump {part}" in said and f"s3dnerf code keep {part}" in said
        if what == "a constant":
            assert ran(said) == ["check"]
        edit(project, file, new, old)
    edit(project, *CHANGES["a backend that is not in force"][:3])
    assert command("flows.cli", "code", "bump").returncode == 0  # tiny uses dlib: nothing of it is stale
    assert ran(project.repro(**QUICK)) == ["check", "inventory"]
    edit(project, *CHANGES["a message"][:3])
    assert command("flows.cli", "code", "keep").returncode == 0
    assert ran(project.repro(**QUICK)) == ["check", "inventory"] and project.hashes() == before
    edit(project, *CHANGES["a constant"][:3])
    assert command("flows.cli", "code", "bump").returncode == 0
    assert ran(project.repro(**QUICK)) == ["check", "inventory", "masks"]  # the same bytes: what follows it stays
    assert project.hashes() == before
    subprocess.run(["git", "checkout", "-q", "--", "s3dnerf", "stages", "dvc.yaml"], cwd=project.folder, check=True)
    assert ran(project.repro(**QUICK)) == ["check", "inventory"]  # DVC has run masks at that version before
    assert project.hashes() == before


def test_stages_are_flow_runs_below_one_run_of_their_dvc(first: tuple[Project, str]) -> None:
    from flows.run import STAGES

    folder = first[0].folder
    runs = records.flow_runs(folder)
    parent = next(run for run in runs if run["flow"] == "dvc")
    stages = [run for run in runs if run["parent"] == parent["id"]]
    assert (parent["name"], parent["state"]) == ("dvc repro", "COMPLETED")
    assert {run["flow"] for run in stages} == set(STAGES) - {"check"}
    assert {run["state"] for run in stages} == {"COMPLETED"}
    assert all(run["tags"][:2] == ["preset:tiny", f"stage:{run['flow']}"] for run in stages)
    assert {len(run["tags"][2].removeprefix("git:")) for run in stages} == {12}
    links = [task for task in records.task_runs(folder) if task["state"] == "COMPLETED"]
    assert len(links) >= len(stages) and len(records.task_runs(folder)) == sum(
        run["parent"] is not None for run in runs
    )
    assert any(" packs, 0 from the store" in line for line in records.log_lines(folder, "align"))
    assert any("step" in line for line in records.log_lines(folder, "train_s3dnerf"))
    shown = records.artifacts(folder, "align")
    assert shown["tiny-align-progress"] == 100 and "| hdtf |" in shown["tiny-align-numbers"]
    rows = json.loads(records.artifacts(folder, "ingest")["tiny-ingest-quarantine"])
    assert {"corpus", "stage", "reason", "clips", "examples"} == set(rows[0])


def test_curves_and_settings_are_in_mlflow(first: tuple[Project, str]) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{first[0].folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {"train_sync expert", "train_sync judge", "train_s3dnerf full", "evaluate", "report"} <= set(runs)
    run = runs["train_s3dnerf full"]
    assert run.info.status == "FINISHED" and run.data.params["train.steps"] == "4"
    assert any(len(client.get_metric_history(run.info.run_id, name)) >= 4 for name in run.data.metrics)
    parent = runs.pop("dvc repro")
    assert {one.data.tags["mlflow.parentRunId"] for one in runs.values()} == {parent.info.run_id}
    assert parent.info.status == "FINISHED" and parent.data.tags["mlflow.source.git.dirty"] == "false"
    lock = read_mapping(first[0].folder / "dvc.lock")["stages"]["ingest"]["outs"]
    used = {given.dataset.name: given.dataset for given in run.inputs.dataset_inputs}
    assert used["ingest/hdtf"].digest == next(o["md5"] for o in lock if o["path"] == "data/tiny/ingest/hdtf")
    assert json.loads(used["ingest/hdtf"].profile)["num_rows"] > 0


def test_any_tampering_is_found_and_named_and_nothing_else_is(
    first: tuple[Project, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred times one byte of one file that a report rests on, its times kept: the audit fails and names the file."""
    from flows.audit import run_verify

    project, folder = first[0], Path("reports/tiny")
    project.commit("report")
    monkeypatch.chdir(project.folder)
    # the two that take seconds; whatever these alone find is in tests/forgeries.py
    monkeypatch.setattr("flows.audit.made_again", lambda report, in_force: Finding("made again", True, ""))
    monkeypatch.setattr("flows.audit._undeclared", list)
    assert [str(f) for f in run_verify("HEAD", folder, False) if not f.passed] == []
    data = Path("data/tiny")
    kinds = [
        folder.iterdir(),
        data.rglob("*.tar"),
        data.rglob("*.safetensors"),
        data.rglob("*.parquet"),
        [Path("dvc.lock")],
        [Path("params.yaml")],
    ]
    groups, random = [sorted(kind) for kind in kinds], np.random.default_rng(0)
    for _ in range(100):
        group = groups[random.integers(len(groups))]
        path = group[random.integers(len(group))]
        whole, state = path.read_bytes(), path.stat()
        harmed = bytearray(whole)
        harmed[random.integers(len(whole))] ^= int(random.integers(1, 256))
        path.unlink()  # it may share its bytes with DVC's cache
        path.write_bytes(harmed)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        failed = [f.detail for f in run_verify("HEAD", folder, False) if not f.passed]
        assert any(path.as_posix() in detail or path.name in detail for detail in failed), (path, failed)
        path.write_bytes(whole)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_consistent_forgeries_are_each_found_by_the_rule_that_should(
    first: tuple[Project, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from flows.audit import audit_command, run_verify
    from tests.forgeries import FORGERIES, all_alike, git, put_back

    remember_what_reports_share(monkeypatch, Path("data/tiny"))
    folder = Path("reports/tiny")
    first[0].commit("report")
    monkeypatch.chdir(first[0].folder)

    def failed(*given: object) -> dict[str, str]:
        return {f.rule: f.detail for f in run_verify("HEAD", folder, False, *given) if not f.passed}

    assert failed() == {} and len(FORGERIES) >= 25
    key, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    assert audit_command("key", (str(key),), folder, "tiny") == 0
    assert audit_command("sign", (), folder, "tiny", key=key) == 0
    git("add", "-A")
    git("commit", "-qm", "signed")
    honest = git("rev-parse", "HEAD")
    assert failed([public], False, 1) == {}
    for forgery in FORGERIES:
        forgery.forge()
        git("add", "-A")
        git("commit", "-q", "--allow-empty", "-m", forgery.name)
        found = failed([public])
        assert found.keys() & forgery.rules, (forgery.name, found)
        assert ("signature" in found) == bool(git("diff", "--name-only", honest, "HEAD", "--", "reports")), forgery.name
        git("reset", "-q", "--hard", honest)
    with put_back():  # what rules about files cannot find: only other measurements, or whoever signed, tell
        all_alike()
        (folder / "MANIFEST.signature.json").unlink()
        git("add", "-A")
        git("commit", "-qm", "all alike")
        assert failed() == {} and failed((), False, 1).keys() == {"measured again"}
        assert failed([public]).keys() == {"signature"}
    git("reset", "-q", "--hard", honest)
    assert failed([public]) == {}
    close_decoders()  # the auditor's, which work in this folder


def test_experiments_in_place_and_in_the_queue(first: tuple[Project, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``dvc exp run`` with a changed setting, here and in a folder of its own: only what depends on it runs; shown,
    compared, applied; and the report of the one applied holds before the auditor once it is committed."""
    from flows.audit import run_verify

    project = first[0]
    for name in ("name", "email"):
        subprocess.run(["git", "config", f"user.{name}", "test@test.invalid"], cwd=project.folder, check=True)
    project.commit("report")

    def dvc(*words: str) -> str:
        done = subprocess.run([sys.executable, "-m", "dvc", *words], cwd=project.folder,
                              env=project.environment(**QUICK), capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, (words, done.stdout[-4000:] + done.stderr[-4000:])
        return done.stdout + done.stderr

    def packs() -> set[Path]:
        return {path for stage in PACK_STAGES for path in project.folder.glob(f".packs/{stage}/*")}

    base = project.hashes()
    said = dvc("exp", "run", "-n", "here", "-S", "evaluate.landmark_every=1")
    assert [name for name in ran(said) if name != "check"] == ["inventory", "evaluate", "report"]
    settings, tiny = load_settings(project.folder / "params.yaml"), preset_settings("tiny")
    assert settings.evaluate == dataclasses.replace(tiny.evaluate, landmark_every=1)
    assert settings == dataclasses.replace(tiny, evaluate=settings.evaluate)
    before = packs()

    subprocess.run(["git", "checkout", "-q", "."], cwd=project.folder, check=True)
    dvc("exp", "run", "--queue", "-n", "queued", "-S", "train.steps=5")
    dvc("exp", "run", "--run-all")
    assert project.quiet(60), project.processes()
    assert packs() == before
    rows = {row["Experiment"]: row for row in csv.DictReader(io.StringIO(dvc("exp", "show", "--csv")))}
    asked = [(rows[name]["train.steps"], rows[name]["evaluate.landmark_every"]) for name in ("", "here", "queued")]
    assert asked == [("4", "2"), ("4", "1"), ("5", "2")]
    numbers = {name: float(rows[name]["m_lmd"]) for name in ("here", "queued")}
    assert numbers["here"] != numbers["queued"]

    dvc("exp", "apply", "queued")
    dvc("checkout", "--quiet")
    reports = project.folder / "reports/tiny"
    assert json.loads((reports / "metrics.json").read_text())["m_lmd"] == pytest.approx(numbers["queued"], abs=1e-5)
    changed = json.loads(dvc("metrics", "diff", "--json"))["reports/tiny/metrics.json"]
    assert "diff" in changed["m_lmd"] and "clips" not in changed
    dvc("plots", "diff", "HEAD")
    plots = (project.folder / "dvc_plots/index.html").read_text()
    for title in ("Generator losses", "accuracy on unseen speakers", "by offset", "M-LMD of each clip"):
        assert title in plots
    assert all(f'"rev": "{rev}", "field": "total"' in plots for rev in ("HEAD", "workspace"))
    project.commit("the queued one")
    monkeypatch.chdir(project.folder)
    assert [str(f) for f in run_verify("HEAD", Path("reports/tiny"), False) if not f.passed] == []
    assert project.hashes() != base


def test_what_was_trained_and_measured_is_the_same_made_again_elsewhere(
    first: tuple[Project, str], tmp_path: Path
) -> None:
    """In another folder, without Prefect and MLflow, from preprocessing that is here: to the same bytes."""
    here, there = first[0], Project(tmp_path / "there")
    for name in ("params.yaml", "dvc.lock"):
        shutil.copyfile(here.folder / name, there.folder / name)
    shutil.copytree(here.folder / ".dvc/cache", there.folder / ".dvc/cache", copy_function=os.link)
    said = there.repro("speech", "lips", "masks", **QUICK)
    assert ran(said) == ["check", "inventory"], said
    made = ["train_sync_expert", "train_sync_judge", "train_s3dnerf@full", "evaluate", "report"]
    assert ran(there.repro("--force", "--single-item", *made, **QUICK)) == made
    assert there.hashes() == here.hashes()
