"""How often the trained judge finds an offset that was put there: the sound of its unseen clips moved by −10 … 10
frames.

    python -m benchmarks.judge_offsets [--data data/sample]

Clips: the test clips of HDTF and MEAD, and the LRS2 speakers held out from the judge (on whom its step was selected).
The sound is moved in the samples and its mel made anew; what leaves the clip is lost, what enters is silence. Guessing
finds 1 of 31. Reads a run's preprocessed clips and ``train_sync/judge``; writes benchmarks/results/judge_offsets.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.record import origin, write
from s3dnerf.core.rates import SAMPLES_PER_FRAME
from s3dnerf.speech.mel import clip_mel
from s3dnerf.sync.expert import load_expert
from s3dnerf.sync.filtering import clip_samples, shift_samples
from s3dnerf.sync.judge import TrainedJudge
from s3dnerf.training.clips import ClipFolder
from s3dnerf.video.encoding import decode_clip
from s3dnerf.video.packs import file_sha256

SHIFTS = range(-10, 11)


def clips_of(data: Path, corpus: str, held_out: set[str]) -> list[dict[str, Any]]:
    """Records of the clips that the judge has not seen."""
    records = ClipFolder(data, corpus).records
    return [
        r for r in records if (f"{corpus}/{r['speaker']}" in held_out if corpus == "lrs2" else r["split"] == "test")
    ]


def found_offsets(judge: TrainedJudge, folder: ClipFolder, data: Path, record: dict[str, Any]) -> np.ndarray:
    """The offset found for each of :data:`SHIFTS`, int (21,)."""
    frames = decode_clip(folder.packs["align"].read(record["clip"], "mp4"))
    boxes = folder.packs["lips"].read(record["clip"], "crop_boxes.npy")
    samples = clip_samples(data, record)[: SAMPLES_PER_FRAME * len(frames)]
    return np.array(
        [judge.measure(frames, boxes, audio=clip_mel(shift_samples(samples, -k))).offset_frames for k in SHIFTS]
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/sample"))
    data = parser.parse_args().data
    torch.set_num_threads(1)
    judge = TrainedJudge(*load_expert(data / "train_sync" / "judge"))
    result: dict[str, Any] = {
        **origin("python -m benchmarks.judge_offsets", "git"),
        "judge": judge.name,
        "judge_sha256": file_sha256(data / "train_sync" / "judge" / "weights.safetensors"),
        "shifts": [SHIFTS[0], SHIFTS[-1]],
        "corpora": {},
    }
    every = []
    for corpus in ("hdtf", "mead", "lrs2"):
        folder = ClipFolder(data, corpus)
        records = clips_of(data, corpus, set(judge.card["held_out_speakers"]))
        errors = np.array([np.abs(found_offsets(judge, folder, data, r) - np.array(SHIFTS)) for r in records]).reshape(
            -1, len(SHIFTS)
        )
        every.append(errors)
        exact = {r["clip"]: round(float(np.mean(e == 0)), 4) for r, e in zip(records, errors)}
        result["corpora"][corpus] = {
            "clips": len(records),
            "trials": errors.size,
            **shares(errors),
            "exact_by_clip": exact,
        }
    result["all"] = {
        "clips": sum(len(e) for e in every),
        "trials": sum(e.size for e in every),
        **shares(np.concatenate(every)),
    }
    write("judge_offsets", result)
    for name, found in [*result["corpora"].items(), ("all", result["all"])]:
        print(
            f"{name}: {found['clips']} clips, {found['trials']} trials: exact in {found['exact']:.3f}, within ±1 in "
            f"{found['within_1']:.3f}"
        )


def shares(errors: np.ndarray) -> dict[str, float]:
    """Share of trials found exactly and within a frame."""
    return {"exact": round(float(np.mean(errors == 0)), 4), "within_1": round(float(np.mean(errors <= 1)), 4)}


if __name__ == "__main__":
    main()
