"""Commands find the project above where they are typed, and paths mean what they mean there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows import cli
from flows.project_folder import GRAPH, SETTINGS, NoProject, at_project, enter_project, project_above
from s3dnerf.settings.loading import experiment, preset_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with settings, and a folder deep inside of it."""
    folder = tmp_path / "project"
    (folder / "notes" / "deep").mkdir(parents=True)
    (folder / GRAPH).touch()
    (folder / SETTINGS).write_text(yaml.safe_dump(experiment(preset_settings("tiny"))))
    return folder


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["s3dnerf", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


def command(portrait: Path, out: Path = Path("made.mp4"), motion: str = "still", model: Path | None = None) -> int:
    """What a command of ours looks like."""
    command.got = (Path.cwd(), str(portrait), str(out), motion)
    return 0


def test_the_nearest_project_above_counts_and_one_with_settings_alone_where_one_stands(project: Path) -> None:
    assert project_above(project) == project_above(project / "notes" / "deep") == project
    (project / "notes" / GRAPH).touch()  # of another tool's, without settings: not above, and yet where one stands
    assert (
        project_above(project / "notes" / "deep") == project and project_above(project / "notes") == project / "notes"
    )
    (project / "notes" / SETTINGS).touch()
    assert project_above(project / "notes" / "deep") == project / "notes"
    assert project_above(project.parent) is None


def test_paths_mean_what_they_mean_where_they_are_typed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = at_project(command, words=("motion",))
    monkeypatch.chdir(project)
    run(portrait=Path("me.jpg"), motion="still")
    assert command.got == (project, "me.jpg", "made.mp4", "still")
    here = project / "notes" / "deep"
    monkeypatch.chdir(here)
    (here / "somebody.mp4").touch()
    run(portrait=Path("../me.jpg"), out=Path("/tmp/a.mp4"), motion="somebody.mp4")
    assert command.got == (project, f"{here}/../me.jpg", "/tmp/a.mp4", f"{here}/somebody.mp4")
    monkeypatch.chdir(here)
    run(portrait=Path("me.jpg"), motion="still", out=Path("made.mp4"))
    assert command.got == (project, f"{here}/me.jpg", f"{here}/made.mp4", "still")


def test_outside_of_any_project_it_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoProject, match="no project here or in a folder above"):
        at_project(command)(portrait=Path("me.jpg"))
    at_project(command, unless="model")(portrait=Path("me.jpg"), model=Path("trained"))
    assert command.got == (tmp_path, "me.jpg", "made.mp4", "still")
    with pytest.raises(NoProject):
        at_project(command, unless="model")(portrait=Path("me.jpg"), model=None)
    assert enter_project(needed=False).project == tmp_path


@pytest.mark.parametrize("words", [["preset", "tiny"], ["report"], ["run"], ["store"], ["audit", "verify"],
                                   ["sheets"], ["retrain"]])  # fmt: skip
def test_every_command_that_needs_a_project_says_so(
    words: list[str], tmp_path: Path, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, said, wrong = typed(*words)
    assert (status, said) == (2, "")
    assert wrong.startswith(f"s3dnerf: {tmp_path}: no project here or in a folder above") and wrong.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_settings_are_switched_from_a_folder_inside_even_where_there_are_none_left(
    project: Path, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / SETTINGS).unlink()
    monkeypatch.chdir(project / "notes" / "deep")
    assert typed("preset", "mini")[0] == 0
    assert yaml.safe_load((project / SETTINGS).read_text()) == experiment(preset_settings("mini"))


def test_a_folder_inside_the_project_gets_the_projects_report(
    project: Path, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "reports" / "tiny").mkdir(parents=True)
    (project / "reports" / "tiny" / "report.json").write_text('{"lines": ["a line"]}')
    monkeypatch.chdir(project / "notes" / "deep")
    assert typed("report") == (0, f"a line\nreport: {project / 'reports/tiny/index.html'}\n", "")


def test_a_picture_beside_the_person_is_looked_for_beside_the_person(
    project: Path, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = project / "notes"
    monkeypatch.chdir(here)
    _, _, wrong = typed("evaluate", "--generated", "made", "--truth", "true")
    assert f"{here / 'made'}: no such folder" in wrong


@pytest.mark.slow
def test_a_stage_run_by_hand_finds_the_project_above(project: Path) -> None:
    settings = experiment(preset_settings("tiny"))
    settings["align"]["detect_evry"] = 3
    (project / SETTINGS).write_text(yaml.safe_dump(settings))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for folder, said in (
        (project / "notes" / "deep", "align.detect_evry: no such setting"),
        (project.parent, "no project here or in a folder above"),
    ):
        done = subprocess.run([sys.executable, "-m", "flows.run", "inventory"], cwd=folder, env=environment,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


def test_code_of_another_project_says_whose_it_is(project: Path, typed, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "flows").mkdir()
    (project / "flows" / "cli.py").touch()
    monkeypatch.chdir(project / "notes")
    _, _, wrong = typed("preset", "tiny")
    assert wrong.startswith(f"s3dnerf: this is the code of {ROOT}, at work on {project}, which has its own: ")
