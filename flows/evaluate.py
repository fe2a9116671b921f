"""``s3dnerf evaluate``: anyone's videos scored, beside the true ones or by themselves."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from s3dnerf.core.errors import InputRefused
from s3dnerf.settings.loading import load_settings


def choose_device(name: str | None) -> None:
    """Make ``name`` this command's device, and that of the processes it starts. Raises SettingsError where it is not
    there.
    """
    from s3dnerf.core.devices import VARIABLE, chosen_device

    if name is not None:
        chosen_device(name, dashes="--")
        os.environ[VARIABLE] = name


def evaluate(
    generated: Path,
    truth: Path | None = None,
    table: Path | None = None,
    align: bool = False,
    device: str | None = None,
) -> int:
    """Score anyone's videos against the true ones of the same names; every file is accounted for.

    Args:
        generated: Folder of generated videos, or of methods: <method>/<corpus>/<video>.
        truth: Folder of true videos with sound. Without it each video is measured by itself, with its own sound.
        table: Also write the per-video rows as CSV, into this file.
        align: Bring a video that frames the face otherwise over the truth first, by one similarity.
        device: Where networks run: cpu, cuda, or auto, a GPU where there is one (without it: $S3DNERF_DEVICE, or auto).
    """
    import pandas as pd

    from s3dnerf.core.whole_files import claimed
    from s3dnerf.evaluation.accounting import problem_lines, refuse_media
    from s3dnerf.evaluation.folders import score_folders, score_table, score_without_truth, scored_count
    from s3dnerf.evaluation.picture_sets import PictureSets
    from s3dnerf.evaluation.tools import load_tools
    from s3dnerf.video.packs import write_atomic

    if align and truth is None:
        raise InputRefused("--align: got no --truth, expected the folder of true videos that it brings the others over")
    if table is not None:
        refuse_media(table, "--table")
    choose_device(device)
    settings = load_settings()
    with contextlib.nullcontext() if table is None else claimed(table, "--table"):
        tools = load_tools(settings, settings.data_dir / "train_sync" / "judge", any_sound=True)
        if truth is None:
            rows, problems = score_without_truth(generated, tools)
        else:
            pictures = PictureSets(tools.networks, tools.why)
            rows, problems = score_folders(generated, truth, tools, align=align, pictures=pictures)
        if rows:
            print(score_table(rows))
        for line in [] if truth is None else pictures.lines():
            print(line)
        judge = f"{tools.judge.name}; {tools.judge.protocol}" if tools.judge else f"nobody: {tools.why['judge']}"
        print(f"sync judged by: {judge}")
        for line in problem_lines(problems):
            print(line)
        scored, total = scored_count(rows)
        print(f"{scored} of {total} videos scored")
        if table is not None:
            write_atomic(table, pd.DataFrame(rows).to_csv(index=False).encode())
    return 0 if scored else 1
