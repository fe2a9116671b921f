"""What the lessons before step 0 teach of people never heard or seen: lip shapes from speech, and the lips' motion into
another picture.

    python -m benchmarks.lessons data/sample [--name lessons_sample]

The named baseline is the lessons without ours (speech as it is, the source's lips untold), in the same run, with the
same steps, seed and training people; measured on the test split. Reads a preset's preprocessed HDTF clips; writes
``benchmarks/results/<name>.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import origin, write
from s3dnerf.model.s3dnerf import S3DNeRF
from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import Settings
from s3dnerf.training.distributed import World
from s3dnerf.training.generator_data import GeneratorData, make_motion_batch
from s3dnerf.training.landmarks_first import learn_motion, learn_shapes
from s3dnerf.training.lip_motion import lip_motion_loss
from s3dnerf.training.speech_variation import PLAIN, SpeechVariation

TESTED, CPU = 60, torch.device("cpu")  # samples of test people


def unexplained(generator: S3DNeRF, train: GeneratorData, test: GeneratorData) -> float:
    """Share of the test people's lip shapes that a linear reader of the pooled speech, fitted to the training people's,
    leaves.
    """
    with torch.no_grad():
        (heard, shapes), (other, wanted) = train.lip_shapes(), test.lip_shapes()
        codes, others = (torch.cat([generator.speech(part)[1] for part in x.split(512)]) for x in (heard, other))
        weights = torch.linalg.lstsq(codes, shapes).solution
        return float((others @ weights - wanted).square().mean() / wanted.square().mean())


def left(generator: S3DNeRF, test: GeneratorData) -> float:
    """Mean L_lips over samples of test people, pixels²."""
    losses = []
    with torch.no_grad():
        for number in range(TESTED):
            batch = make_motion_batch([test.motion_sample(number, 0)], CPU)
            identity = generator.encode_face(batch.source)
            losses.append(float(lip_motion_loss(generator, identity, batch.motion)))
    return sum(losses) / len(losses)


def arm(data: Path, settings: Settings, varied: bool, told: bool) -> dict[str, Any]:
    """Both lessons, with or without varied speech and the source's lips, and what they left on test people."""
    train_settings, model = settings.train, dataclasses.replace(settings.model, source_lips=told)
    variation = SpeechVariation(train_settings.speech_noise, train_settings.speech_gain) if varied else PLAIN
    train = GeneratorData(data, model, train_settings.frames, settings.seed, 0, train_settings.motion_frames, variation)
    test = GeneratorData(
        data, model, train_settings.frames, settings.seed, 0, train_settings.motion_frames, splits=("test",)
    )
    torch.manual_seed(settings.seed)
    generator, world = S3DNeRF(model, train.speech_dim), World()
    generator.speech.set_statistics(*train.speech_statistics())
    if generator.source_lips is not None:
        generator.source_lips.set_statistics(train.lips())
    before = left(generator, test)
    learn_shapes(generator, train, train_settings, settings.seed, world)
    shapes = unexplained(generator, train, test)
    learn_motion(generator, train, train_settings, range(train_settings.batch), world)
    people = {split: len({r["speaker"] for r in part.records}) for split, part in (("train", train), ("test", test))}
    return {
        "people": people,
        "shapes_unexplained": round(shapes, 3),
        "px2_before": round(before, 3),
        "px2_left": round(left(generator, test), 3),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="a preprocessed preset, such as data/sample")
    parser.add_argument("--name", default="")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    settings = preset_settings(chosen.data.name)
    name = chosen.name or f"lessons_{chosen.data.name}"
    arms = {
        "baseline: speech as it is, lips untold": arm(chosen.data, settings, False, False),
        "varied speech": arm(chosen.data, settings, True, False),
        "varied speech, source lips told": arm(chosen.data, settings, True, True),
    }
    ratio = (
        arms["varied speech, source lips told"]["px2_left"] / arms["baseline: speech as it is, lips untold"]["px2_left"]
    )
    print(
        write(
            name,
            {
                **origin(f"python -m benchmarks.lessons {chosen.data}", "git", "hardware"),
                "arms": arms,
                "px2_left_ratio": round(ratio, 3),
            },
        )
    )


if __name__ == "__main__":
    main()
