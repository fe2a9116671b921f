"""Other methods' videos of the real clips, measured by the project and by a script that shares no code with it, every
frame.

    python -m benchmarks.methods [--generated ../shared/methods] [--truth ../shared/corpora/HDTF/clips]

The project's side is what ``s3dnerf evaluate`` with the same two folders prints; the other is
``tests/straightforward.py`` (the ffmpeg program, dlib, scikit-image). Where a method frames the face otherwise, once
more ``--align``. A judge or LPIPS takes part where the settings in force have one. Every video counts on its own:
method, clip, metric. Writes benchmarks/results/methods.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.record import origin, write
from s3dnerf.evaluation.accounting import problem_lines
from s3dnerf.evaluation.folders import generated_videos, score_folders, score_table
from s3dnerf.evaluation.reading import HOW
from s3dnerf.evaluation.tools import load_tools
from s3dnerf.faces.dlib_files import dlib_data
from s3dnerf.settings.loading import load_settings
from tests.straightforward import measure

HELD_TOGETHER = ("f_lmd", "m_lmd", "ssim")


def by_video(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Method → clip → metric → value, frames counted and left out, version, reason where there is no value."""
    found: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for row in rows:
        value = None if row["value"] != row["value"] else round(row["value"], 6)
        cell = {"value": value, "counted": row["counted"], "failed": row["failed"], "version": row["version"]}
        cell |= {"reason": row["reason"]} if row["reason"] else {}
        found.setdefault(row["method"], {}).setdefault(row["clip"], {})[row["metric"]] = cell
    return found


def main() -> None:
    """Measure, compare and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--generated", type=Path, default=Path("../shared/methods"))
    parser.add_argument("--truth", type=Path, default=Path("../shared/corpora/HDTF/clips"))
    chosen = parser.parse_args()
    settings = load_settings()
    tools = load_tools(settings, settings.data_dir / "train_sync" / "judge", any_sound=True)
    tools.landmark_every = tools.picture_every = 1
    rows, problems = score_folders(chosen.generated, chosen.truth, tools)
    aligned, noted = score_folders(chosen.generated, chosen.truth, tools, align=True)
    plain: dict[str, dict[str, dict[str, float]]] = {}
    for made in generated_videos(chosen.generated, "generated", "files")[0]:
        truth = next(chosen.truth.glob(f"{made.name}.*"))
        found = measure(str(made.path), str(truth), str(dlib_data("landmarks")))
        plain.setdefault(made.method, {})[made.name] = {k: round(v, 6) for k, v in found.items()}
    ours, moved = by_video(rows), by_video(aligned)
    apart = {
        m: {
            c: {k: round(abs(ours[m][c][k]["value"] / found[k] - 1), 8) for k in HELD_TOGETHER}
            for c, found in clips.items()
        }
        for m, clips in plain.items()
    }
    changed = {
        m: {c: v for c, v in clips.items() if v["ssim"]["value"] != ours[m][c]["ssim"]["value"]}
        for m, clips in moved.items()
    }
    result = {
        **origin(f"python -m benchmarks.methods --generated {chosen.generated} --truth {chosen.truth}", "git"),
        "same_as": f"s3dnerf evaluate --generated {chosen.generated} --truth {chosen.truth}",
        "how": HOW,
        "judge": tools.judge.name if tools.judge else f"nobody: {tools.why['judge']}",
        "methods": ours,
        "aligned": {m: clips for m, clips in changed.items() if clips},
        "straightforward": plain,
        "relative_difference": apart,
        "largest_relative_difference": max(
            v for clips in apart.values() for one in clips.values() for v in one.values()
        ),
        "named": [line for line in problem_lines(problems) if "no_generated_video" not in line],
        "named_aligned": [line for line in problem_lines(noted) if "no_generated_video" not in line],
    }
    write("methods", result)
    print(score_table(rows))
    for line in problem_lines(problems):
        print(line)
    print(
        f"against tests/straightforward.py: at most {100 * result['largest_relative_difference']:.4f} % apart on "
        f"{', '.join(HELD_TOGETHER)}"
    )


if __name__ == "__main__":
    main()
