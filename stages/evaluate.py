"""evaluate: the test clips, made from one portrait and speech, measured against the truth with the controls beside.

Reads ``data/<preset>/{ingest,resample,align,masks,lips,speech,train_sync,train_s3dnerf}`` and, where there are any,
other methods' videos (``evaluate.methods``). Writes ``data/<preset>/evaluate/``: ``clips.parquet`` (clip × method ×
metric), ``methods.json`` (what each row is), ``mouth.json`` (mouth opening over time), ``heatmap.json`` (F_cm),
``region_ratios.json`` (lower face against upper), ``pictures/<clip>.png``; and, outside the hashed outs,
``.timings/<preset>/evaluate.json`` (FPS, fit time).

Run: ``python -m flows.run evaluate``. One job a clip; a clip's truth is measured once for all methods.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.core.rates import FPS_HZ
from s3dnerf.evaluation.other_methods import MethodVideo, find_methods, framed_like_truth, shows, videos_of
from s3dnerf.evaluation.protocol import COLUMNS, Tools, as_rows, prepare_truth, score_pair, score_truth
from s3dnerf.evaluation.tools import load_tools
from s3dnerf.metrics.fps import measure_speed
from s3dnerf.metrics.lmd import mouth_opening
from s3dnerf.metrics.result import not_measured
from s3dnerf.reporting.clip_pictures import heat_map, strip
from s3dnerf.reporting.png import png_bytes
from s3dnerf.reporting.region_ratios import ratios
from s3dnerf.settings.schema import Settings
from s3dnerf.sync.filtering import clip_samples
from s3dnerf.synthesis.synthesizer import Synthesizer, frame_pixels, load_generator
from s3dnerf.training.clips import Clip, ClipFolder
from s3dnerf.video.encoding import VideoError, encode_clip
from s3dnerf.video.packs import write_atomic, write_table
from stages.context import Context
from stages.preprocessing import StageError

logger = logging.getLogger(__name__)

OURS, WRONG, STILL, TRUTH = "s3dnerf", "wrong_speech", "still", "truth"
_LOCAL = threading.local()
BATCH = 8


@dataclass(frozen=True)
class Job:
    """One test clip with all its methods; picklable."""

    settings: Settings
    corpus: str
    clip: str
    wrong: tuple[str, str] | None
    methods: tuple[MethodVideo, ...]
    picture: bool


def method_of(settings: Settings, variant: str) -> str:
    """The name of a variant's rows: the main variant is ``s3dnerf``, another ``s3dnerf_<variant>``."""
    return OURS if variant == main_variant(settings) else f"{OURS}_{variant}"


def main_variant(settings: Settings) -> str:
    """``full`` where it is trained, otherwise the first of ``train.variants``."""
    return "full" if "full" in settings.train.variants else settings.train.variants[0]


@functools.cache
def _folder(data_dir: Path, corpus: str) -> ClipFolder:
    return ClipFolder(data_dir, corpus)


@functools.cache
def _synthesizer(folder: Path) -> Synthesizer:
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return Synthesizer(load_generator(folder), card)


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
    records = []
    for corpus in settings.evaluate.corpora:
        people: dict[str, list[dict[str, Any]]] = {}
        for record in _folder(settings.data_dir, corpus).of_split("test"):
            people.setdefault(record["speaker"], []).append(record)
        for mine in people.values():
            mine.sort(key=lambda r: (not any(shows(m, r) for m in methods), r["clip"]))
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


def wrong_speech_of(
    record: dict[str, Any], records: list[dict[str, Any]], others: list[dict[str, Any]]
) -> tuple[str, str] | None:
    """(corpus, clip) whose speech drives the control: another speaker's, of the same corpus where there is one.

    The choice is by a hash of the clip's name, so that it does not move when a clip is added elsewhere in the list's
    order; ``others`` are clips beyond the test set, used when the test set has no second speaker. None when nobody else
    speaks.
    """
    stages: list[list[dict[str, Any]]] = [
        [r for r in records if r["corpus"] == record["corpus"]],
        records,
        [r for r in others if r["corpus"] == record["corpus"]],
        others,
    ]
    for pool in stages:
        names = sorted((r["corpus"], r["clip"]) for r in pool if r["speaker"] != record["speaker"])
        if names:
            number = int.from_bytes(hashlib.sha256(record["clip"].encode()).digest()[:8], "big")
            return names[number % len(names)]
    return None


def fit_length(tokens: np.ndarray, length: int) -> np.ndarray:
    """Speech tokens looped or cut to ``length``: (m, D) → (length, D)."""
    return tokens[np.arange(length) % len(tokens)]


def generate(made: Synthesizer, identity: Any, tokens: np.ndarray, clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """A clip's cameras with the given speech: frames uint8 (n, 256, 256, 3), and Δx of each raw pixel (n, 3, r, r),
    canonical units.
    """
    frames, deltas = [], []
    for rendered in made.render(identity, tokens, clip.world_to_camera, clip.intrinsics, BATCH):
        frames.append(frame_pixels(rendered.fine))
        deltas.append(rendered.delta_x.float().cpu().numpy())
    return np.concatenate(frames), np.concatenate(deltas)


def score_clip(job: Job) -> dict[str, Any]:
    """Everything that is measured on one test clip. Top-level and picklable, so that a process pool can run it."""
    settings = job.settings
    tools = _tools(settings)
    folder = _folder(settings.data_dir, job.corpus)
    record = next(r for r in folder.records if r["clip"] == job.clip)
    clip = folder.load(record, max_frames=int(settings.evaluate.clip_s * FPS_HZ))
    n = len(clip.frames)
    truth = prepare_truth(
        clip.frames, clip.lip_boxes, clip_samples(settings.data_dir, record)[: 640 * n], clip.mel, tools
    )
    rows = as_rows(score_truth(truth, tools), job.clip, job.corpus, record["speaker"], TRUTH)
    mouth = {TRUTH: mouth_opening(truth.landmarks)}
    shown = {TRUTH: clip.frames}
    notes: dict[str, str] = {}

    def score(name: str, frames: np.ndarray) -> None:
        measured, landmarks = score_pair(frames, truth, tools)
        rows.extend(as_rows(measured, job.clip, job.corpus, record["speaker"], name))
        mouth[name], shown[name] = mouth_opening(landmarks), frames

    def failed(name: str, reason: str) -> None:
        rows.extend(
            as_rows(
                [not_measured(r, reason, n) for r in tools.recipes()], job.clip, job.corpus, record["speaker"], name
            )
        )

    heat, acts = None, None
    for variant in settings.train.variants:
        made = _synthesizer(settings.data_dir / "train_s3dnerf" / variant)
        identity = made.portrait(
            clip.frames[0], clip.masks[0], clip.world_to_camera[0], clip.intrinsics[0], clip.box, clip.landmarks[0]
        )
        frames, delta = generate(made, identity, clip.tokens, clip)
        score(method_of(settings, variant), frames)
        if variant != main_variant(settings):
            continue
        moved, moving = np.linalg.norm(delta, axis=1).mean(axis=0), np.linalg.norm(delta.std(axis=0), axis=0)
        heat = heat_map(made, identity, clip, moved)
        acts = ratios(clip, moved, moving, heat)
        if job.wrong is None:
            failed(WRONG, "no other speaker whose speech could be taken")
        else:
            other = _folder(settings.data_dir, job.wrong[0])
            tokens = other.packs["speech"].read(job.wrong[1], "tokens.npy").astype(np.float32)
            score(WRONG, generate(made, identity, fit_length(tokens, 2 * n), clip)[0])
            notes[WRONG] = job.wrong[1]
    score(STILL, np.broadcast_to(clip.frames[0], clip.frames.shape))
    for method in job.methods:
        try:
            matrix = folder.packs["align"].read(job.clip, "matrix.npy")
            frames, note = framed_like_truth(method, record, matrix, clip, truth, tools)
        except (VideoError, ValueError) as bad:
            failed(method.name, f"unreadable: {str(bad)[:200]}")
            continue
        notes[method.name] = note
        score(method.name, frames)
    picture = strip(shown, n, settings.report.strip_frames) if job.picture else None
    return {
        "rows": rows,
        "picture": picture,
        "heat": heat if job.picture else None,
        "acts": acts,
        "notes": notes,
        "mouth": {
            name: [None if np.isnan(v) else round(float(v), 3) for v in values] for name, values in mouth.items()
        },
    }


def measure_fps(settings: Settings, record: dict[str, Any]) -> dict[str, Any]:
    """The three FPS figures and the fit time of the main variant on one test clip."""
    made = _synthesizer(settings.data_dir / "train_s3dnerf" / main_variant(settings))
    folder = _folder(settings.data_dir, record["corpus"])
    clip: Clip = folder.load(record, max_frames=FPS_HZ)

    speed = measure_speed(
        read=lambda: folder.load(record, max_frames=FPS_HZ),
        portrait=lambda c: made.portrait(
            c.frames[0], c.masks[0], c.world_to_camera[0], c.intrinsics[0], c.box, c.landmarks[0]
        ),
        frames=lambda identity: made.frames(identity, clip.tokens, clip.world_to_camera, clip.intrinsics, BATCH),
        write=lambda frames: encode_clip(frames, crf=14),
        device=str(made.device),
    )
    return speed.as_dict()


def main(context: Context) -> dict[str, Any]:
    """Measure all test clips. Returns counts; raises nothing for a clip that merely fails a metric."""
    forget()
    settings = context.settings
    methods = find_methods(settings.evaluate.methods)
    records = measured_records(settings, methods)
    refuse_known_people(settings, records)
    others = [r for corpus in settings.evaluate.corpora for r in _folder(settings.data_dir, corpus).records]
    pictured: set[str] = set()
    for corpus in settings.evaluate.corpora:
        pictured |= set([r["clip"] for r in records if r["corpus"] == corpus][: settings.report.strips])
    jobs = []
    for record in records:
        wrong = wrong_speech_of(record, records, others)
        jobs.append(
            Job(
                settings,
                record["corpus"],
                record["clip"],
                wrong,
                videos_of(record, methods),
                record["clip"] in pictured,
            )
        )
    logger.info(
        f"evaluate: {len(jobs)} test clips of {', '.join(settings.evaluate.corpora)}"
        + (f", other methods: {', '.join(sorted({m.name for m in methods}))}" if methods else "")
    )
    results = context.run(score_clip, jobs, [job.clip for job in jobs])
    write_outputs(context, jobs, results, methods)
    if records:
        speed = measure_fps(settings, records[0])
        timing = {"fps": speed, "variant": main_variant(settings)}
        write_atomic(
            Path(".timings") / settings.preset / "evaluate.json", (json.dumps(timing, indent=1) + "\n").encode()
        )
        context.tracker.metrics({f"speed/{k}": v for k, v in speed.items() if isinstance(v, float)})
    rows = [row for result in results for row in result["rows"]]
    for metric in ("ssim", "f_lmd", "m_lmd", "cpbd", "lse_c"):
        values = [r["value"] for r in rows if r["method"] == OURS and r["metric"] == metric and np.isfinite(r["value"])]
        if values:
            context.tracker.metrics({f"test/{metric}": float(np.mean(values))})
    return {"clips": len(jobs), "rows": len(rows), "without_value": int(sum(not np.isfinite(r["value"]) for r in rows))}


def write_outputs(context: Context, jobs: list[Job], results: list[dict[str, Any]], methods: list[MethodVideo]) -> None:
    """The stage's out: sorted, rounded by nothing but parquet's own bytes, without times."""
    out = context.out()
    rows = sorted(
        (row for result in results for row in result["rows"]),
        key=lambda r: (r["corpus"], r["clip"], r["method"], r["metric"]),
    )
    write_table(out / "clips.parquet", rows, COLUMNS)

    def write_json(name: str, value: Any) -> None:
        write_atomic(out / name, (json.dumps(value, indent=None, sort_keys=True, ensure_ascii=False) + "\n").encode())

    done = dict(zip([job.clip for job in jobs], results))
    write_json("mouth.json", {clip: result["mouth"] for clip, result in done.items()})
    strips, heats = {}, {}
    for clip, result in done.items():
        if result["picture"] is not None:
            image = result["picture"].pop("image")
            write_atomic(out / "pictures" / f"{clip}.png", png_bytes(image))
            strips[clip] = result["picture"]
        if result["heat"] is not None:
            write_atomic(out / "pictures" / f"{clip}.source.png", png_bytes(result["heat"].pop("source")))
            heats[clip] = result["heat"]
    write_json("strips.json", strips)
    write_json("heatmap.json", heats)
    write_json("region_ratios.json", {clip: result["acts"] for clip, result in done.items()})
    tools = _tools(context.settings)
    write_json(
        "methods.json",
        {
            "variants": {method_of(context.settings, v): v for v in context.settings.train.variants},
            "wrong_speech": {clip: result["notes"].get(WRONG, "") for clip, result in done.items()},
            "notes": {clip: {k: v for k, v in result["notes"].items() if k != WRONG} for clip, result in done.items()},
            "other_methods": sorted({m.name for m in methods}),
            "unused_videos": sorted(str(m.label) for m in methods if not any(m in job.methods for job in jobs)),
            "recipes": [
                vars(r) | {"low": _finite(r.low), "high": _finite(r.high), "perfect": _finite(r.perfect)}
                for r in tools.recipes()
            ],
            "backends": {
                "faces": {"name": tools.faces.name, "real": tools.faces.real},
                "judge": {
                    "name": tools.judge.name if tools.judge else context.settings.evaluate.judge,
                    "real": bool(tools.judge and tools.judge.real),
                    "protocol": tools.judge.protocol if tools.judge else "",
                    "missing": tools.why.get("judge", ""),
                },
                "lpips": {"name": "alexnet", "real": tools.network is not None, "missing": tools.why.get("lpips", "")},
                "identity": {
                    "name": tools.identity_name,
                    "real": bool(tools.recogniser and tools.recogniser.real),
                    "missing": tools.why.get("identity", ""),
                },
            },
        },
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
