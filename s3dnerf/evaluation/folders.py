"""Anyone's videos, a folder against a folder: read alike, paired by name, scored, every file accounted for.

Reads ``<generated>/<name>.mp4`` (one method) or ``<generated>/<method>/<corpus>/<name>.mp4`` (a row each method) and
``<truth>/<name>.mp4``, in any container that ffmpeg reads; writes nothing. Both videos are brought to 25 Hz by their
timestamps and to 256², and the truth's sound is judged. A corrupt, shorter, longer, faceless or missing video is named
and counted, the others are scored; what was changed so that two files could be compared (size, rate, start) is named as
well, and so is every other file in the two folders (:mod:`s3dnerf.evaluation.accounting`). A truth is read and
measured once for all methods; a pair is held in memory (5 MB a second of each video, and as much again while it is
measured). Without a truth a video is measured by itself, with its own sound (:func:`score_without_truth`).

Run: ``s3dnerf evaluate --generated DIR [--truth DIR]``.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.core.file_names import shown
from s3dnerf.core.rates import FPS_HZ, RATE_HZ, SAMPLES_PER_FRAME
from s3dnerf.evaluation.accounting import look_into, not_read, outside_layout, problem_lines
from s3dnerf.evaluation.other_methods import LOOKS, SAME_FRAMING_PX, fit_framing, share_outside, steady_apart
from s3dnerf.evaluation.picture_sets import PictureSets
from s3dnerf.evaluation.protocol import (
    SIZE_PX,
    WITHOUT_TRUTH,
    Tools,
    Truth,
    as_rows,
    prepare_truth,
    score_alone,
    score_pair,
)
from s3dnerf.evaluation.reading import HOW, Problem, compared_otherwise, read_video
from s3dnerf.faces.lips import crop_boxes
from s3dnerf.faces.warping import warp
from s3dnerf.metrics.lmd import metric_landmarks
from s3dnerf.metrics.result import Measured, not_measured
from s3dnerf.speech.audio import read_sound
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.reading import probe

SOUND_SHORT_FRAMES = 5  # a sound that ends earlier than this before the picture is named
SILENT = 1e-3  # the loudest sample of a silent recording, of 1


@dataclass(frozen=True)
class GeneratedVideo:
    """One generated video: whose, of what corpus, of which truth."""

    method: str
    corpus: str
    name: str
    path: Path


def generated_videos(generated: Path, method: str, corpus: str) -> tuple[list[GeneratedVideo], list[Problem]]:
    """The videos of a folder, or of a folder of methods, and what every other file there is; sorted.

    Raises FileNotFoundError where there is none of either, saying what there is instead.
    """
    flat = look_into(generated, generated)
    if flat.videos:
        skipped = not_read(flat.folders, generated, "videos lie beside it, and are taken for one method's")
        videos = [GeneratedVideo(method, corpus, name, path) for name, path in flat.videos.items()]
        return videos, [*flat.problems, *skipped]
    videos, problems = [], flat.problems
    for of_method in flat.folders:
        inside = look_into(of_method, generated)
        problems += outside_layout(inside, generated, "expected <method>/<corpus>/<name>")
        for folder in inside.folders:
            found = look_into(folder, generated)
            whose = shown(of_method.name)
            videos += [
                GeneratedVideo(whose, shown(folder.name).lower(), name, path) for name, path in found.videos.items()
            ]
            problems += [replace(p, method=whose) if p.what == "same_name" else p for p in found.problems]
            problems += not_read(found.folders, generated, "expected <method>/<corpus>/<name>")
    if not videos:
        there = "".join(f"; {line}" for line in problem_lines(problems))
        raise FileNotFoundError(f"{generated}: no videos, neither in it nor as <method>/<corpus>/<name>{there}")
    return videos, problems


def score_folders(
    generated: str | Path,
    truth: str | Path,
    tools: Tools,
    method: str = "generated",
    corpus: str = "files",
    align: bool = False,
    pictures: PictureSets | None = None,
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Score every video of ``generated`` against the one of the same name in ``truth``.

    Parameters
    ----------
    method, corpus : what the rows say where the folder holds videos itself
    align : bring a video that frames the face otherwise (PC-AVS does) over the truth by one similarity, from eyes and
        nose; without it such a video is compared as it is, and named
    pictures : given the frames of every truth and video that was scored, for what is measured on all of them together

    Returns
    -------
    rows : as ``clips.parquet`` (a video that cannot be read has rows without values, with the reason)
    problems : every file that was not scored, not whole, or not compared as it is
    """
    generated, truth = Path(generated), Path(truth)
    for folder in (generated, truth):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder")
    videos, problems = generated_videos(generated, method, corpus)
    of_truth = look_into(truth, truth)
    truths = of_truth.videos
    problems += [*of_truth.problems, *not_read(of_truth.folders, truth, "true videos lie beside each other")]
    methods = sorted({m.method for m in videos})
    rows: list[dict[str, Any]] = []
    for name, path in truths.items():
        partners = {m.method: m for m in videos if m.name == name}
        if not partners:
            problems.append(Problem(name, "no_generated_video", f"{shown(path.name)} has no partner"))
            continue
        problems += [
            Problem(name, "no_generated_video", f"{shown(path.name)} has no partner", m)
            for m in methods
            if m not in partners
        ]
        measured_truth, truth_problems = read_measured(name, path, tools, "truth_")
        problems += truth_problems
        if pictures is not None and measured_truth is not None:
            pictures.add(None, name, measured_truth.frames)
        for video in partners.values():
            pair_problems, measured = _score_one(video, path, measured_truth, truth_problems, tools, align, pictures)
            problems += [replace(p, method=video.method if len(methods) > 1 else "") for p in pair_problems]
            rows += as_rows(measured, name, video.corpus, name, video.method)
    unknown = [m for m in videos if m.name not in truths]
    problems += [
        Problem(m.name, "no_truth", f"{shown(m.path.name)} has no partner in {shown(truth.name)}", m.method)
        for m in unknown
    ]
    return rows, sorted(problems, key=lambda p: (p.name, p.method, p.what))


def score_without_truth(
    generated: str | Path, tools: Tools, method: str = "generated", corpus: str = "files"
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Score every video of ``generated`` by what it and its own sound say: sharpness, sync, flicker, dynamics, silent
    lips, identity over time. The parameters and what is returned are :func:`score_folders`'s.
    """
    generated = Path(generated)
    if not generated.is_dir():
        raise FileNotFoundError(f"{generated}: no such folder")
    videos, problems = generated_videos(generated, method, corpus)
    several = len({v.method for v in videos}) > 1
    rows: list[dict[str, Any]] = []
    for video in videos:
        read, found = read_measured(video.name, video.path, tools)
        problems += [replace(p, method=video.method if several else "") for p in found]
        if read is None:
            why = f"{found[0].what}: {found[0].detail[:200]}"
            measured = [not_measured(recipe, why) for recipe in tools.recipes()]
        else:
            measured = score_alone(read, tools)
        rows += as_rows(measured, video.name, video.corpus, video.name, video.method)
    return rows, sorted(problems, key=lambda p: (p.name, p.method, p.what))


def read_measured(name: str, path: Path, tools: Tools, before: str = "") -> tuple[Truth | None, list[Problem]]:
    """A video with its sound and what is measured on it once (a truth, or one that has none); None where it cannot be
    read. And what is to be said of it, ``before`` put before each code.
    """
    try:
        read = read_video(path)
    except VideoError as bad:
        return None, [Problem(name, f"{before}{bad.reason}", shown(str(bad))[:300])]
    frames, problems = read.frames, read.problems(name, before)
    samples = audio = None
    try:
        early_s = probe(path).early_s
        sound = read_sound(path, early_s, early_s + len(frames) / FPS_HZ)
        samples = sound.samples
        if sound.note:
            problems.append(Problem(name, f"{before}sound_chosen", sound.note))
    except VideoError as bad:
        what = f"{before}without_sound" if bad.reason == "no_audio" else f"{before}sound_unreadable"
        problems.append(Problem(name, what, shown(str(bad))[:300]))
    if samples is not None:
        whole = SAMPLES_PER_FRAME * len(frames)
        if not len(samples) or float(np.abs(samples).max()) < SILENT:
            problems.append(Problem(name, f"{before}silent", "a sound track with nothing on it: sync is not measured"))
            samples = None
        else:
            padded = np.pad(samples, (0, whole - len(samples)))
            audio = None if tools.judge is None else tools.judge.audio_of(padded)
            if whole - len(samples) > SOUND_SHORT_FRAMES * SAMPLES_PER_FRAME:
                lengths = f"{len(samples) / RATE_HZ:.2f} s of sound for {len(frames) / FPS_HZ:.2f} s of picture"
                problems.append(Problem(name, f"{before}sound_ends_early", lengths))
    measured = prepare_truth(frames, None, samples, audio, tools)
    measured.lip_box = lips_of(measured, tools)
    if measured.lip_box is None:
        problems.append(Problem(name, f"{before}without_face", f"no face in any of {len(measured.landmarks)} frames"))
    return measured, problems


def lips_of(truth: Truth, tools: Tools) -> np.ndarray | None:
    """The boxes that lips are cut by, float32 (n, 4), as preprocessing makes them; frames without a face take what lies
    between their neighbours. None where no frame shows a face."""
    good = np.isfinite(truth.landmarks).all(axis=(1, 2))
    if not good.any():
        return None
    known, every = truth.landmark_frames[good], np.arange(len(truth.frames))
    points = truth.landmarks[good].reshape(int(good.sum()), -1)
    filled = np.stack([np.interp(every, known, column) for column in points.T], axis=1).reshape(len(every), 68, 2)
    return crop_boxes(filled, tools.lips.scale, tools.lips.follow_frames)


def _score_one(
    video: GeneratedVideo,
    truth_path: Path,
    truth: Truth | None,
    truth_problems: list[Problem],
    tools: Tools,
    align: bool,
    pictures: PictureSets | None,
) -> tuple[list[Problem], list[Measured]]:
    """The problems of one pair, and its measurements; ``truth_problems``: what is wrong with the truth."""
    if truth is None:
        return [], [
            not_measured(r, f"{truth_problems[0].what}: {truth_problems[0].detail[:200]}") for r in tools.recipes()
        ]
    try:
        read = read_video(video.path)
    except VideoError as bad:
        unmeasured = [
            not_measured(r, f"{bad.reason}: {shown(str(bad))[:200]}", failed=len(truth.frames)) for r in tools.recipes()
        ]
        return [Problem(video.name, bad.reason, shown(str(bad))[:300])], unmeasured
    frames = read.frames
    problems = [*read.problems(video.name), *compared_otherwise(video.name, video.path, truth_path)]
    if len(frames) != len(truth.frames):
        what = "shorter" if len(frames) < len(truth.frames) else "longer"
        problems.append(
            Problem(
                video.name,
                what,
                f"{len(frames)} frames, the truth has {len(truth.frames)}: the pairs there are were scored",
            )
        )
    treatment = "compared as it is; --align brings it over the truth first"
    framing_px = math.nan
    if align:
        frames, framing_px, outside = _aligned(frames, truth, tools)
        treatment = (
            f"brought over the truth by one similarity from eyes and nose; {outside:.0%} of the frame repeats its edge"
        )
    measured, landmarks = score_pair(frames, truth, tools)
    if pictures is not None:
        pictures.add(video.method, video.name, frames[: len(truth.frames)])
    if not align:
        framing_px = steady_apart(landmarks, truth.landmarks)
    if framing_px > SAME_FRAMING_PX:
        problems.append(
            Problem(video.name, "reframed", f"eyes and nose lie {framing_px:.0f} px off the truth's: {treatment}")
        )
    landmarks_sought = landmarks[truth.landmark_frames < len(frames)]
    lost = int(np.isnan(landmarks_sought).any(axis=(1, 2)).sum())
    if lost:
        what = "faceless" if lost == len(landmarks_sought) else "some_frames_faceless"
        problems.append(Problem(video.name, what, f"no single face in {lost} of {len(landmarks_sought)} frames"))
    return problems, measured


def _aligned(frames: np.ndarray, truth: Truth, tools: Tools) -> tuple[np.ndarray, float, float]:
    """The frames over the truth's where they are framed otherwise, how far eyes and nose lay off (pixels), and the
    share of the frame that lies outside them."""
    shared = truth.landmark_frames[truth.landmark_frames < len(frames)]
    chosen = np.unique(np.round(np.linspace(0, len(shared) - 1, min(LOOKS, len(shared)))).astype(int))
    landmarks = metric_landmarks(frames[shared[chosen]], tools.faces)
    framing_px = steady_apart(landmarks, truth.landmarks[chosen])
    if not framing_px > SAME_FRAMING_PX:
        return frames, framing_px, 0.0
    matrix = fit_framing(landmarks, truth.landmarks[chosen])
    return (
        np.stack([warp(frame, matrix, SIZE_PX) for frame in frames]),
        framing_px,
        share_outside(matrix, SIZE_PX, SIZE_PX),
    )


def score_table(rows: list[dict[str, Any]]) -> str:
    """Means by metric and method as lines of text: metric, a mean each method, videos with and without a value, frames
    counted and left out, version; below, why metrics have no value (those that need a truth are in no line where there
    is none).
    """
    methods = sorted({r["method"] for r in rows})
    width = max(9, *(len(m) for m in methods))
    first = max(len(r["metric"]) for r in rows)
    heads = "  ".join(f"{m:>{width}}" for m in methods)
    lines = [f"{'metric':<{first}} {heads}  {'videos':>6}  {'failed':>6}  {'frames':>7}  {'failed':>6}  version"]
    notes: list[str] = []
    lacking: dict[tuple[int, int, str], list[str]] = {}  # how many, of how many, why → metrics
    for metric in dict.fromkeys(r["metric"] for r in rows):
        of_metric = [r for r in rows if r["metric"] == metric]
        for why, count in Counter(r["reason"].split("; ")[0] for r in of_metric if not np.isfinite(r["value"])).items():
            lacking.setdefault((count, len(of_metric), why), []).append(metric)
        valued = sum(np.isfinite(r["value"]) for r in of_metric)
        if all(r["reason"] == WITHOUT_TRUTH for r in of_metric):
            continue
        means = []
        for method in methods:
            values = [r["value"] for r in of_metric if r["method"] == method and np.isfinite(r["value"])]
            means.append(f"{np.mean(values):{width}.4f}" if values else f"{'–':>{width}}")
        counts = (
            f"{valued:>6}  {len(of_metric) - valued:>6}  {sum(r['counted'] for r in of_metric):>7}  "
            f"{sum(r['failed'] for r in of_metric):>6}"
        )
        lines.append(f"{metric:<{first}} {'  '.join(means)}  {counts}  {of_metric[0]['version']}")
        if metric == "sync_offset" and valued:
            offsets = np.array([abs(r["value"]) for r in of_metric if np.isfinite(r["value"])])
            notes.append(
                f"sync_offset: 0 in {int((offsets == 0).sum())} of {valued} videos, beyond ±1 in "
                f"{int((offsets > 1).sum())}"
            )
    every = len({r["metric"] for r in rows})
    for (count, of, why), metrics in lacking.items():
        which = "every metric" if len(metrics) == every else ", ".join(metrics)
        notes.append(f"{which}: not measured in {count} of {of} videos: {why}")
    return "\n".join([*lines, HOW, *notes])


def scored_count(rows: list[dict[str, Any]]) -> tuple[int, int]:
    """How many videos have at least one value, and how many there are."""
    videos = {(r["method"], r["corpus"], r["clip"]) for r in rows}
    return len({(r["method"], r["corpus"], r["clip"]) for r in rows if np.isfinite(r["value"])}), len(videos)
