"""Windows for the lip-sync networks: who trains and who judges, lip crops cut once, a bounded pool, negatives.

Reads the packs of ``align`` (``mp4``), ``lips`` and ``speech`` through :class:`s3dnerf.training.clips.ClipFolder`. A
small corpus lies in memory whole; of a large one a pool of clips does, in a shuffled order that depends on the seed and
the step alone, so that a resumed run sees what an unbroken one would have seen.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.settings.schema import Settings
from s3dnerf.sync.audio_windows import MEL, AudioWindows
from s3dnerf.sync.crops import cut_lips
from s3dnerf.sync.speech_activity import windows_with_speech
from s3dnerf.training.clips import ClipFolder
from s3dnerf.video.encoding import decode_clip

NEAREST, FARTHEST = 2, 10  # frames between a window and its negative of the same clip
GROUP, STRETCH = 16, 24  # windows of one clip in a batch, and the stretch of frames they are drawn from
OTHER_SPEAKER_SHARE = 0.2
POOL_BYTES = 3 << 30
WINDOWS_PER_VISIT = 64  # windows drawn from a clip while it is in the pool, on average


class SyncDataError(S3DNeRFError, RuntimeError):
    """The lip-sync networks cannot be trained on these data; the message says why and what to do."""


@dataclass(frozen=True)
class LipClip:
    """One clip as the lip-sync networks see it.

    Attributes
    ----------
    lips : uint8 (n, 3, s + 2 m, s + 2 m), lip crops with a margin of m pixels for small shifts
    audio : float32 (m, k), its sound as ``windows`` cut it
    speech : bool (n − 4,), which windows have speech
    margin : int, m
    """

    clip: str
    speaker: str
    lips: np.ndarray
    audio: np.ndarray
    speech: np.ndarray
    margin: int
    windows: AudioWindows = MEL

    def lip_window(self, frame: int, frames: int = 5) -> np.ndarray:
        """uint8 (5, 3, s + 2 m, s + 2 m)"""
        return self.lips[frame : frame + frames]

    def audio_window(self, frame: int) -> np.ndarray:
        """float32 (16, 80) of a mel, (10, D) of tokens"""
        return self.windows.of(self.audio, frame)


def crop_margin(size: int) -> int:
    """Pixels of margin around a stored crop of ``size``: a twelfth of it."""
    return size // 12


def load_lip_clip(
    folder: ClipFolder, record: dict[str, Any], size: int, audio: AudioWindows = MEL, frames: int = 5
) -> LipClip:
    """Decode one clip and keep its lips and sound; masks and landmarks are not read."""
    clip, speech = record["clip"], folder.packs["speech"]
    pictures = decode_clip(folder.packs["align"].read(clip, "mp4"))
    mel = speech.read(clip, MEL.part).astype(np.float32)  # says where speech is, whatever is read
    sound = mel if audio == MEL else speech.read(clip, audio.part).astype(np.float32)
    windows = max(0, len(pictures) - frames + 1)
    margin = crop_margin(size)
    lips = cut_lips(pictures, folder.packs["lips"].read(clip, "crop_boxes.npy"), size, margin)
    speaker = f"{record['corpus']}/{record['speaker']}"
    return LipClip(clip, speaker, lips, sound, windows_with_speech(mel, windows), margin, audio)


@dataclass(frozen=True)
class SyncSplit:
    """Who trains a lip-sync network and who judges it; speakers as ``corpus/name``."""

    train: list[tuple[ClipFolder, dict[str, Any]]]
    held_out: list[tuple[ClipFolder, dict[str, Any]]]

    @staticmethod
    def speakers(part: Sequence[tuple[ClipFolder, dict[str, Any]]]) -> list[str]:
        """Names in one part, sorted."""
        return sorted({f"{record['corpus']}/{record['speaker']}" for _, record in part})


def held_out_people(people: Sequence[str], fraction: float) -> list[str]:
    """The share of ``people`` that comes first by a hash of the name: at least one, never all; stable when others
    join.
    """
    ranked = sorted(set(people), key=lambda name: hashlib.sha256(f"sync held out {name}".encode()).hexdigest())
    if fraction == 0 or len(ranked) < 2:
        return []
    return sorted(ranked[: min(len(ranked) - 1, max(1, round(fraction * len(ranked))))])


def split_for(role: str, data_dir: str | Path, settings: Settings) -> SyncSplit:
    """The split of one network.

    ``expert``: HDTF's training people but those held out, and LRS2 train; judged on the held-out people and LRS2 val.
    ``judge``: LRS2 alone: it shares no HDTF speaker with anything that a generator is trained or tested on.

    Raises SyncDataError when there is nobody to train on or nobody to judge by.
    """
    if role not in ("expert", "judge"):
        raise ValueError(f"role: {role!r} — expected expert or judge")
    lrs2 = ClipFolder(data_dir, "lrs2")
    train = [(lrs2, r) for r in lrs2.of_split("train")]
    held_out = [(lrs2, r) for r in lrs2.of_split("val")]
    if role == "expert":
        hdtf = ClipFolder(data_dir, "hdtf")
        records = hdtf.of_split("train")
        apart = set(held_out_people([r["speaker"] for r in records], settings.sync.hdtf_val_fraction))
        train = [(hdtf, r) for r in records if r["speaker"] not in apart] + train
        held_out = [(hdtf, r) for r in records if r["speaker"] in apart] + held_out
    elif not train:
        raise SyncDataError(
            "judge: no LRS2 clip of the train split came through preprocessing — the judge is trained on LRS2 "
            "alone: set raw.lrs2 "
            f"({settings.raw.lrs2!r} now) to a folder with mvlrs_v1/, or look up why its clips were excluded in "
            f"{Path(data_dir) / 'ingest' / 'lrs2'}"
        )
    train = [(folder, r) for folder, r in train if r["duration_s"] >= 0.6]
    for name, part in (("train on", train), ("hold out", held_out)):
        if not part:
            raise SyncDataError(
                f"{role}: no clip to {name} — needs clips of {'HDTF and LRS2' if role == 'expert' else 'LRS2'}; "
                "look at data/<preset>/ingest/*/excluded.parquet and the stages' quarantine.parquet"
            )
    shared = set(SyncSplit.speakers(train)) & set(SyncSplit.speakers(held_out))
    if shared:
        raise SyncDataError(
            f"{role}: {sorted(shared)} both train and judge — the split is by speaker: mend ingest's split"
        )
    return SyncSplit(train, held_out)


class ClipPool:
    """Clips in memory, at most ``capacity`` of them; which ones depends on the seed and the step alone.

    Clips come in the order of one shuffle after another; at step t the pool is a window of ``capacity`` clips into that
    order that has moved on by ``per_step`` clips a step. With room for all clips it holds all, in their own order.
    """

    def __init__(
        self,
        source: Sequence[tuple[ClipFolder, dict[str, Any]]],
        size: int,
        batch: int,
        seed: int,
        audio: AudioWindows = MEL,
        pool_bytes: int = POOL_BYTES,
        workers: int = 1,
    ) -> None:
        self.source, self.size, self.seed, self.audio = list(source), size, seed, audio
        side = size + 2 * crop_margin(size)
        per_clip = max(float(np.mean([r["duration_s"] for _, r in self.source])) * 25 * 3 * side**2, 1.0)
        self.capacity = min(len(self.source), max(2, int(pool_bytes / per_clip)))
        self.whole = self.capacity == len(self.source)
        self.per_step = batch / WINDOWS_PER_VISIT
        self._held: OrderedDict[int, Future[LipClip]] = OrderedDict()
        self._workers = ThreadPoolExecutor(workers)
        self._shuffles: dict[int, np.ndarray] = {}

    def _at(self, position: int) -> int:
        """Which clip stands at a position of the endless order."""
        turn, place = divmod(position, len(self.source))
        if turn not in self._shuffles:
            self._shuffles = {t: o for t, o in self._shuffles.items() if t >= turn - 1}
            self._shuffles[turn] = np.random.default_rng([self.seed, 977, turn]).permutation(len(self.source))
        return int(self._shuffles[turn][place])

    def members(self, step: int) -> list[int]:
        """Numbers of the clips in the pool at a step."""
        if self.whole:
            return list(range(len(self.source)))
        first = int(step * self.per_step)
        return sorted({self._at(first + i) for i in range(self.capacity)})

    def _load(self, number: int) -> LipClip:
        folder, record = self.source[number]
        return load_lip_clip(folder, record, self.size, self.audio)

    def at(self, step: int) -> list[LipClip]:
        """The clips of a step, those without a usable window left out. Loads what is new, and begins with the next
        step's.
        """
        wanted = self.members(step)
        ahead = [] if self.whole else self.members(step + 8)
        for number in [*wanted, *ahead]:
            if number not in self._held:
                self._held[number] = self._workers.submit(self._load, number)
        keep = {*wanted, *ahead}
        for number in [n for n in self._held if n not in keep]:
            del self._held[number]
        return [clip for n in wanted if (clip := self._held[n].result()).speech.any()]


@dataclass(frozen=True)
class SyncBatch:
    """Windows of a few clips, each other's negatives.

    Attributes
    ----------
    lips : uint8 (b, 5, 3, s + 2 m, s + 2 m)
    audio : float32 (b, 16, 80) of mels, (b, 10, D) of tokens
    negatives : float32 (b, b), chance that window j is the negative of anchor i (:func:`negative_chances`)
    """

    lips: torch.Tensor
    audio: torch.Tensor
    negatives: torch.Tensor


def negative_chances(clips: np.ndarray, frames: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """Chance that window j of a batch is the negative of anchor i: float64 (b, b), rows sum to 1 (to 0 for an anchor
    without any).

    Four fifths go to the same clip's windows ±2 … ±10 frames away, mostly near (as 1 / distance); one fifth to other
    speakers' windows, evenly. ±1 frame is never a negative: nobody could tell it. An anchor that lacks one kind takes
    the other.

    Parameters
    ----------
    clips, speakers : int (b,), which clip and which speaker a window is of
    frames : int (b,)

    Raises SyncDataError when no anchor has a negative.
    """
    apart = np.abs(frames[:, None] - frames[None])  # [b, b]
    near = (clips[:, None] == clips[None]) & (apart >= NEAREST) & (apart <= FARTHEST)
    same = np.where(near, 1.0 / np.maximum(apart, 1), 0.0)
    others = (speakers[:, None] != speakers[None]).astype(float)
    same_total, others_total = same.sum(axis=1, keepdims=True), others.sum(axis=1, keepdims=True)
    if not same_total.any() and not others_total.any():
        raise SyncDataError(
            "no window has a negative: the clips are too short and there is no other speaker — train on more clips"
        )
    share = np.where(same_total == 0, 1.0, np.where(others_total == 0, 0.0, OTHER_SPEAKER_SHARE))
    return (1 - share) * same / np.maximum(same_total, 1e-12) + share * others / np.maximum(others_total, 1e-12)


def draw_frames(speech: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Windows of one clip for a batch: ``count`` (or all there are) out of a stretch of 24, those with speech first;
    sorted.
    """
    spoken = np.flatnonzero(speech)
    anchor = int(spoken[rng.integers(len(spoken))])
    first = max(0, min(anchor - int(rng.integers(STRETCH)), len(speech) - STRETCH))
    stretch = np.arange(first, min(first + STRETCH, len(speech)))
    with_speech = stretch[speech[stretch]]
    pool = with_speech if len(with_speech) >= count else stretch
    return np.sort(rng.choice(pool, size=min(count, len(pool)), replace=False))


def draw_batch(clips: Sequence[LipClip], size: int, rng: np.random.Generator) -> SyncBatch:
    """About ``size`` windows: groups of up to 16 of one clip, at least two groups, of different speakers as far as
    there are.
    """
    group = min(GROUP, max(2, size // 2))
    names = sorted({c.speaker for c in clips})
    free: list[int] = []
    lips, audio, which, frames, speakers = [], [], [], [], []
    for _ in range(max(2, size // group)):
        free = free or list(range(len(clips)))
        number = free[int(rng.integers(len(free)))]
        clip = clips[number]
        free = [n for n in free if clips[n].speaker != clip.speaker]
        for f in draw_frames(clip.speech, group, rng):
            lips.append(clip.lip_window(int(f)))
            audio.append(clip.audio_window(int(f)))
            which.append(number)
            frames.append(int(f))
            speakers.append(names.index(clip.speaker))
    chances = negative_chances(np.array(which), np.array(frames), np.array(speakers))
    return SyncBatch(*map(torch.from_numpy, (np.stack(lips), np.stack(audio), chances.astype(np.float32))))
