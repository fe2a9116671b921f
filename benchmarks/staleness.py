"""What a change makes stale: which stages run, packs made and training steps done, for ten changes at preset ``tiny``.

    python -m benchmarks.staleness [--before REVISION]

Each change is made in a project that is up to date, then ``dvc repro``. ``--before`` does the same with the code of a
git revision (21e76c8: the last one whose stages depended on code files), so that both stand beside each other. Works in
a temporary folder; writes benchmarks/results/staleness.json and prints the table. Minutes: counts, not times.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.record import origin, write
from flows.code_copies import clean_environment, copy_revision, copy_working_tree, without_results
from s3dnerf.core.yaml_text import dump_yaml, load_yaml

ROOT = Path(__file__).resolve().parent.parent
SETTINGS_FILES = ("s3dnerf/settings/schema.py", "s3dnerf/config.py")
CHECKING_FILES = ("s3dnerf/settings/checking.py", "s3dnerf/typed_settings.py")


class Project:
    """A copy of the code, up to date at ``tiny``, with the sample's raw files as somebody's own raw folder."""

    def __init__(self, folder: Path, revision: str | None) -> None:
        self.folder, self.versioned = folder, False
        folder.mkdir(parents=True)
        if revision:
            copy_revision(ROOT, folder, revision)
        else:
            copy_working_tree(ROOT, folder)
        self.versioned = (folder / "stages/code.lock").is_file()
        without_results(folder)
        self.run(sys.executable, "-m", "flows.cli", "preset", "tiny")
        self.repro("sample")
        shutil.copytree(folder / "data/tiny/sample/raw", folder / "raw")
        self.settings(sample={"enabled": False}, ingest={"hdtf_test_speakers": ["Ames", "Boone"]})
        self.raw("raw")
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=x", "-c", "user.email=x@x.invalid", "commit", "-qm", "tiny")
        self.repro()

    def run(self, *command: str) -> str:
        """A command in the project; what it printed. Raises RuntimeError with it when it fails."""
        environment = clean_environment(S3DNERF_RUNNER="inline", S3DNERF_TRACKING="off")
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-3000:]}")
        return done.stdout + done.stderr

    def repro(self, *stages: str) -> str:
        return self.run(sys.executable, "-m", "dvc", "repro", *stages)

    def edit(self, files: tuple[str, ...], before: str, after: str) -> None:
        """Replace a text in the first of these files that there is."""
        path = next(self.folder / file for file in files if (self.folder / file).is_file())
        text = path.read_text(encoding="utf-8")
        if before not in text:
            raise ValueError(f"{path}: expected {before!r}")
        path.write_text(text.replace(before, after, 1), encoding="utf-8")

    def settings(self, **sections: dict[str, Any]) -> None:
        path = self.folder / "params.yaml"
        values = load_yaml(path.read_bytes())
        for section, fields in sections.items():
            values.setdefault(section, {}).update(fields)
        path.write_text(dump_yaml(values), encoding="utf-8")

    def raw(self, folder: str) -> None:
        """Say where the raw folders lie: in local.yaml, or (before that) in params.yaml."""
        raw = {name: f"{folder}/{name.upper()}" for name in ("hdtf", "lrs2", "mead")}
        if self.versioned:
            (self.folder / "local.yaml").write_text(dump_yaml({"tiny": {"raw": raw}}))
        else:
            self.settings(raw=raw)

    def said(self, what: str, part: str = "") -> None:
        """Say bump or keep of what changed; nothing where versions are not known."""
        if self.versioned:
            self.run(sys.executable, "-m", "flows.cli", "code", what, *([part] if part else []))


def comment(project: Project) -> None:
    project.edit(SETTINGS_FILES, '"""Typed settings', '"""The typed settings')


def neutral(project: Project) -> None:
    project.edit(CHECKING_FILES, "no such setting — ", "there is no such setting — ")
    project.said("keep")


def masks_changed(project: Project) -> None:
    project.edit(("stages/masks.py",), "LARGEST_ERROR_PX = 8.0", "LARGEST_ERROR_PX = 8.5")
    project.said("bump", "masks")


def insightface_changed(project: Project) -> None:
    path = project.folder / "s3dnerf/faces/insightface_backend.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n\nADDED = 1\n", encoding="utf-8")
    project.said("bump", "backends.insightface")


def variant_added(project: Project) -> None:
    project.settings(train={"variants": ["full", "naive"]})


def judge_seed(project: Project) -> None:
    project.settings(sync={"judge_seed": 7})


def checkpoint_every(project: Project) -> None:
    project.settings(train={"checkpoint_every": 3, "strip_every": 3})


def person_moved(project: Project) -> None:
    project.settings(ingest={"hdtf_test_speakers": ["Ames"]})


def raw_moved(project: Project) -> None:
    (project.folder / "raw").rename(project.folder / "moved")
    project.raw("moved")


def learning_rate(project: Project) -> None:
    project.settings(train={"lr_generator": 0.002})


CHANGES: dict[str, Callable[[Project], None]] = {
    "a docstring in the settings": comment,
    "an error message of the settings' checking (kept)": neutral,
    "code of masks (bumped)": masks_changed,
    "code of the insightface backend, dlib in force (bumped)": insightface_changed,
    "a variant added to train.variants": variant_added,
    "sync.judge_seed": judge_seed,
    "train.checkpoint_every and strip_every": checkpoint_every,
    "a person from test to train": person_moved,
    "the raw folder moved": raw_moved,
    "train.lr_generator": learning_rate,
}


def measured(project: Project, change: Callable[[Project], None]) -> dict[str, Any]:
    """Make a change, reproduce, and read off what was done."""
    change(project)
    printed = project.repro()
    ran = [name for name in re.findall(r"^Running stage '([^']+)'", printed, re.MULTILINE)]
    packs = sum(int(n) for n in re.findall(r"from the store, (\d+) to make", printed))
    steps = sum(int(b) - int(a) for a, b in re.findall(r"steps (\d+)…(\d+)", printed))
    return {"stages": [name for name in ran if name not in ("check", "inventory")], "packs": packs, "steps": steps}


def main() -> None:
    """Measure the code as it is, and that of a revision where one is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--before", help="a git revision to stand beside")
    given = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="s3dnerf-staleness-") as work:
        for label, revision in (("before", given.before), ("now", None)):
            if label == "before" and not revision:
                continue
            project = Project(Path(work) / label, revision)
            result[label] = {name: measured(project, change) for name, change in CHANGES.items()}
    command = "python -m benchmarks.staleness" + (f" --before {given.before}" if given.before else "")
    write("staleness", {**origin(command, "git", "hardware"), "before_revision": given.before, **result})
    for name in CHANGES:
        for label, rows in result.items():
            if isinstance(rows, dict):
                row = rows[name]
                what = f"{len(row['stages'])} stages, {row['packs']} packs, {row['steps']} steps"
                print(f"{name:<56} {label:<7} {what}: {', '.join(row['stages']) or 'nothing'}")


if __name__ == "__main__":
    main()
