"""What a codec alone does to each metric: real clips, encoded again as people deliver video, at CRF 18 and 28.

    python -m benchmarks.codec [--clips 10] [--truth ../shared/corpora/HDTF/clips]

The first four seconds of each clip, at 25 Hz and 256², are the truth; the same frames through H.264 (x264's preset
medium, yuv420p) at either CRF are scored against it as a method's video would be. ``source`` is the truth's own row. A
metric is robust where 28 against 18 changes it little beside what differs from clip to clip (``change_in_spreads``:
mean change over the standard deviation of the source's value over the clips; for a distance from the truth, whose
source is 0, over the mean distance of a still picture). Writes benchmarks/results/codec.json.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import origin, write
from s3dnerf.core.rates import FPS_HZ
from s3dnerf.evaluation.folders import lips_of
from s3dnerf.evaluation.protocol import Tools, Truth, prepare_truth, score_pair, score_truth
from s3dnerf.evaluation.reading import read_video
from s3dnerf.evaluation.tools import load_tools
from s3dnerf.metrics.result import Measured
from s3dnerf.settings.loading import load_settings
from s3dnerf.speech.audio import read_sound
from s3dnerf.video.encoding import feed_ffmpeg
from s3dnerf.video.reading import probe

SECONDS = 4
RATES = (18, 28)


def through_codec(frames: np.ndarray, crf: int) -> np.ndarray:
    """Frames uint8 (n, h, w, 3) as a player gets them back from H.264."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        feed_ffmpeg(frames, ["-an", "-c:v", "libx264", "-crf", str(crf), "-pix_fmt", "yuv420p", str(path)], FPS_HZ)
        return read_video(path).frames


def first_part(path: Path, most_frames: int, tools: Tools) -> Truth:
    """The first frames of a true video with their sound, measured."""
    frames = read_video(path).frames[:most_frames]
    early_s = probe(path).early_s
    samples = read_sound(path, early_s, early_s + len(frames) / FPS_HZ).samples
    truth = prepare_truth(frames, None, samples, None, tools)
    truth.lip_box = lips_of(truth, tools)
    return truth


def clip_values(path: Path, tools: Tools) -> dict[str, dict[str, float | None]]:
    """Metric → source, crf_18, crf_28 and still → value, of one clip."""
    truth = first_part(path, SECONDS * FPS_HZ, tools)
    frames = truth.frames
    measured: dict[str, list[Measured]] = {"source": score_truth(truth, tools)}
    for crf in RATES:
        measured[f"crf_{crf}"] = score_pair(through_codec(frames, crf), truth, tools)[0]
    measured["still"] = score_pair(np.repeat(frames[:1], len(frames), axis=0), truth, tools)[0]
    names = [m.recipe.name for m in measured["source"]]
    return {n: {of: next(m.value for m in ms if m.recipe.name == n) for of, ms in measured.items()} for n in names}


def change(values: list[dict[str, float | None]]) -> dict[str, Any]:
    """What CRF 28 changes against 18 over the clips that have both."""
    both = [v for v in values if v["crf_18"] is not None and v["crf_28"] is not None]
    if not both:
        return {"clips": 0}
    columns = {of: np.array([v[of] for v in both if v[of] is not None], float) for of in both[0]}
    step = columns["crf_28"] - columns["crf_18"]
    found: dict[str, Any] = {"clips": len(both)}
    found |= {of: round(float(v.mean()), 5) if len(v) else None for of, v in columns.items()}
    found |= {"change": round(float(step.mean()), 5), "largest_change": round(float(np.abs(step).max()), 5)}
    source, still = columns["source"], columns["still"]
    spread = float(source.std()) if len(source) > 1 else 0.0
    if spread < 1e-9 and len(still):  # a distance from the truth
        spread = float(np.abs(still - (source.mean() if len(source) else 0.0)).mean())
    found["change_in_spreads"] = round(float(np.abs(step).mean()) / spread, 3) if spread > 1e-9 else None
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--truth", type=Path, default=Path("../shared/corpora/HDTF/clips"))
    chosen = parser.parse_args()
    settings = load_settings()
    tools = load_tools(settings, settings.data_dir / "train_sync" / "judge")
    every = [p for p in sorted(chosen.truth.glob("*.mp4")) if (info := probe(p)).width_px == info.height_px]
    paths = [every[i] for i in np.unique(np.linspace(0, len(every) - 1, chosen.clips).astype(int))]
    by_clip = {path.stem: clip_values(path, tools) for path in paths}
    metrics = {
        recipe.name: {"version": recipe.version, **change([values[recipe.name] for values in by_clip.values()])}
        for recipe in tools.recipes()
    }
    write(
        "codec",
        {
            **origin(f"python -m benchmarks.codec --clips {chosen.clips} --truth {chosen.truth}", "git"),
            "clips": list(by_clip),
            "seconds_each": SECONDS,
            "pictures": f"SSIM, PSNR, LPIPS, CPBD and mouth blur on every {tools.picture_every}. frame",
            "metrics": metrics,
        },
    )
    for name, found in sorted(metrics.items(), key=lambda item: -(item[1].get("change_in_spreads") or 0)):
        print(f"{name:24}", {k: v for k, v in found.items() if k != "version"})


if __name__ == "__main__":
    main()
