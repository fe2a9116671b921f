"""The command ``s3dnerf``: what a person types.

``doctor`` which backends are real, which stand in, what to fetch · ``preset NAME`` switch the settings · ``run`` the graph ·
``report`` what the last report says · ``synthesize`` portrait + speech → video · ``evaluate`` score anyone's videos ·
``deps`` the code deps of ``dvc.yaml``.

prefect, dvc and mlflow are imported only inside the commands that need them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

from flows.progress import Progress
from s3dnerf.config import SettingsError, as_dict, load_settings, preset_settings
from s3dnerf.processes import one_message


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


def synthesize(
    portrait: Path,
    speech: Path,
    out: Path,
    model: Path | None = None,
    motion: str = "gentle",
    mark: bool = False,
) -> int:
    """A portrait and a speech recording to a talking-head video (H.264 + AAC), labelled synthetic in its metadata.

    Args:
        portrait: A photo of one person.
        speech: Any sound file that ffmpeg reads.
        out: The mp4 to write.
        model: A trained generator's folder; without it the one of the settings in force, data/<preset>/train_s3dnerf/<variant>.
        motion: Head motion: gentle or still.
        mark: Write SYNTHETIC into each frame.
    """
    import torch

    from s3dnerf.config import settings_from
    from s3dnerf.speech.audio import read_audio
    from s3dnerf.synthesis import Synthesizer, load_card, load_generator, synthesize, synthetic_comment, whole_frames, write_video
    from s3dnerf.video.packs import file_sha256
    from s3dnerf.video.pictures import read_picture

    if out.suffix.lower() != ".mp4":
        raise SettingsError(f"--out: got {out} — accepted: a name that ends in .mp4")
    if motion not in ("gentle", "still"):
        raise SettingsError(f"--motion: got {motion} — accepted: gentle, still")
    if model is None:
        settings = load_settings()
        model = settings.data_dir / "train_s3dnerf" / settings.train.variants[0]
    torch.set_num_threads(os.cpu_count() or 1)
    card = load_card(model)
    maker = Synthesizer(load_generator(model), card)
    samples = read_audio(speech)
    frames = synthesize(maker, read_picture(portrait), samples, settings_from(card["settings"]), motion=motion, mark=mark)
    comment = synthetic_comment(card, file_sha256(model / "generator.safetensors"))
    total = len(whole_frames(samples)) // 640
    with Progress(f"{out.name}", total) as progress:
        count = write_video(out, progress.over(frames), samples, comment)
    print(f"{out}: {count} frames, {count / 25:.2f} s; synthetic, and its metadata says so")
    return 0


def evaluate(generated: Path, truth: Path, table: Path | None = None) -> int:
    """Score anyone's videos against the true ones of the same names; every file is accounted for.

    Args:
        generated: Folder of generated videos.
        truth: Folder of true videos with sound.
        table: Also write the per-video rows as CSV.
    """
    import pandas as pd

    from s3dnerf.scoring import load_tools, score_folders, score_table

    settings = load_settings()
    rows, problems = score_folders(generated, truth, load_tools(settings, settings.data_dir / "train_sync" / "judge"))
    print(score_table(rows))
    for problem in problems:
        print(f"{problem.name}: {problem.what}: {problem.detail}")
    if table:
        pd.DataFrame(rows).to_csv(table, index=False)
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
    commands: dict[str, Callable[..., Any]] = {
        "doctor": doctor,
        "preset": preset,
        "run": run,
        "report": report,
        "synthesize": synthesize,
        "evaluate": evaluate,
        "deps": deps,
    }
    with one_message(sys.argv[1] if len(sys.argv) > 1 else "command"):
        try:
            sys.exit(tyro.extras.subcommand_cli_from_dict(commands, prog="s3dnerf", description=__doc__, use_underscores=False))
        except SettingsError as error:
            print(f"s3dnerf: {error}", file=sys.stderr)
            sys.exit(2)


if __name__ == "__main__":
    main()
