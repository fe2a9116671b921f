"""evaluate: the test clips, made from one portrait and speech, measured against the truth with the controls beside.

Reads ``data/<preset>/{ingest,resample,align,masks,lips,speech,train_sync,train_s3dnerf}`` and, where there are any,
other methods' videos (``evaluate.methods``). Writes ``data/<preset>/evaluate/``: ``clips.parquet`` (clip × method ×
metric), ``features.safetensors`` (clip × method × feature network), ``methods.json`` (what each row is), ``mouth.json``
(mouth opening over time), ``heatmap.json`` (F_cm), ``region_ratios.json`` (lower face against upper), ``strips.json``
(what each strip shows), ``pictures/<clip>.png``, ``.source.png`` and ``.mp4`` (strip, portrait, and methods beside each
other with sound); and, outside the hashed outs, ``.timings/<preset>/evaluate.json`` (FPS, fit time).

Run: ``python -m flows.run evaluate``. One job a clip; a clip's truth is measured once for all methods. A clip that was
measured is kept in the store (:mod:`stages.evaluated_clips`): a run that was killed goes on after it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.core.devices import chosen_device, device_name
from s3dnerf.core.rates import FPS_HZ
from s3dnerf.evaluation.accounting import problem_lines
from s3dnerf.evaluation.feature_networks import features_of
from s3dnerf.evaluation.other_methods import (
    MethodVideo,
    by_name,
    find_methods,
    framed_like_truth,
    other_files,
    showing,
    videos_of,
)
from s3dnerf.evaluation.other_speech import OtherSpeech
from s3dnerf.evaluation.protocol import Tools, as_rows, prepare_truth, score_pair, score_truth
from s3dnerf.evaluation.tools import load_tools
from s3dnerf.metrics.fps import measure_speed
from s3dnerf.metrics.lmd import mouth_opening
from s3dnerf.metrics.result import not_measured
from s3dnerf.reporting.clip_pictures import heat_map, strip
from s3dnerf.reporting.clip_video import side_by_side
from s3dnerf.reporting.png import png_bytes
from s3dnerf.reporting.region_ratios import ratios
from s3dnerf.settings.schema import Settings
from s3dnerf.sync.filtering import clip_samples
from s3dnerf.synthesis.source_frame import source_frame
from s3dnerf.synthesis.synthesizer import Synthesizer, frame_pixels, load_card, load_generator
from s3dnerf.training.clips import Clip, ClipFolder
from s3dnerf.video.encoding import VideoError, encode_clip
from s3dnerf.video.packs import CorpusPacks, file_sha256, write_atomic
from stages.context import Context
from stages.evaluate_out import OURS, WRONG, main_variant, method_of, write_outputs
from stages.evaluated_clips import (
    KIND,
    SOURCE,
    STRIP,
    VIDEO,
    ClipResult,
    clip_key,
    common_basis,
    keep_clip,
    kept_clip,
    part_hashes,
)
from stages.made import HANDED
from stages.out_keys import KeptEntry, forget_keys, write_keys
from stages.passing_faults import retried
from stages.preprocessing import StageError
from stages.raw_files import SeenFile, check_raw_file

logger = logging.getLogger(__name__)

STILL, TRUTH = "still", "truth"
_LOCAL = threading.local()
BATCH = 8
MOST_PICTURED = 200  # clips of a corpus of which pictures are kept, half a MB each: which the report shows, it says


@dataclass(frozen=True)
class Job:
    """One test clip with all its methods; picklable. ``methods``: other methods' videos with the sha256 of each;
    ``key``: the clip's name in the store. ``provenance``: what the run was handed of code and packages, which decides
    nothing.
    """

    settings: Settings
    corpus: str
    clip: str
    wrong: tuple[str, str] | None
    methods: tuple[tuple[MethodVideo, str], ...]
    picture: bool
    key: str
    provenance: dict[str, Any] = field(default_factory=dict, compare=False)


@functools.cache
def _folder(data_dir: Path, corpus: str) -> ClipFolder:
    return ClipFolder(data_dir, corpus)


@functools.cache
def _synthesizer(folder: Path) -> Synthesizer:
    return Synthesizer(load_generator(folder).to(chosen_device()), load_card(folder))


def _tools(settings: Settings) -> Tools:
    """One set a thread: dlib's detector keeps state between its calls."""
    kept = getattr(_LOCAL, "tools", None)
    if kept is None or kept[0] != settings:
        kept = _LOCAL.tools = settings, load_tools(settings, settings.data_dir / "train_sync" / "judge")
    return kept[1]


def forget() -> None:
    """Drop what this process keeps between jobs (folders, networks, tools): another run may stand on other data in the
    same place.
    """
    _folder.cache_clear()
    _synthesizer.cache_clear()
    _LOCAL.__dict__.clear()


def measured_records(settings: Settings, methods: list[MethodVideo]) -> list[dict[str, Any]]:
    """The clips that are measured, sorted: split ``test`` of ``evaluate.corpora``, at most ``max_clips_per_speaker`` of
    a person.

    Where a person has more, clips of which another method's video exists come first, so that rows stand beside each
    other.
    """
    records, videos = [], by_name(methods)
    for corpus in settings.evaluate.corpora:
        people: dict[str, list[dict[str, Any]]] = {}
        for record in _folder(settings.data_dir, corpus).of_split("test"):
            people.setdefault(record["speaker"], []).append(record)
        for mine in people.values():
            mine.sort(key=lambda r: (not showing(videos, r), r["clip"]))
            records += mine[: settings.evaluate.max_clips_per_speaker or None]
    return sorted(records, key=lambda r: (settings.evaluate.corpora.index(r["corpus"]), r["clip"]))


def refuse_known_people(settings: Settings, records: list[dict[str, Any]]) -> None:
    """Raise StageError, before any work, when a generator's card names a person of a test clip among those it was
    trained on.
    """
    people = {record["speaker"]: record["clip"] for record in reversed(records)}
    for variant in settings.train.variants:
        path = settings.data_dir / "train_s3dnerf" / variant / "card.json"
        trained_on = json.loads(path.read_text(encoding="utf-8"))["speakers"] if path.is_file() else []
        known = sorted(set(trained_on) & set(people))
        if known:
            raise StageError(
                f"evaluate: {', '.join(known)} (test clip {people[known[0]]}): {variant} was trained on this person, "
                "and a model is never "
                "evaluated on a person it was trained on — hold the person out (ingest.hdtf_test_speakers) and train "
                "again"
            )


def fit_length(tokens: np.ndarray, length: int) -> np.ndarray:
    """Speech tokens looped or cut to ``length``: (m, D) → (length, D)."""
    return tokens[np.arange(length) % len(tokens)]


def portrait_of(made: Synthesizer, clip: Clip, number: int) -> Any:
    """The identity that frame ``number`` of a clip shows."""
    return made.portrait(
        clip.frames[number],
        clip.masks[number],
        clip.world_to_camera[number],
        clip.intrinsics[number],
        clip.box,
        clip.landmarks[number],
    )


def generate(made: Synthesizer, identity: Any, tokens: np.ndarray, clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """A clip's cameras with the given speech: frames uint8 (n, 256, 256, 3), and Δx of each raw pixel (n, 3, r, r),
    canonical units.
    """
    frames, deltas = [], []
    for rendered in made.render(identity, tokens, clip.world_to_camera, clip.intrinsics, BATCH):
        frames.append(frame_pixels(rendered))
        deltas.append(rendered.delta_x.float().cpu().numpy())
    return np.concatenate(frames), np.concatenate(deltas)


def score_clip(job: Job) -> str:
    """Measure one test clip into the store. Returns its key. Top-level and picklable, so that a process pool can run
    it.

    Raises StillFailing for a passing fault that did not pass; nothing is stored then.
    """
    keep_clip(job.key, retried(f"evaluate: clip {job.clip}", lambda: measured_clip(job)), job.provenance)
    return job.key


def measured_clip(job: Job) -> ClipResult:
    """Everything that is measured on one test clip."""
    settings = job.settings
    tools = _tools(settings)
    folder = _folder(settings.data_dir, job.corpus)
    record = folder.record(job.clip)
    clip = folder.load(record, max_frames=int(settings.evaluate.clip_s * FPS_HZ))
    n = len(clip.frames)
    audio = None if tools.judge is None else {"mel": clip.mel, "tokens": clip.tokens}.get(tools.judge.reads)
    samples = clip_samples(settings.data_dir, record)[: 640 * n]
    truth = prepare_truth(clip.frames, clip.lip_boxes, samples, audio, tools)
    rows = as_rows(score_truth(truth, tools), job.clip, job.corpus, record["speaker"], TRUTH)
    mouth = {TRUTH: mouth_opening(truth.landmarks)}
    shown = {TRUTH: clip.frames}
    features: dict[tuple[str, str], np.ndarray] = {}

    def keep_features(name: str, frames: np.ndarray) -> None:
        features.update({(name, network): v for network, v in features_of(tools.networks, frames).items()})

    keep_features(TRUTH, clip.frames)
    notes: dict[str, str] = {}

    def score(name: str, frames: np.ndarray) -> None:
        measured, landmarks = score_pair(frames, truth, tools)
        rows.extend(as_rows(measured, job.clip, job.corpus, record["speaker"], name))
        mouth[name], shown[name] = mouth_opening(landmarks), frames
        keep_features(name, frames[:n])

    def failed(name: str, reason: str) -> None:
        rows.extend(
            as_rows(
                [not_measured(r, reason, n) for r in tools.recipes()], job.clip, job.corpus, record["speaker"], name
            )
        )

    heat, acts, source = None, None, source_frame(clip.landmarks, settings.evaluate.source_frame)
    for variant in settings.train.variants:
        made = _synthesizer(settings.data_dir / "train_s3dnerf" / variant)
        identity = portrait_of(made, clip, source)
        frames, delta = generate(made, identity, clip.tokens, clip)
        score(method_of(settings, variant), frames)
        if variant != main_variant(settings):
            continue
        moved, moving = np.linalg.norm(delta, axis=1).mean(axis=0), np.linalg.norm(delta.std(axis=0), axis=0)
        heat = heat_map(made, identity, clip, moved, source)
        acts = ratios(clip, moved, moving, heat)
        if job.wrong is None:
            failed(WRONG, "no other speaker whose speech could be taken")
        else:
            other = _folder(settings.data_dir, job.wrong[0])
            tokens = other.packs["speech"].read(job.wrong[1], "tokens.npy").astype(np.float32)
            score(WRONG, generate(made, identity, fit_length(tokens, 2 * n), clip)[0])
            notes[WRONG] = job.wrong[1]
    score(STILL, np.broadcast_to(clip.frames[source], clip.frames.shape))
    for method, sha256 in job.methods:
        try:
            matrix = folder.packs["align"].read(job.clip, "matrix.npy")
            frames, note = framed_like_truth(method, record, matrix, clip, truth, tools)
        except (VideoError, ValueError) as bad:
            check_raw_file(method.path, SeenFile(sha256), to_its_end=True)
            failed(method.name, f"unreadable: {str(bad)[:200]}")
            continue
        notes[method.name] = note
        score(method.name, frames)
    pictures = {}
    picture = strip(shown, n, settings.report.strip_frames) if job.picture else None
    if picture is not None:
        pictures[STRIP] = png_bytes(picture.pop("image"))
        beside = [name for name in (TRUTH, OURS, WRONG, *(m.name for m, _ in job.methods)) if name in shown]
        picture["video"] = list(dict.fromkeys(beside))
        pictures[VIDEO] = side_by_side({name: shown[name] for name in picture["video"]}, samples)
    if heat is not None:
        portrait = heat.pop("source")
        pictures |= {SOURCE: png_bytes(portrait)} if job.picture else {}
    opened = {name: [None if np.isnan(v) else round(float(v), 3) for v in values] for name, values in mouth.items()}
    return ClipResult(rows, opened, notes, acts, picture, heat if job.picture else None, pictures, features)


def measure_fps(settings: Settings, record: dict[str, Any]) -> dict[str, Any]:
    """The three FPS figures and the fit time of the main variant on one test clip."""
    made = _synthesizer(settings.data_dir / "train_s3dnerf" / main_variant(settings))
    folder = _folder(settings.data_dir, record["corpus"])
    clip: Clip = folder.load(record, max_frames=FPS_HZ)

    speed = measure_speed(
        read=lambda: folder.load(record, max_frames=FPS_HZ),
        portrait=lambda c: portrait_of(made, c, source_frame(c.landmarks, settings.evaluate.source_frame)),
        frames=lambda identity: made.frames(identity, clip.tokens, clip.world_to_camera, clip.intrinsics, BATCH),
        write=lambda frames: encode_clip(frames, crf=14),
        device=device_name(made.device),
    )
    return speed.as_dict()


def plan(settings: Settings, methods: list[MethodVideo]) -> list[Job]:
    """One job a clip that is measured, each with its key. Raises StageError when a generator knows one of the people.

    Reads all that preprocessing made of these clips, for its hashes.
    """
    records = measured_records(settings, methods)
    refuse_known_people(settings, records)
    others = [r for corpus in settings.evaluate.corpora for r in _folder(settings.data_dir, corpus).records]
    speech_of, videos_by_name = OtherSpeech(records, others), by_name(methods)
    pictured: set[str] = set()
    for corpus in settings.evaluate.corpora:
        pictured |= set([r["clip"] for r in records if r["corpus"] == corpus][:MOST_PICTURED])
    basis = common_basis(settings, main_variant(settings))
    resampled = {corpus: CorpusPacks(settings.data_dir / "resample" / corpus) for corpus in settings.evaluate.corpora}
    jobs = []
    for record in records:
        corpus, clip = record["corpus"], record["clip"]
        folder, wrong = _folder(settings.data_dir, corpus), speech_of.of(record)
        speech = None
        if wrong is not None:
            tokens = _folder(settings.data_dir, wrong[0]).packs["speech"].read_bytes(wrong[1], "tokens.npy")
            speech = (*wrong, hashlib.sha256(tokens).hexdigest())
        videos = {video: file_sha256(video.path) for video in videos_of(record, showing(videos_by_name, record))}
        columns = settings.report.strip_frames if clip in pictured else 0
        key = clip_key(basis, record, part_hashes(folder, resampled[corpus], clip), speech, videos, columns)
        jobs.append(Job(settings, corpus, clip, wrong, tuple(videos.items()), clip in pictured, key))
    return jobs


def main(context: Context) -> dict[str, Any]:
    """Measure all test clips. Returns counts; raises nothing for a clip that merely fails a metric."""
    forget()
    settings = context.settings
    methods = find_methods(settings.evaluate.methods)
    for line in problem_lines(other_files(settings.evaluate.methods)):
        logger.info(f"evaluate: {line}")
    handed = {name: context.provenance[name] for name in HANDED if name in context.provenance}
    jobs = [replace(job, provenance=handed) for job in plan(settings, methods)]
    forget_keys(settings.data_dir, KIND)
    kept = {job.key: None if context.ignore_store else kept_clip(job.key) for job in jobs}
    todo = [job for job in jobs if kept[job.key] is None]
    logger.info(
        f"evaluate: {len(jobs)} test clips of {', '.join(settings.evaluate.corpora)}, {len(jobs) - len(todo)} from the "
        "store" + (f", other methods: {', '.join(sorted({m.name for m in methods}))}" if methods else "")
    )
    context.run(score_clip, todo, [job.clip for job in todo])
    results, entries = [], []
    for job in jobs:
        found = kept[job.key] or kept_clip(job.key) or kept_clip(score_clip(job))
        if found is None:
            raise StageError(
                f"evaluate: {job.clip} is not whole in the store after it was measured twice: is the disk sound?"
            )
        results.append(found[0])
        entries.append(KeptEntry(job.key, dict(found[1].files), job.clip, made=dict(found[1].made)))
    shown = {job.clip: result for job, result in zip(jobs, results)}
    labels = {job.clip: [video.label for video, _ in job.methods] for job in jobs}
    write_outputs(context.out(), settings, shown, {m.label: m.name for m in methods}, labels, _tools(settings))
    write_keys(settings.data_dir, KIND, KIND, entries)
    if jobs:  # speeds are of this machine and this moment: never in the store, never in the out
        first = _folder(settings.data_dir, jobs[0].corpus).record(jobs[0].clip)
        speed = measure_fps(settings, first)
        timing = {"fps": speed, "variant": main_variant(settings)}
        write_atomic(
            Path(".timings") / settings.preset / "evaluate.json", (json.dumps(timing, indent=1) + "\n").encode()
        )
        context.tracker.metrics({f"speed/{k}": v for k, v in speed.items() if isinstance(v, float)})
    rows = [row for result in results for row in result.rows]
    for metric in ("ssim", "f_lmd", "m_lmd", "cpbd", "lse_c"):
        values = [r["value"] for r in rows if r["method"] == OURS and r["metric"] == metric and np.isfinite(r["value"])]
        if values:
            context.tracker.metrics({f"test/{metric}": float(np.mean(values))})
    return {"clips": len(jobs), "rows": len(rows), "without_value": int(sum(not np.isfinite(r["value"]) for r in rows))}
