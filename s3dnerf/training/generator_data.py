"""What the generator trains on: one source frame and T target frames of one clip, with all that goes with them.

A sample is a pure function of (seed, step, number in the batch): a resumed run needs no position in the data but the
step, and any number of processes draws the same batch. Clips are decoded when first drawn and kept; a corpus of more
than ``RESIDENT_CLIPS`` clips is walked through in a shuffled order, samples being drawn from a window of so many clips
that moves on by one a step: memory stays bounded (3 GB at most) and each clip is decoded once a round.

Reads ``data/<preset>/`` through :class:`s3dnerf.training.clips.ClipFolder`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.shapes import Float, Int, Tensor
from s3dnerf.model.cameras import Camera
from s3dnerf.model.crossmodal import windows_at
from s3dnerf.model.field import Portrait
from s3dnerf.model.lip_shapes import LipShapes, lip_shape
from s3dnerf.settings.schema import ModelSettings, TrainSettings
from s3dnerf.sync.audio_windows import MEL, AudioWindows
from s3dnerf.training.clips import Clip, ClipFolder
from s3dnerf.training.lip_regression import fit_lip_shapes
from s3dnerf.training.phases import phase_at

RESIDENT_CLIPS = 64


class NoTrainingData(S3DNeRFError, RuntimeError):
    """There is no clip to train on; the message says what to look at."""


@dataclass
class Batch:
    """B samples of T frames (b = B·T frames, those of a sample side by side), on the device, colours in [0, 1].

    Attributes
    ----------
    source : the source frames
    coarse_target : the masked target at raw_px, black outside, weighted by ``mask``
    mask : the share of each raw pixel inside the face
    audio : the T frames' sound, as the expert reads it
    noise, draw : place samples on rays; choose rays
    backdrop : a random colour a frame
    """

    source: Portrait
    target: Float[Tensor, "b 3 256 256"]
    coarse_target: Float[Tensor, "b 3 r r"]
    mask: Float[Tensor, "b 1 r r"]
    outside: Float[Tensor, "b 3 r r"]
    camera: Camera
    speech: Float[Tensor, "b k s"]
    audio: Float[Tensor, "B m k"]
    lip_box: Float[Tensor, "b 4"]
    landmarks: Float[Tensor, "b 68 2"]
    noise: Float[Tensor, "b r2 s2"]
    draw: Float[Tensor, "b r2"]
    backdrop: Float[Tensor, "b 3"]


def training_rays(mask: Float[Tensor, "b 1 r r"], draw: Float[Tensor, "b r2"], outside: float) -> Int[Tensor, "b n"]:
    """Which raw pixels training renders: the target's inner face with two pixels around it, and a share of the others.

    Parameters
    ----------
    mask : share of each raw pixel inside the face
    draw : a number in [0, 1) a pixel; one outside the face is rendered where it lies below ``outside``

    Returns
    -------
    row · r + column, ascending, filled up with r² to the longest of the batch. A frame's rays depend on that frame
    alone.
    """
    near = functional.max_pool2d((mask > 0).float(), 5, stride=1, padding=2).flatten(1) > 0
    wanted = near | (draw < outside)  # [b, r²]
    index = torch.arange(wanted.shape[1], device=mask.device).expand_as(wanted)
    index = torch.where(wanted, index, wanted.shape[1]).sort(1).values
    return index[:, : int(wanted.sum(1).amax())]


def stacked(samples: list[dict[str, Any]], name: str, device: torch.device) -> Tensor:
    """One part of each sample, in a row, on a device."""
    return torch.stack([torch.as_tensor(s[name]) for s in samples]).to(device, non_blocking=True)


def make_portraits(samples: list[dict[str, Any]], device: torch.device) -> Portrait:
    """Samples' source frames as tensors on a device."""

    def stack(name: str) -> Tensor:
        return stacked(samples, name, device)

    full = stack("source").movedim(-1, -3).float() / 255.0
    face = full * stack("source_mask").float()[:, None]
    camera = Camera(stack("source_camera"), stack("source_intrinsics"))
    return Portrait(face, full, camera, stack("box"), stack("source_landmarks"))


def make_batch(samples: list[dict[str, Any]], model: ModelSettings, device: torch.device) -> Batch:
    """Samples of :meth:`GeneratorData.sample` as tensors on a device, at the model's resolutions."""

    def stack(name: str) -> Tensor:
        return stacked(samples, name, device)

    def frames(name: str) -> Tensor:
        return stack(name).flatten(0, 1)

    target, mask = frames("target").movedim(-1, -3).float() / 255.0, frames("mask").float()[:, None]
    parts = torch.cat([target * mask, mask, target * (1.0 - mask)], 1)
    small = functional.interpolate(parts, (model.raw_px,) * 2, mode="area")
    return Batch(
        source=make_portraits(samples, device),
        target=target,
        coarse_target=small[:, :3],
        mask=small[:, 3:4],
        outside=small[:, 4:],
        camera=Camera(frames("camera"), frames("intrinsics")),
        speech=frames("speech"),
        audio=stack("audio"),
        lip_box=frames("lip_box"),
        landmarks=frames("landmarks"),
        noise=frames("noise")[..., :-1],
        draw=frames("noise")[..., -1],
        backdrop=frames("backdrop"),
    )


class GeneratorData:
    """Training clips of one corpus.

    Parameters
    ----------
    data_dir : ``data/<preset>``
    model : ModelSettings (speech tokens a frame, rays and samples)
    train : TrainSettings (T, and how each phase draws its frames)
    seed : of the draw
    audio : how the expert's windows of sound are cut
    corpus, splits : which clips; the paper trains on HDTF's training split

    Raises NoTrainingData when no clip has T + 1 frames or more.
    """

    def __init__(
        self,
        data_dir: str | Path,
        model: ModelSettings,
        train: TrainSettings,
        seed: int,
        audio: AudioWindows = MEL,
        corpus: str = "hdtf",
        splits: tuple[str, ...] = ("train",),
    ) -> None:
        self.folder, self.model, self.train, self.seed = ClipFolder(data_dir, corpus), model, train, seed
        self.audio = audio
        self.records = self.folder.of_split(*splits)
        if not self.records:
            raise NoTrainingData(
                f"{data_dir}: no {corpus} clip of split {'/'.join(splits)} came through preprocessing — see ingest's "
                "and each "
                "stage's quarantine tables"
            )
        self._clips: OrderedDict[str, Clip] = OrderedDict()
        self.speech_dim = self.clip(self.records[0]).tokens.shape[1]

    def clip(self, record: dict[str, Any]) -> Clip:
        """A clip, from memory where it is there."""
        name = record["clip"]
        if name not in self._clips:
            self._clips[name] = self.folder.load(record)
            while len(self._clips) > RESIDENT_CLIPS:
                self._clips.popitem(last=False)
        self._clips.move_to_end(name)
        return self._clips[name]

    def pool(self, step: int) -> list[int]:
        """Numbers of the clips that ``step`` may draw from."""
        n = len(self.records)
        if n <= RESIDENT_CLIPS:
            return list(range(n))
        places = range(step, step + RESIDENT_CLIPS)
        rounds = {r: np.random.default_rng([self.seed, 7, r]).permutation(n) for r in {p // n for p in places}}
        return [int(rounds[p // n][p % n]) for p in places]

    def sample(self, step: int, number: int) -> dict[str, Any]:
        """Sample ``number`` of the batch of ``step``, as arrays."""
        rng = np.random.default_rng([self.seed, 1, step, number])
        pool = self.pool(step)
        for _ in range(100):
            clip = self.clip(self.records[pool[rng.integers(len(pool))]])
            if len(clip.frames) > self.train.frames:
                break
        else:
            raise NoTrainingData(
                f"no clip of more than {self.train.frames} frames among {len(pool)}: expected clips of "
                "ingest.min_clip_s and more"
            )
        n, t = len(clip.frames), self.train.frames
        source, first = int(rng.integers(n)), int(rng.integers(n - t + 1))
        anywhere = phase_at(self.train, step).frames == "anywhere"
        at = np.sort(rng.choice(n, t, replace=False)) if anywhere else np.arange(first, first + t)
        found = self._gather(clip, source, at, int(rng.integers(2**62)))
        return found

    def _speech(self, clip: Clip, at: np.ndarray) -> Tensor:
        """The speech windows of just these frames."""
        return windows_at(torch.from_numpy(clip.tokens), self.model.speech_tokens, torch.from_numpy(at))

    @staticmethod
    def _source(clip: Clip, source: int) -> dict[str, Any]:
        return {
            "source": clip.frames[source],
            "source_mask": clip.masks[source],
            "source_camera": clip.world_to_camera[source],
            "source_intrinsics": clip.intrinsics[source],
            "source_landmarks": clip.landmarks[source],
            "box": clip.box,
        }

    def probe(self, number: int, frames: int) -> dict[str, Any]:
        """A fixed sample for pictures: clip ``number`` (evenly spread), its first frame as source, ``frames`` frames
        from its middle.
        """
        clip = self.clip(self.records[(number * max(1, len(self.records) // 4)) % len(self.records)])
        first = max(0, (len(clip.frames) - frames) // 2)
        return self._gather(clip, 0, np.arange(first, min(first + frames, len(clip.frames))), number)

    def _gather(self, clip: Clip, source: int, at: np.ndarray, seed: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(seed)
        numbers = self.model.coarse_samples + self.model.fine_samples + 1  # the last decides which rays are rendered
        return {
            **self._source(clip, source),
            "target": clip.frames[at],
            "mask": clip.masks[at],
            "camera": clip.world_to_camera[at],
            "intrinsics": clip.intrinsics[at],
            "speech": self._speech(clip, at),
            "audio": self.audio.of(clip.mel if self.audio == MEL else clip.tokens, int(at[0])),
            "lip_box": clip.lip_boxes[at],
            "landmarks": clip.landmarks[at],
            "noise": torch.rand(len(at), self.model.raw_px**2, numbers, generator=generator),
            "backdrop": torch.rand(len(at), 3, generator=generator),
        }

    def speech_statistics(self) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
        """Mean and standard deviation of the training tokens, a value a channel (over the first ``RESIDENT_CLIPS``
        clips).
        """
        tokens = np.concatenate([self.clip(record).tokens for record in self.records[:RESIDENT_CLIPS]])
        return torch.from_numpy(tokens.mean(0)), torch.from_numpy(tokens.std(0))

    def lips(self) -> Float[Tensor, "n 40"]:
        """Lips of training frames (of the first ``RESIDENT_CLIPS`` clips), as
        :func:`s3dnerf.model.lip_shapes.lip_shape` has them.
        """
        return torch.cat(
            [lip_shape(torch.from_numpy(self.clip(record).landmarks)) for record in self.records[:RESIDENT_CLIPS]]
        )

    def fit_lip_shapes(self, shapes: LipShapes) -> None:
        """Fit the map from speech to lip shapes to the training clips."""
        fit_lip_shapes(shapes, self.folder, self.records, self.model.speech_tokens, self.seed)

    def batches(self, first_step: int, steps: int, numbers: range, device: torch.device) -> Iterator[Batch]:
        """Batches of steps ``first_step`` … ``steps − 1``. The next is made meanwhile.

        Parameters
        ----------
        numbers : this process's samples of each batch
        """

        def make(step: int) -> list[dict[str, Any]]:
            return [self.sample(step, number) for number in numbers]

        with ThreadPoolExecutor(1, thread_name_prefix="samples") as ahead:
            waiting = ahead.submit(make, first_step) if first_step < steps else None
            for step in range(first_step, steps):
                assert waiting is not None
                samples = waiting.result()
                waiting = ahead.submit(make, step + 1) if step + 1 < steps else None
                yield make_batch(samples, self.model, device)
