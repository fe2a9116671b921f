"""Contact sheets: for each corpus and preprocessing stage, pictures of what the stage made of a few clips and of its
worst one.

Reads the packs under ``data/<preset>`` and the raw videos; writes nothing. Everything is HTML with inline pictures,
equal bytes for equal data. ``s3dnerf sheets`` writes a page of them alone; the report holds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape

import numpy as np

from s3dnerf.core.rates import FPS_HZ
from s3dnerf.faces.camera import pose_degrees, project
from s3dnerf.metrics.lmd import mouth_opening
from s3dnerf.reporting import narrative
from s3dnerf.reporting.membership import table_path
from s3dnerf.reporting.pictures import annotated, cut_out, mel_picture, source_picture, token_picture
from s3dnerf.reporting.png import photo_uri
from s3dnerf.reporting.sheet_choice import SHOWN, Measure, Preprocessed, by_hash, measures, ranked
from s3dnerf.reporting.svg import trace, waveform
from s3dnerf.reporting.tables import CORPUS_TITLES
from s3dnerf.reporting.templates import render
from s3dnerf.settings.schema import CORPORA, Settings
from s3dnerf.speech.audio import wav_samples
from s3dnerf.sync.filtering import SYNC_PART, clip_samples
from s3dnerf.video.encoding import VideoError, decode_clip
from s3dnerf.video.probing import probe
from s3dnerf.video.reading import read_frames

FRAMES = 4  # of a clip
AXIS = 0.75  # length of the drawn pose axes, a share of the head cube's half side


@dataclass(frozen=True)
class Entry:
    """One clip on a sheet: ``body`` is HTML, the rest plain text; ``why`` says how it came to be shown where it is the
    worst one.
    """

    clip: str
    body: str
    caption: str
    why: str = ""


@dataclass(frozen=True)
class Sheet:
    """One stage's sheet of one corpus; ``head`` is the stage's number in words."""

    stage: str
    legend: str
    entries: list[Entry]
    head: str = ""


@dataclass(frozen=True)
class CorpusSheets:
    """All sheets of one corpus."""

    corpus: str
    title: str
    said: str
    sheets: list[Sheet] = field(default_factory=list)


def positions(count: int, moment: int | None = None) -> np.ndarray:
    """Frames to show of ``count``: spread from the first to the last, one of them moved to ``moment``.

    >>> positions(10).tolist(), positions(10, 4).tolist()
    ([0, 3, 6, 9], [0, 4, 6, 9])
    """
    at = np.round(np.linspace(0, count - 1, min(FRAMES, count))).astype(int)
    if moment is not None and moment not in at:
        at[np.abs(at - moment).argmin()] = moment
    return np.sort(at)


def signed(value: float, digits: int = 0) -> str:
    """A number with its sign as print sets it: ``+3``, ``−2``, and ``0`` without one.

    >>> signed(-2.4), signed(-0.04, 1), signed(3.14, 1)
    ('−2', '0.0', '+3.1')
    """
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if text.strip("+−0.") else text[1:]


def _tile(picture: np.ndarray, alt: str, caption: str) -> str:
    height, width = picture.shape[:2]
    image = f'<img src="{photo_uri(picture)}" alt="{escape(alt)}" width="{width}" height="{height}">'
    return f'<figure class="tile">{image}<figcaption>{escape(caption)}</figcaption></figure>'


def _tiles(tiles: list[str], kind: str = "") -> str:
    return f'<div class="tiles {kind}">{"".join(tiles)}</div>'


def _track(label: str, body: str) -> str:
    return f'<div class="strip"><span class="who">{label}</span>{body}</div>'


def _source_tiles(corpus: Preprocessed, clip: str, at: np.ndarray) -> str:
    """The raw frames that the ticks ``at`` show, with how far each frame's own time is from its tick."""
    record, index = corpus.records[clip], corpus.read("resample", clip, "frames.npy")
    path, crop = corpus.source(clip), tuple(int(record[f"crop_{k}"]) for k in "xywh")
    try:
        times = probe(path).frame_times_s
        shown = [frame.copy() for frame in read_frames(path, index[at])]
    except VideoError as bad:
        return f'<p class="empty">The source cannot be shown: {escape(str(bad)[:200])}</p>'
    tiles = []
    for i, frame in zip(at, shown):
        away_ms = 1000 * (times[index[i]] - (float(record["start_s"]) + i / FPS_HZ))
        caption = f"{i / FPS_HZ:.2f} s: frame {index[i]}, {signed(away_ms)} ms"
        tiles.append(
            _tile(
                source_picture(frame, None if crop[2] < 0 else (crop[0], crop[1], crop[2], crop[3])),
                f"{clip}, tick {i}",
                caption,
            )
        )
    return _tiles(tiles, "source")


def resample_entry(corpus: Preprocessed, clip: str, moment: int | None) -> tuple[str, str]:
    """Source frames at the 25 Hz ticks, and the sound with those ticks marked."""
    record, index = corpus.records[clip], corpus.read("resample", clip, "frames.npy")
    at, samples = positions(len(index), moment), wav_samples(corpus.read("resample", clip, "wav"))
    body = _source_tiles(corpus, clip, at) + _track(
        "sound", waveform(samples, marks=[(i + 0.5) / len(index) for i in at])
    )
    about = f"{record['width_px']}×{record['height_px']} at {record['fps_hz']:g} Hz" if "width_px" in record else ""
    repeated = int((np.diff(index) == 0).sum())
    return body, f"{record['video']}, {about}: {len(index)} ticks, {repeated} show the frame before them once more."


def align_entry(corpus: Preprocessed, clip: str, moment: int | None) -> tuple[str, str]:
    """Aligned frames with the 68 landmarks; the detector's score where it looked."""
    frames, scores = decode_clip(corpus.read("align", clip, "mp4")), corpus.read("align", clip, "scores.npy")
    landmarks = corpus.read("align", clip, "landmarks.npy")
    tiles = []
    for i in positions(len(frames), moment):
        said = f"score {scores[i]:.2f}" if np.isfinite(scores[i]) else "tracked"
        tiles.append(_tile(annotated(frames[i], landmarks[i]), f"{clip}, frame {i}", f"frame {i}: {said}"))
    seen = scores[np.isfinite(scores)]
    spread = f"{seen.min():.2f} to {seen.max():.2f}, median {np.median(seen):.2f}"
    return _tiles(tiles), f"{len(frames)} frames, the detector looked at {len(seen)}: scores {spread}."


def masks_entry(corpus: Preprocessed, clip: str, moment: int | None) -> tuple[str, str]:
    """Aligned frames with the mask's outline and the head's axes as the camera projects them."""
    frames = decode_clip(corpus.read("align", clip, "mp4"))
    masks = np.unpackbits(corpus.read("masks", clip, "mask.npy"), axis=-1)[..., : frames.shape[2]].astype(bool)
    cameras, lenses = corpus.read("masks", clip, "world_to_camera.npy"), corpus.read("masks", clip, "intrinsics.npy")
    box = corpus.read("masks", clip, "box.npy").astype(np.float64)
    ends = box[:3] + np.concatenate([np.zeros((1, 3)), np.eye(3)]) * box[3] * AXIS
    pose, tiles = pose_degrees(cameras), []
    for i in positions(len(frames), moment):
        drawn = annotated(frames[i], mask=masks[i], axes=project(ends, cameras[i], lenses[i]))
        said = " ".join(f"{name} {signed(value)}°" for name, value in zip(("yaw", "pitch", "roll"), pose[i]))
        tiles.append(_tile(drawn, f"{clip}, frame {i}", f"frame {i}: {said}"))
    low, high, share = pose.min(axis=0), pose.max(axis=0), 100 * masks.mean(axis=(1, 2))
    ranges = ", ".join(f"{name} {signed(a)} to {signed(b)}°" for name, a, b in zip(("yaw", "pitch", "roll"), low, high))
    return _tiles(tiles), f"{ranges}; the mask covers {share.min():.0f} to {share.max():.0f} % of the frame."


def lips_entry(corpus: Preprocessed, clip: str, moment: int | None) -> tuple[str, str]:
    """Aligned frames with the boxes that lip crops are cut by, and what is inside them."""
    frames, boxes = decode_clip(corpus.read("align", clip, "mp4")), corpus.read("lips", clip, "crop_boxes.npy")
    at = positions(len(frames), moment)
    tiles = [_tile(annotated(frames[i], lip_box=boxes[i]), f"{clip}, frame {i}", f"frame {i}") for i in at]
    cuts = [_tile(cut_out(frames[i], boxes[i]), f"{clip}, lips of frame {i}", f"lips of frame {i}") for i in at]
    moved = np.ptp(boxes[:, :2], axis=0).max()
    said = "it stands still" if moved == 0 else f"it follows the head by up to {moved:.0f} px"
    return _tiles(tiles) + _tiles(cuts), f"The lip box is {boxes[0, 2] - boxes[0, 0]:.0f} px wide; {said}."


def speech_entry(corpus: Preprocessed, clip: str, moment: int | None) -> tuple[str, str]:
    """Sound, mel and tokens over the same time as the mouth's opening in the picture."""
    record = corpus.records[clip]
    samples = clip_samples(corpus.settings.data_dir, record)
    tokens, mel = corpus.read("speech", clip, "tokens.npy"), corpus.read("speech", clip, "mel.npy")
    mouth = mouth_opening(corpus.read("align", clip, "landmarks.npy"))

    def wide(picture: np.ndarray, name: str) -> str:
        size = f'width="{picture.shape[1]}" height="{picture.shape[0]}"'
        return f'<img class="wide" src="{photo_uri(picture)}" alt="{name} of {escape(clip)}" {size}>'

    body = _track("sound", waveform(samples)) + _track(
        "mel", wide(mel_picture(mel[: round(len(samples) / 200)]), "mel")
    )
    body += _track("tokens", wide(token_picture(tokens), "tokens")) + _track(
        "mouth opening", trace(mouth.tolist(), f"mouth opening of {clip}")
    )
    peak = 20 * np.log10(max(float(np.abs(samples).max()), 1e-6))
    said = f" “{record['text']}”" if record.get("text") else ""
    if SYNC_PART in corpus.packs["speech"].kinds(clip):
        sync = corpus.read("speech", clip, SYNC_PART)
        said += (
            f" Sync filter: {sync['verdict'].replace('_', ' ')}, sound moved by {signed(sync['shifted_frames'])} "
            "frames."
        )
    return (
        body,
        f"{len(mouth) / FPS_HZ:.2f} s, peak {signed(peak, 1)} dBFS; {len(tokens)} tokens of {tokens.shape[1]} "
        f"numbers, 2 a frame.{said}",
    )


Draw = Callable[[Preprocessed, str, int | None], tuple[str, str]]
STAGES: dict[str, tuple[Draw, tuple[str, ...], str]] = {
    "resample": (
        resample_entry,
        ("resample",),
        "Raw frames that the 25 Hz clock shows, green: the annotated crop. Beside each: which source frame, and its "
        "own time less the "
        "tick's. Below, the 16 kHz sound with these ticks marked.",
    ),
    "align": (
        align_entry,
        ("align",),
        "Aligned frames with 68 landmarks (mouth pink) and the detector's score where it looked.",
    ),
    "masks": (
        masks_entry,
        ("align", "masks"),
        "Mask outline (yellow) and the head's axes as its camera projects them: x red to the image's right, y green "
        "up, z blue out of "
        "the face.",
    ),
    "lips": (
        lips_entry,
        ("align", "lips"),
        "The boxes that lip crops are cut by, and what the lip-sync networks see in them.",
    ),
    "speech": (
        speech_entry,
        ("resample", "align", "speech"),
        "Over one time axis: sound, mel (lip-sync networks), tokens (generator), and how far the mouth is open in "
        "the picture.",
    ),
}


def stage_sheet(corpus: Preprocessed, stage: str, measure: Measure | str) -> Sheet:
    """The sheet of one stage: clips by hash of their names, and the one whose number is worst."""
    draw, needs, legend = STAGES[stage]
    clips = [
        clip
        for clip in corpus.clips(stage)
        if all(other in corpus.packs and clip in corpus.packs[other] for other in needs)
    ]
    moments: dict[str, tuple[int | None, str]] = {clip: (None, "") for clip in sorted(by_hash(clips, SHOWN))}
    head = measure if isinstance(measure, str) else ""
    if clips and isinstance(measure, Measure):
        order = ranked(corpus, clips, measure)
        clip, quality = order[0]
        if quality.value == order[-1][1].value:
            head = f"{measure.said(quality)} in {narrative.many(len(order), 'clip')}"
        else:
            head = f"worst of {len(order)}: {measure.said(quality)}"
            moments.pop(clip, None)
            moments[clip] = quality.frame, head
    return Sheet(
        stage, legend, [Entry(clip, *draw(corpus, clip, moment), why) for clip, (moment, why) in moments.items()], head
    )


def stopped_sheet(corpus: Preprocessed) -> Sheet | None:
    """Clips that a stage after ``resample`` stopped, by hash: what their source shows, and the reason."""
    came = set(corpus.clips("resample"))
    bad = {row["clip"]: row for row in corpus.stopped if row["clip"] in came}
    entries = []
    for clip in sorted(by_hash(bad, SHOWN)):
        body = _source_tiles(corpus, clip, positions(len(corpus.read("resample", clip, "frames.npy"))))
        entries.append(Entry(clip, body, str(bad[clip]["detail"]), f"{bad[clip]['stage']}: {bad[clip]['reason']}"))
    legend = (
        "Clips that a stage after resample stopped: what their source shows, and the reason. Every clip's is in "
        f"{table_path(corpus.settings.preset)}."
    )
    return Sheet("stopped", legend, entries, narrative.many(len(bad), "clip")) if entries else None


def contact_sheets(settings: Settings) -> list[CorpusSheets]:
    """The sheets of every corpus that has clips, in the settings' order of corpora."""
    found, by_stage = [], measures(settings)
    for name in CORPORA:
        if not (settings.data_dir / "ingest" / name / "clips.parquet").is_file():
            continue
        corpus = Preprocessed(settings, name)
        if not corpus.records:
            continue
        sheets = [stage_sheet(corpus, stage, by_stage[stage]) for stage in STAGES if corpus.clips(stage)]
        stopped = stopped_sheet(corpus)
        counts = ", ".join(f"{stage} {len(corpus.clips(stage))}" for stage in STAGES if stage in corpus.packs)
        said = f"{narrative.many(len(corpus.records), 'clip')} from ingest; came through {counts or 'no stage yet'}."
        found.append(CorpusSheets(name, CORPUS_TITLES[name], said, sheets + ([stopped] if stopped else [])))
    return found


def sheets_page(settings: Settings) -> str:
    """A self-contained page of the contact sheets alone. Raises FileNotFoundError where nothing was preprocessed."""
    found = contact_sheets(settings)
    if not any(part.sheets for part in found):
        raise FileNotFoundError(f"{settings.data_dir}: no preprocessed clip — run: dvc repro speech")
    return render("sheets_page.html", preset=settings.preset, contact_sheets=found)
