"""The tools of the evaluation from the settings; and the scorer of anyone's videos: a folder against a folder.

:func:`load_tools` reads the weights that the settings name; what is missing is None with its reason. :func:`score_folders` reads
``<generated>/<name>.mp4`` and ``<truth>/<name>.mp4`` (any container ffmpeg reads), both brought to 25 Hz and 256², the truth's sound
judged, and accounts for every file: a corrupt, shorter, longer or faceless video is named and counted, the others scored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.config import LipsSettings, Settings
from s3dnerf.evaluation import Tools, as_rows, prepare_truth, resize, score_pair
from s3dnerf.faces.detectors import MissingWeights, face_backend
from s3dnerf.faces.lips import lip_boxes
from s3dnerf.metrics import identity, lpips
from s3dnerf.metrics.result import not_measured
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.packs import file_sha256

VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".m4v")


def load_tools(settings: Settings, judge_folder: str | Path) -> Tools:
    """Face backend, judge, LPIPS and recogniser of the settings. Raises MissingWeights when the face backend itself is missing:
    without landmarks there is no protocol."""
    from s3dnerf.sync.judge import sync_judge
    from s3dnerf.sync.syncnet import SyncNetWeightsError

    chosen = settings.evaluate
    why: dict[str, str] = {}
    judge = network = recogniser = None
    key = chosen.judge
    try:
        judge = sync_judge(chosen, judge_folder)
        if chosen.judge == "trained":  # another training is another judge
            key += "-" + file_sha256(Path(judge_folder) / "weights.safetensors")[:8]
    except (SyncNetWeightsError, FileNotFoundError, ValueError) as missing:
        why["judge"] = str(missing).splitlines()[0]
    if chosen.lpips == "off":
        why["lpips"] = "switched off (evaluate.lpips: off): no AlexNet weights"
    else:
        try:
            network = lpips.load_lpips(chosen.lpips_weights or "")
        except lpips.WeightsError as missing:
            why["lpips"] = str(missing)
    if chosen.identity == "off":
        why["identity"] = "switched off (evaluate.identity: off)"
    else:
        try:
            recogniser = identity.load_recogniser(chosen.identity, settings.align.model_dir)
        except MissingWeights as missing:
            why["identity"] = str(missing).splitlines()[0]
    return Tools(
        faces=face_backend(settings.align),
        judge=judge,
        network=network,
        recogniser=recogniser,
        why=why,
        judge_key=key,
        identity_name=chosen.identity,
        landmark_every=chosen.landmark_every,
        picture_every=chosen.picture_every,
        identity_frames=chosen.identity_frames,
    )


def read_video(path: str | Path, max_frames: int | None = None) -> np.ndarray:
    """A video at 25 Hz and 256²: uint8 (n, 256, 256, 3), RGB, frame k at k / 25 s of the file's timeline.

    Pixels are OpenCV's, as in most people's scripts (decoders differ in how they enlarge colour, by half a per cent of SSIM). Where the
    first picture comes late, it is held from the start, so that frame k stays at its time. Raises VideoError when the file cannot
    be read, or not to its end; ValueError when it is not square.
    """
    import cv2

    from s3dnerf.video.clock import clock_of
    from s3dnerf.video.reading import probe

    clock = clock_of(probe(path))
    index = clock.frames[max(0, -clock.first_tick) :]
    index = np.concatenate([np.full(max(0, clock.first_tick), index[0], index.dtype), index])[:max_frames] if len(index) else index
    wanted = np.bincount(index) if len(index) else np.zeros(0, int)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    found: list[np.ndarray] = []
    try:
        for repeats in wanted:
            good, frame = capture.read()
            if not good:
                raise VideoError(f"{path}: {len(found)} frames could be decoded of {len(index)}", "truncated")
            found += [resize(np.ascontiguousarray(frame[None, :, :, ::-1]))[0]] * int(repeats)
    finally:
        capture.release()
    if not found:
        raise VideoError(f"{path}: no frames")
    return np.stack(found)


@dataclass(frozen=True)
class Problem:
    """A file that was not scored, or not whole: ``what`` is a reason code."""

    name: str
    what: str
    detail: str


def _by_stem(folder: Path) -> dict[str, Path]:
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in VIDEOS}


def score_folders(
    generated: str | Path, truth: str | Path, tools: Tools, method: str = "generated", corpus: str = "files"
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Score every video of ``generated`` against the one of the same name in ``truth``.

    Returns
    -------
    rows : as ``clips.parquet`` (a video that cannot be read has rows without values, with the reason)
    problems : every file that was not scored, or not whole
    """
    generated, truth = Path(generated), Path(truth)
    for folder in (generated, truth):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder")
    ours, theirs = _by_stem(generated), _by_stem(truth)
    if not ours:
        raise FileNotFoundError(f"{generated}: no videos ({', '.join(VIDEOS)})")
    rows: list[dict[str, Any]] = []
    problems = [Problem(name, "no_generated_video", f"{theirs[name].name} has no partner") for name in sorted(set(theirs) - set(ours))]
    for name, path in ours.items():
        if name not in theirs:
            problems.append(Problem(name, "no_truth", f"{path.name} has no partner in {truth.name}"))
            continue
        found = list(_score_files(name, path, theirs[name], tools))
        problems += [f for f in found if isinstance(f, Problem)]
        for measured in (f for f in found if not isinstance(f, Problem)):
            rows += as_rows(measured, name, corpus, name, method)
    return rows, sorted(problems, key=lambda p: (p.name, p.what))


def _score_files(name: str, path: Path, truth_path: Path, tools: Tools) -> Iterator[Any]:
    """Problems of one pair and, last, its measurements."""
    from s3dnerf.speech.audio import read_audio
    from s3dnerf.speech.mel import clip_mel

    try:
        frames = read_video(truth_path)
    except (VideoError, ValueError) as bad:
        yield Problem(name, "truth_unreadable", str(bad)[:300])
        yield [not_measured(r, f"truth_unreadable: {str(bad)[:200]}") for r in tools.recipes()]
        return
    samples = mel = None
    try:
        samples = read_audio(truth_path, 0.0, len(frames) / 25)
        samples = np.pad(samples, (0, 640 * len(frames) - len(samples)))
        mel = clip_mel(samples)
    except VideoError as silent:
        yield Problem(name, "truth_without_sound", str(silent)[:300])
    whole = prepare_truth(frames, None, samples, mel, tools)
    seen = whole.landmarks[np.isfinite(whole.landmarks).all(axis=(1, 2))]
    if len(seen):
        whole.lip_box = lip_boxes(seen, LipsSettings().scale)[0]
    else:
        yield Problem(name, "truth_without_face", f"no face in any of {len(whole.landmarks)} frames")
    try:
        made = read_video(path)
    except (VideoError, ValueError) as bad:
        yield Problem(name, "unreadable", str(bad)[:300])
        yield [not_measured(r, f"unreadable: {str(bad)[:200]}", failed=len(frames)) for r in tools.recipes()]
        return
    if len(made) != len(frames):
        what = "shorter" if len(made) < len(frames) else "longer"
        yield Problem(name, what, f"{len(made)} frames, the truth has {len(frames)}")
    measured, landmarks = score_pair(made, whole, tools)
    there = landmarks[whole.looked < len(made)]
    lost = int(np.isnan(there).any(axis=(1, 2)).sum())
    if lost:
        what = "faceless" if lost == len(there) else "some_frames_faceless"
        yield Problem(name, what, f"no face in {lost} of {len(there)} frames")
    yield measured


def score_table(rows: list[dict[str, Any]]) -> str:
    """Means of the rows by metric, as lines of text: metric, mean, videos counted, videos without a value."""
    lines = [f"{'metric':<12} {'mean':>9}  {'videos':>6}  {'failed':>6}  version"]
    for metric in dict.fromkeys(r["metric"] for r in rows):
        mine = [r for r in rows if r["metric"] == metric]
        good = [r["value"] for r in mine if np.isfinite(r["value"])]
        mean = f"{np.mean(good):9.4f}" if good else "        –"
        why = "" if good else f"  ({mine[0]['reason']})"
        lines.append(f"{metric:<12} {mean}  {len(good):>6}  {len(mine) - len(good):>6}  {mine[0]['version']}{why}")
    return "\n".join(lines)
