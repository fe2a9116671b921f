"""The command ``s3dnerf``: what a person types.

``s3dnerf doctor`` which backends are real, which stand in, what to fetch · ``preset NAME`` switch the settings · ``run`` the graph ·
``report`` what the last report says · ``synthesize`` portrait + speech → video · ``evaluate`` score anyone's videos ·
``store`` the pack store · ``deps`` the code deps of ``dvc.yaml``.

prefect, dvc and mlflow are imported only inside the commands that need them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import tyro

from s3dnerf.config import SettingsError, as_dict, load_settings, preset_settings


def doctor(write: bool = False) -> int:
    """Say for each component which backend the settings name, whether its files are here, what stands in, where to get it.

    Args:
        write: Write into params.yaml the real backends whose files are found, and the stand-ins for the others.
    """
    from flows.doctor import run_doctor

    return run_doctor(write)


def preset(name: Annotated[str, tyro.conf.Positional]) -> int:
    """Write params.yaml from a preset: tiny, sample, mini or paper. Every value is written out.

    Args:
        name: The preset.
    """
    import yaml

    from s3dnerf.video.packs import write_atomic

    settings = as_dict(preset_settings(name))
    head = f"# Settings in force: the preset `{name}`, every value. Each one is explained in s3dnerf/config.py.\n"
    text = head + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    path = Path("params.yaml")
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        print(f"params.yaml holds the preset {name} already")
        return 0
    write_atomic(path, text.encode())
    print(f"params.yaml now holds the preset {name}; next: dvc repro")
    return 0


def run(stages: Annotated[tuple[str, ...], tyro.conf.Positional] = ()) -> int:
    """Run the graph, or the stages named and what they need: `dvc repro` with the settings checked first.

    Args:
        stages: Stages of dvc.yaml; none: all.
    """
    load_settings()
    return subprocess.run([sys.executable, "-m", "dvc", "repro", *stages]).returncode


def report() -> int:
    """Say where the report of the settings in force is, and what it says in three lines."""
    settings = load_settings()
    folder = Path("reports") / settings.preset
    path = folder / "report.json"
    if not path.is_file():
        raise SettingsError(f"{path}: no report of the preset {settings.preset} yet — make one with: dvc repro")
    for line in json.loads(path.read_text(encoding="utf-8")).get("lines", []):
        print(line)
    print(f"report: {(folder / 'index.html').resolve()}")
    return 0


def deps(write: bool = False) -> int:
    """Compare the code deps of dvc.yaml with the stages' import closures; exit status 1 when they differ.

    Args:
        write: Put dvc.yaml right.
    """
    from flows.graph import differences

    found = differences(write=write)
    for stage, (missing, extra) in found.items():
        print(
            f"{stage}: " + "; ".join([f"missing {', '.join(missing)}"] * bool(missing) + [f"for nothing {', '.join(extra)}"] * bool(extra))
        )
    print(
        "dvc.yaml is now right" if found and write else f"{len(found)} stages differ" if found else "dvc.yaml lists the code of every stage"
    )
    return 0 if write or not found else 1


def main() -> None:
    """Entry point of the command."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    commands = {"doctor": doctor, "preset": preset, "run": run, "report": report, "deps": deps}
    try:
        sys.exit(tyro.extras.subcommand_cli_from_dict(commands, prog="s3dnerf", description=__doc__, use_underscores=False))
    except SettingsError as error:
        print(f"s3dnerf: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
