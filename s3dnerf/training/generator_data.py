"""What the generator trains on: one source frame and T target frames of one clip, with all that goes with them.

A sample is a pure function of (seed, step, number in the batch): a resumed run needs no position in the data but the
step, any number of processes draws the same batch, and any process may make any sample. Clips are all-intra: only the
frames of a sample are decoded (11 ms for six of 250 frames, which take 179 ms), and nothing is kept in memory.

Reads ``data/<preset>/`` through :class:`s3dnerf.training.clips.ClipFolder`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.model.crossmodal import windows_at
from s3dnerf.model.lip_shapes import LipShapes, lip_shape
from s3dnerf.settings.schema import ModelSettings, TrainSettings
from s3dnerf.sync.audio_windows import MEL, AudioWindows
from s3dnerf.training.batches import Sample
from s3dnerf.training.clips import ClipArrays, ClipFolder
from s3dnerf.training.lip_regression import fit_lip_shapes, spread_over
from s3dnerf.training.phases import phase_at


class NoTrainingData(S3DNeRFError, RuntimeError):
    """There is no clip to train on; the message says what to look at."""


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
        self.speech_dim = self.folder.arrays(self.records[0]).tokens.shape[1]

    def sample(self, step: int, number: int) -> Sample:
        """Sample ``number`` of the batch of ``step``, as arrays."""
        rng = np.random.default_rng([self.seed, 1, step, number])
        for _ in range(100):
            clip = self.folder.arrays(self.records[rng.integers(len(self.records))])
            if len(clip.landmarks) > self.train.frames:
                break
        else:
            raise NoTrainingData(
                f"no clip of more than {self.train.frames} frames among {len(self.records)}: expected clips of "
                "ingest.min_clip_s and more"
            )
        n, t = len(clip.landmarks), self.train.frames
        source, first = int(rng.integers(n)), int(rng.integers(n - t + 1))
        anywhere = phase_at(self.train, step).frames == "anywhere"
        at = np.sort(rng.choice(n, t, replace=False)) if anywhere else np.arange(first, first + t)
        return self._gather(clip, source, at, int(rng.integers(2**62)))

    def probe(self, number: int, frames: int) -> Sample:
        """A fixed sample for pictures: clip ``number`` (evenly spread), its first frame as source, ``frames`` frames
        from its middle.
        """
        clip = self.folder.arrays(self.records[(number * max(1, len(self.records) // 4)) % len(self.records)])
        n = len(clip.landmarks)
        first = max(0, (n - frames) // 2)
        return self._gather(clip, 0, np.arange(first, min(first + frames, n)), number)

    def _gather(self, clip: ClipArrays, source: int, at: np.ndarray, seed: int) -> Sample:
        """What belongs to a source frame and the frames ``at``; ``seed``: of the sample's random numbers."""
        pictures, masks = self.folder.pictures(clip.record, [source, *at])
        return {
            "source": pictures[0],
            "source_mask": masks[0],
            "source_camera": clip.world_to_camera[source],
            "source_intrinsics": clip.intrinsics[source],
            "source_landmarks": clip.landmarks[source],
            "box": clip.box,
            "target": pictures[1:],
            "mask": masks[1:],
            "camera": clip.world_to_camera[at],
            "intrinsics": clip.intrinsics[at],
            # the windows of just these frames
            "speech": windows_at(torch.from_numpy(clip.tokens), self.model.speech_tokens, torch.from_numpy(at)),
            "audio": self.audio.of(clip.mel if self.audio == MEL else clip.tokens, int(at[0])),
            "lip_box": clip.lip_boxes[at],
            "landmarks": clip.landmarks[at],
            "seed": seed,
        }

    def speech_statistics(self) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
        """Mean and standard deviation of the training tokens, a value a channel (of clips :func:`spread_over` all)."""
        packs, clips = self.folder.packs["speech"], spread_over(self.records)
        tokens = np.concatenate([packs.read(record["clip"], "tokens.npy").astype(np.float32) for record in clips])
        return torch.from_numpy(tokens.mean(0)), torch.from_numpy(tokens.std(0))

    def lips(self) -> Float[Tensor, "n 40"]:
        """Lips of training frames (of clips :func:`spread_over` all), as :func:`s3dnerf.model.lip_shapes.lip_shape` has
        them.
        """
        packs, clips = self.folder.packs["align"], spread_over(self.records)
        landmarks = [packs.read(record["clip"], "landmarks.npy") for record in clips]
        return torch.cat([lip_shape(torch.from_numpy(of_clip)) for of_clip in landmarks])

    def fit_lip_shapes(self, shapes: LipShapes) -> None:
        """Fit the map from speech to lip shapes to the training clips."""
        fit_lip_shapes(shapes, self.folder, self.records, self.model.speech_tokens, self.seed)
