"""How fast the generator's training data come: samples a second by a thread and by 1, 2 and 4 processes, beside the
former way (whole clips decoded and the last 64 kept in each process), and what it costs to decode a clip.

    python -m benchmarks.loading --data data/mini

Reads preprocessed clips of a corpus with more than 64 training clips, so that the former way has to decode as it would
on a whole corpus; writes ``benchmarks/results/loading.json``. The former way is written out here, for the comparison.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.record import origin, write
from s3dnerf.settings.loading import preset_settings
from s3dnerf.training.batches import Sample
from s3dnerf.training.clips import Clip, ClipFolder
from s3dnerf.training.distributed import World
from s3dnerf.training.generator_data import GeneratorData
from s3dnerf.training.loading import batches
from s3dnerf.video.encoding import decode_clip, decode_frames

RESIDENT_CLIPS, BATCH = 64, 8  # clips that the former way kept; samples a step


class WholeClips(ClipFolder):
    """The former way: a clip is decoded whole when it is first drawn, and the last 64 are kept."""

    def __init__(self, data_dir: Path, corpus: str) -> None:
        super().__init__(data_dir, corpus)
        self.kept: OrderedDict[str, Clip] = OrderedDict()

    def arrays(self, record: dict[str, Any]) -> Clip:  # type: ignore[override]  # with the pictures
        name = record["clip"]
        if name not in self.kept:
            whole = decode_clip(self.packs["align"].read(name, "mp4"))
            bits = self.packs["masks"].read(name, "mask.npy")
            masks = np.unpackbits(bits, axis=-1)[..., :256].astype(bool)
            self.kept[name] = Clip(**vars(super().arrays(record)), frames=whole, masks=masks)
            while len(self.kept) > RESIDENT_CLIPS:
                self.kept.popitem(last=False)
        self.kept.move_to_end(name)
        return self.kept[name]

    def pictures(self, record: dict[str, Any], at: Any) -> tuple[np.ndarray, np.ndarray]:
        clip = self.arrays(record)
        return clip.frames[list(at)], clip.masks[list(at)]


class FromAWindow(GeneratorData):
    """The former way of drawing: from a window of 64 clips of a shuffled order, which moves on by one a step."""

    def sample(self, step: int, number: int) -> Sample:
        n, all_records = len(self.records), self.records
        order = np.random.default_rng([self.seed, 7, step // n]).permutation(n)
        self.records = [all_records[order[(step + i) % n]] for i in range(min(n, RESIDENT_CLIPS))]
        try:
            return super().sample(step, number)
        finally:
            self.records = all_records


def rate(data: GeneratorData, workers: int, steps: int, first: int = 0) -> dict[str, float]:
    """Samples a second once the first batch is there, seconds until it is, and the memory of all processes."""
    begun = time.perf_counter()
    made = batches(data, first, first + steps, World(), BATCH, workers=workers)
    next(made)
    first_s, begun = time.perf_counter() - begun, time.perf_counter()
    count = sum(1 for _ in zip(range(steps - 2), made))
    took_s = time.perf_counter() - begun
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    memory = sum(process.memory_info().rss for process in processes)
    made.close()
    return {
        "samples_a_second": round(count * BATCH / took_s, 1),
        "first_batch_s": round(first_s, 2),
        "resident_mb": round(memory / 1e6),
    }


def best_ms(work: Callable[[], Any], times: int = 5) -> float:
    """Milliseconds of the quickest of some runs."""
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return round(1000 * min(took), 1)


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/mini"), help="preprocessed clips")
    parser.add_argument("--preset", default="mini", help="the settings that they were made with")
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    settings = preset_settings(given.preset)

    def data(kind: type[GeneratorData] = GeneratorData) -> GeneratorData:
        return kind(given.data, settings.model, settings.train, settings.seed)

    new, former = data(), data(FromAWindow)
    lengths = [r["duration_s"] for r in new.records]
    longest = new.records[int(np.argmax(lengths))]
    clip = new.folder.packs["align"].read(longest["clip"], "mp4")
    frames = len(decode_clip(clip))
    some = [0, *range(frames // 2, frames // 2 + settings.train.frames)]
    result: dict[str, Any] = {
        **origin(f"python -m benchmarks.loading --data {given.data} --preset {given.preset}", "git", "hardware"),
        "clips": len(new.records),
        "decoding_ms": {
            f"a whole clip of {frames} frames": best_ms(lambda: decode_clip(clip)),
            f"{len(some)} of its frames": best_ms(lambda: decode_frames(clip, some)),
            "a sample, everything read": best_ms(lambda: new.sample(0, 0)),
        },
        "batch": BATCH,
        "by": {},
    }
    for name, workers in (("a thread", 0), ("1 process", 1), ("2 processes", 2), ("4 processes", 4)):
        result["by"][name] = rate(new, workers, given.steps)
    former.folder = WholeClips(given.data, "hdtf")
    result["by"]["a thread, whole clips decoded and 64 kept (the former way, from its start)"] = rate(
        former, 0, given.steps
    )
    # once it has its 64 clips, it decodes one more a step
    result["by"]["the former way, once 64 are kept"] = rate(former, 0, given.steps, given.steps)
    write("loading", result)
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
