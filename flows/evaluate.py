"""``s3dnerf evaluate``: anyone's videos scored, beside the true ones or by themselves."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.project_folder import SETTINGS
from s3dnerf.core.errors import InputRefused
from s3dnerf.core.user_folder import found_for_user
from s3dnerf.settings.loading import load_settings, preset_settings
from s3dnerf.settings.schema import Settings

OUTSIDE = "mini"  # the preset whose settings hold outside of a project: that of the generator in the package


def choose_device(name: str | None) -> None:
    """Make ``name`` this command's device, and that of the processes it starts. Raises SettingsError where it is not
    there.
    """
    from s3dnerf.core.devices import VARIABLE, chosen_device

    if name is not None:
        chosen_device(name, dashes="--")
        os.environ[VARIABLE] = name


def settings_outside() -> Settings:
    """What holds outside of a project, with LPIPS's weights where ``s3dnerf fetch lpips`` puts them there."""
    settings = preset_settings(OUTSIDE)
    weights = found_for_user(settings.evaluate.lpips_weights)
    return replace(settings, evaluate=replace(settings.evaluate, lpips_weights=weights))


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV: a column for each key, in the order in which keys first appear; nothing for None and not-a-number.

    >>> print(as_csv([{"video": "a", "psnr": 30.5}, {"video": "b, c", "psnr": float("nan"), "why": "no face"}]), end="")
    video,psnr,why
    a,30.5,
    "b, c",,no face
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        values = (row.get(column) for column in columns)
        writer.writerow(["" if value is None or value != value else value for value in values])
    return text.getvalue()


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
    settings = load_settings() if Path(SETTINGS).exists() else settings_outside()
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
            write_atomic(table, as_csv(rows).encode())
    return 0 if scored else 1
