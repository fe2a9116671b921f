"""The measures of motion and time on other methods' videos of real clips, beside the truth and a still picture: what
order is to be expected from how the methods work, and whether it came.

    python -m benchmarks.dynamics [--generated ../shared/methods] [--truth ../shared/corpora/HDTF/clips]

Landmarks in every frame, pictures in every fifth; videos as they are framed (PC-AVS frames the face otherwise: AKD and
pixels of its rows do not compare). ``anothers_sound`` is the best sound correlation with another clip's sound. Writes
benchmarks/results/dynamics.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.codec import first_part
from benchmarks.record import origin, write
from s3dnerf.evaluation.folders import generated_videos
from s3dnerf.evaluation.protocol import score_pair, score_truth
from s3dnerf.evaluation.reading import read_video
from s3dnerf.evaluation.tools import load_tools
from s3dnerf.metrics import mouth_sound
from s3dnerf.metrics.result import Measured
from s3dnerf.reporting.summary import DYNAMICS
from s3dnerf.settings.loading import load_settings

SHOWN = (*DYNAMICS, "f_lmd", "m_lmd", "identity", "cpbd", "flicker_face")
TRUE_HEAD = ("wav2lip", "iplap", "diffdub")  # repaint the mouth of the true video
TRUE_POSE = ("styletalk", "dreamtalk")  # made from one picture, with the true video's head pose
Values = dict[str, dict[str, dict[str, float | None]]]  # method → clip → metric → value


def shown(measured: list[Measured]) -> dict[str, float | None]:
    """Metric → value of those that are looked at."""
    return {m.recipe.name: None if m.value is None else round(m.value, 4) for m in measured if m.recipe.name in SHOWN}


def expectations(values: Values) -> list[dict[str, Any]]:
    """What was to be expected, whether it came, and the two sides."""
    found = []

    def pair(method: str, clip: str, metric: str, other: str = "truth") -> tuple[float, float]:
        mine, theirs = (values[m][clip][metric] for m in (method, other))
        return float("nan" if mine is None else mine), float("nan" if theirs is None else theirs)

    def expect(what: str, sides: list[tuple[float, float]], less: bool = True) -> None:
        held = [a < b if less else a > b for a, b in sides]
        found.append(
            {
                "expected": what,
                "held_in": f"{sum(held)} of {len(held)}",
                "sides": [[round(a, 3), round(b, 3)] for a, b in sides],
            }
        )

    there = [(m, c) for m, clips in values.items() if m not in ("truth", "still") for c in clips]
    repainting = [(m, c) for m, c in there if m in TRUE_HEAD]
    posed = [(m, c) for m, c in there if m in TRUE_POSE]
    expect(
        "APD: methods that repaint the true video's mouth below PC-AVS, which makes the head anew",
        [pair(m, c, "apd", "pcavs") for m, c in repainting],
    )
    expect(
        "AED: methods that repaint the true video's mouth below PC-AVS, which makes the face anew",
        [pair(m, c, "aed_landmarks", "pcavs") for m, c in repainting],
    )
    for metric in ("apd", "akd", "aed_landmarks"):
        expect(
            f"{metric.upper()}: methods given the true head pose below SadTalker, which invents one",
            [pair(m, c, metric, "sadtalker") for m, c in posed],
        )
    for metric in ("head_dynamics", "brow_dynamics"):
        far = [pair(m, c, metric) for m, c in repainting]
        expect(f"{metric}: where only the mouth is repainted within 15 % of the truth's", [
            (abs(a / b - 1), 0.15) for a, b in far
        ])  # fmt: skip
    expect(
        "brow_dynamics: SadTalker below the truth",
        [pair(m, c, "brow_dynamics") for m, c in there if m == "sadtalker"],
    )
    expect(
        "sound_correlation_best: above that with another clip's sound, methods and truth",
        [
            (float(values[m][c]["sound_correlation_best"] or 0), float(values[m][c]["anothers_sound"] or 0))
            for m, c in [*there, *(("truth", c) for c in values["truth"])]
        ],
        less=False,
    )
    expect("mouth_blur: methods above the truth", [pair(m, c, "mouth_blur") for m, c in there], less=False)
    expect(
        "identity_least: methods that repaint the mouth above PC-AVS",
        [pair(m, c, "identity_least", "pcavs") for m, c in repainting],
        less=False,
    )
    still = ("head_dynamics", "head_angle_deviation", "lip_dynamics", "brow_dynamics", "jitter", "silent_lips")
    moved = [values["still"][c][metric] for c in values["still"] for metric in still]
    expect("every dynamics of a still picture is 0", [(abs(v), 1e-6) for v in moved if v is not None])
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--generated", type=Path, default=Path("../shared/methods"))
    parser.add_argument("--truth", type=Path, default=Path("../shared/corpora/HDTF/clips"))
    chosen = parser.parse_args()
    settings = load_settings()
    tools = load_tools(settings, settings.data_dir / "train_sync" / "judge")
    tools.landmark_every, tools.picture_every, tools.identity_frames = 1, 5, 10
    videos = generated_videos(chosen.generated, "generated", "files")[0]
    names = sorted({v.name for v in videos})
    sounds: dict[str, np.ndarray] = {}
    kept: dict[tuple[str, str], np.ndarray] = {}
    values: Values = {}
    for name in names:
        made = {v.method: read_video(v.path).frames for v in videos if v.name == name}
        truth = first_part(chosen.truth / f"{name}.mp4", min(map(len, made.values())), tools)
        sounds[name] = np.zeros(0) if truth.samples is None else truth.samples
        values.setdefault("truth", {})[name] = shown(score_truth(truth, tools))
        kept["truth", name] = truth.landmarks
        made["still"] = np.repeat(truth.frames[:1], len(truth.frames), axis=0)
        for method, frames in made.items():
            measured, kept[method, name] = score_pair(frames[: len(truth.frames)], truth, tools)
            values.setdefault(method, {})[name] = shown(measured)
    for (method, name), landmarks in kept.items():
        other = sounds[names[(names.index(name) + 1) % len(names)]]
        looped = np.resize(other, 640 * len(landmarks))
        values[method][name]["anothers_sound"] = mouth_sound.measure(landmarks, looped)[1].value
    result = {
        **origin(f"python -m benchmarks.dynamics --generated {chosen.generated} --truth {chosen.truth}", "git"),
        "versions": {r.name: r.version for r in tools.recipes() if r.name in SHOWN},
        "values": values,
        "expectations": expectations(values),
    }
    write("dynamics", result)
    for line in expectations(values):
        print(f"{line['held_in']:>9}  {line['expected']}")


if __name__ == "__main__":
    main()
