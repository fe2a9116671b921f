"""The sample corpora's plans and lists: who says what in which file, in HDTF's, LRS2's and MEAD's own layouts and
quirks.

Writes (under ``<sample>/raw``) HDTF's annotation lists, LRS2's lists; the videos themselves are made one by one from
the plans by ``film.make_video``.

Quirks kept on purpose: 25, 29.97 and 30 fps; a title card before the annotated interval; one video with two intervals
and two crops; one person in two files; cut clips beside whole videos; a byte-order mark at the head of
``WDA_video_url.txt``; a trailing space after an interval list; an address whose video nobody has; LRS2's ``NF`` marks;
MEAD's fractional rate and its sound apart, some frames shorter than the picture.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np

from s3dnerf.corpora.synthetic.film import VideoPlan
from s3dnerf.settings.schema import Settings
from s3dnerf.video.packs import write_atomic

TRAIN_NAMES = (
    "Keller",
    "Novak",
    "Okafor",
    "Lindqvist",
    "Moreau",
    "Tanaka",
    "Silva",
    "Byrne",
    "Haddad",
    "Petrov",
    "Nakamura",
    "Olsen",
    "Rossi",
    "Schmidt",
    "Varga",
    "Walsh",
    "Yilmaz",
    "Zeman",
    "Abara",
    "Baptiste",
    "Chandra",
    "Duarte",
    "Eriksen",
    "Fontaine",
    "Grabowski",
    "Herrera",
    "Ivanova",
    "Jansen",
    "Kimura",
    "Larsen",
)
MISSING_NAME = "Quimby"
LISTS = ("RD", "WDA", "WRA")
RATES = ((25, 1), (30000, 1001), (30, 1))
MEAD_NAMES = ("M003", "W009", "M011", "W015", "M019", "W021", "M023", "W025", "M026", "W028")
EMOTIONS = ("neutral", "happy", "angry", "sad", "surprised")


def even(value: float) -> int:
    """The nearest even whole number."""
    return 2 * round(value / 2)


def train_name(i: int) -> str:
    """A surname for the i-th training person; never ends in a digit (those number a person's videos)."""
    return (
        TRAIN_NAMES[i]
        if i < len(TRAIN_NAMES)
        else TRAIN_NAMES[i % len(TRAIN_NAMES)] + TRAIN_NAMES[(i // len(TRAIN_NAMES)) % len(TRAIN_NAMES)].lower()
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def hdtf_plans(settings: Settings) -> tuple[list[VideoPlan], dict[str, list[str]]]:
    """Plans of the HDTF-layout videos, and the lines of the annotation lists by file name.

    Raises ValueError when the settings name fewer test people than they ask for.
    """
    sample = settings.sample
    named = settings.ingest.hdtf_test_speakers
    if len(named) < sample.hdtf_test_speakers:
        raise ValueError(
            f"sample.hdtf_test_speakers: {sample.hdtf_test_speakers} — accepted: at most {len(named)}, "
            "the number of names in ingest.hdtf_test_speakers"
        )
    people = [
        (train_name(i), sample.hdtf_train_s, i, sample.hdtf_train_speakers) for i in range(sample.hdtf_train_speakers)
    ]
    people += [(named[i], sample.hdtf_test_s, i, 0) for i in range(sample.hdtf_test_speakers)]
    root = settings.data_dir / "sample"
    plans: list[VideoPlan] = []
    lists: dict[str, list[str]] = {
        f"{kind}_{what}": []
        for kind in LISTS
        for what in ("video_url", "resolution", "annotion_time", "crop_wh", "crop_ratio")
    }
    for index, (name, seconds, i, of) in enumerate(people):
        kind, fps = LISTS[index % 3], RATES[(index * 2 + 1) % 3]
        whole = math.ceil(seconds - 1e-9)
        cut_clip = (of >= 4 and i == 3) or (of == 0 and i == 4)
        if cut_clip:
            plans.append(_hdtf_clip(settings, root, kind, name, seconds, fps))
            continue
        files = (
            [(f"{name}{n}", math.ceil(whole / 2)) for n in range(2)]
            if of >= 4 and i == 0 and whole >= 4
            else [(name, whole)]
        )
        for number, (video, length) in enumerate(files):
            two = of > 0 and i == 1 and length >= 4
            plans.append(_hdtf_video(settings, root, lists, kind, name, video, length, fps, number, index, two))
    lists["RD_video_url"].insert(min(1, len(lists["RD_video_url"])), f"{MISSING_NAME} {_address(MISSING_NAME)}")
    lists["RD_resolution"].append(f"{MISSING_NAME}.mp4 720")
    return plans, lists


def _address(video: str) -> str:
    return f"https://example.org/watch?v={zlib.crc32(video.encode()):08x}"


def _hdtf_clip(settings: Settings, root: Path, kind: str, name: str, seconds: float, fps: tuple[int, int]) -> VideoPlan:
    side = even(settings.sample.hdtf_px)
    return VideoPlan(
        "hdtf",
        f"hdtf/{name}",
        settings.seed,
        0,
        str(root / "raw" / "HDTF"),
        str(root),
        f"clips/{kind}_{name}_000.mp4",
        "",
        fps,
        (side, side),
        ((0.5 * side, 0.45 * side, 0.25 * side),),
        ((0.0, seconds, "speaker"),),
    )


def _hdtf_video(
    settings: Settings,
    root: Path,
    lists: dict[str, list[str]],
    kind: str,
    name: str,
    video: str,
    length: int,
    fps: tuple[int, int],
    number: int,
    index: int,
    two: bool,
) -> VideoPlan:
    """A whole video larger than its crop, with its lines in the lists."""
    side = even(settings.sample.hdtf_px)
    height, width = even(1.125 * side), even(1.5 * side)
    rng = np.random.default_rng([settings.seed, index, number, 9])
    start = index % 2
    if two:
        half = length // 2
        intervals = [(start, start + half), (start + half + 1, start + half + 1 + length - half)]
    else:
        intervals = [(start, start + length)]
    parts: list[tuple[float, float, str]] = []
    places, crops = [], []
    now = 0.0
    for a, b in intervals:
        if a > now:
            parts.append((now, float(a), "card"))
        last = b == intervals[-1][1]
        now = b + (0.3 if last else 0.0)
        parts.append((float(a), now, "speaker"))
        x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
        crops.append((x, side, y, side))
        places.append(
            (
                x + side * (0.5 + float(rng.uniform(-0.02, 0.02))),
                y + side * 0.45,
                side * float(rng.uniform(0.240, 0.258)),
            )
        )
    lists[f"{kind}_video_url"].append(f"{video} {_address(video)}")
    lists[f"{kind}_resolution"].append(f"{video}.mp4 {height}")
    spoken = " ".join(f"{_clock(a)}-{_clock(b)}" for a, b in intervals)
    lists[f"{kind}_annotion_time"].append(f"{video}.mp4 {spoken}" + (" " if two else ""))
    for i, crop in enumerate(crops):
        lists[f"{kind}_crop_wh"].append(f"{video}_{i}.mp4 {crop[0]} {crop[1]} {crop[2]} {crop[3]}")
        lists[f"{kind}_crop_ratio"].append(f"{video}_{i}.mp4 1.2")
    return VideoPlan(
        "hdtf",
        f"hdtf/{name}",
        settings.seed,
        number,
        str(root / "raw" / "HDTF"),
        str(root),
        f"videos/{video}.mp4",
        "",
        fps,
        (height, width),
        tuple(places),
        tuple(parts),
    )


def write_hdtf_lists(folder: Path, lists: dict[str, list[str]]) -> None:
    """``HDTF_dataset/*.txt``: sorted lines as in the real lists, with their byte-order mark."""
    for name, lines in lists.items():
        mark = "\ufeff" if name == "WDA_video_url" else ""
        ordered = lines if name.endswith("video_url") else sorted(lines)
        write_atomic(
            folder / "HDTF_dataset" / f"{name}.txt", (mark + "".join(f"{line}\n" for line in ordered)).encode("utf-8")
        )


def lrs2_plans(settings: Settings) -> tuple[list[VideoPlan], dict[str, list[str]]]:
    """Plans of the LRS2-layout utterances (160×160, 25 fps, 16 kHz), and the lists ``train``, ``val``, ``test``."""
    sample, root = settings.sample, settings.data_dir / "sample"
    plans: list[VideoPlan] = []
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for i in range(sample.lrs2_speakers):
        rng = np.random.default_rng([settings.seed, i, 21])
        folder = f"{int(rng.integers(10**18, 9 * 10**18)):019d}"
        which = (
            "val"
            if i == sample.lrs2_speakers - 2 and i > 0
            else "test"
            if i == sample.lrs2_speakers - 1 and i > 1
            else "train"
        )
        for n in range(sample.lrs2_utterances):
            stem = f"{folder}/{n * 3 + 1 + int(rng.integers(0, 3)):05d}"
            seconds = sample.lrs2_s * float(rng.uniform(0.9, 1.1))
            plans.append(
                VideoPlan(
                    "lrs2",
                    f"lrs2/{folder}",
                    settings.seed,
                    n,
                    str(root / "raw" / "LRS2"),
                    str(root),
                    f"mvlrs_v1/main/{stem}.mp4",
                    "",
                    (25, 1),
                    (160, 160),
                    (
                        (
                            80.0 + float(rng.uniform(-3, 3)),
                            72.0 + float(rng.uniform(-3, 3)),
                            160 * float(rng.uniform(0.245, 0.275)),
                        ),
                    ),
                    ((0.0, seconds, "speaker"),),
                    audio_rate_hz=16000,
                    audio_channels=1,
                    whole_words=True,
                    transcript=f"mvlrs_v1/main/{stem}.txt",
                    crf=20,
                )
            )
            lists[which].append(stem + (" NF" if which == "test" else ""))
    return plans, lists


def write_lrs2_lists(folder: Path, lists: dict[str, list[str]]) -> None:
    """``mvlrs_v1/{train,val,test}.txt``."""
    for name, lines in lists.items():
        write_atomic(folder / "mvlrs_v1" / f"{name}.txt", "".join(f"{line}\n" for line in sorted(lines)).encode())


def mead_plans(settings: Settings) -> list[VideoPlan]:
    """Plans of the MEAD-layout clips: front view, level 1, one emotion a person, sound apart."""
    sample, root = settings.sample, settings.data_dir / "sample"
    plans = []
    height = even(sample.mead_px)
    width = even(sample.mead_px * 16 / 9)
    for i in range(sample.mead_speakers):
        name = MEAD_NAMES[i] if i < len(MEAD_NAMES) else f"{'MW'[i % 2]}{31 + i:03d}"
        emotion = EMOTIONS[i % len(EMOTIONS)]
        rng = np.random.default_rng([settings.seed, i, 33])
        for n in range(sample.mead_clips):
            fps = (65521, 2184) if (i + n) % 2 else (30, 1)
            seconds = sample.mead_s * float(rng.uniform(0.95, 1.05))
            stem = f"{emotion}/level_1/{n + 1:03d}"
            plans.append(
                VideoPlan(
                    "mead",
                    f"mead/{name}",
                    settings.seed,
                    n,
                    str(root / "raw" / "MEAD"),
                    str(root),
                    f"{name}/video/front/{stem}.mp4",
                    f"{name}/audio/{stem}.m4a",
                    fps,
                    (height, width),
                    ((0.5 * width, 0.44 * height, 0.255 * height),),
                    ((0.0, seconds, "speaker"),),
                    female=name.startswith("W"),
                    mood=emotion,
                    audio_rate_hz=48000,
                    audio_shorter_s=float(rng.integers(1, 4)) / 30,
                    whole_words=True,
                )
            )
    return plans
