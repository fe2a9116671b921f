"""A command that lacks a package names the extra that brings it."""

from __future__ import annotations

import pytest

from flows import extras
from flows.extras import missing_package, require_module


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("gradio.themes", "serve"),
        ("yt_dlp", "fetch"),
        ("dvc", "pipeline"),
        ("decord", "pipeline"),
        ("submitit", "slurm"),
    ],
)
def test_the_extra_is_named(module: str, extra: str) -> None:
    said = str(missing_package(ModuleNotFoundError(module, name=module)))
    assert said.startswith(f"needs {module.partition('.')[0]}, which is not installed: pip install 's3dnerf[{extra}]'")


def test_a_module_of_ours_is_a_fault_and_no_missing_package() -> None:
    assert missing_package(ModuleNotFoundError("flows.gone", name="flows.gone")) is None
    assert missing_package(ModuleNotFoundError("somewhere")) is None


def test_every_extra_of_the_package_is_known() -> None:
    known = extras.extras_of_package()
    assert {"pipeline", "serve", "photos", "fetch", "slurm"} <= set(known) and "dvc" in known["pipeline"]


def test_what_is_there_is_not_missed() -> None:
    require_module("json")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        require_module("no_such_module")
