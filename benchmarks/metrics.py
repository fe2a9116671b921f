"""How much faster the vectorised metrics are than the literal versions that the tests hold them against, as ratios.

    python -m benchmarks.metrics

Reads nothing (pictures are made here). CPU seconds of one thread, the best of several runs; the baselines run in the
same process: python-cpbd's loops over pixels (as ``tests/metrics/test_cpbd.py`` writes them out), a loop over
landmarks, scikit-image's SSIM. Writes benchmarks/results/metrics.json.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from benchmarks.record import origin, write
from s3dnerf.metrics import cpbd, lmd, ssim
from tests.metrics.test_cpbd import literal_cpbd
from tests.metrics.test_lmd import literal


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The best CPU time of several runs."""
    times = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


def compare(
    fast: Callable[[], object], slow: Callable[[], object], of: str, baseline: str, repeats: tuple[int, int]
) -> dict[str, object]:
    """Both times in milliseconds and their ratio."""
    ours, theirs = seconds(fast, repeats[0]), seconds(slow, repeats[1])
    return {
        "of": of,
        "baseline": baseline,
        "ratio": round(theirs / ours, 1),
        "ms": round(1000 * ours, 3),
        "ms_baseline": round(1000 * theirs, 3),
    }


def main() -> None:
    """Measure and write."""
    random = np.random.default_rng(0)
    image = gaussian_filter(random.normal(0, 1, (256, 256)), 1.5)
    image = (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)
    truth = random.uniform(0, 256, (250, 68, 2))
    other = truth + random.normal(0, 2, truth.shape)
    frames = random.integers(0, 256, (4, 256, 256, 3), dtype=np.uint8)
    turned = frames[:, ::-1].copy()
    found = {
        "cpbd": compare(
            lambda: cpbd.cpbd_of_grey(image),
            lambda: literal_cpbd(image),
            "one frame of 256²",
            "python-cpbd's loops",
            (10, 2),
        ),
        "lmd": compare(
            lambda: lmd.measure(other, truth),
            lambda: (literal(other, truth, range(68)), literal(other, truth, range(48, 68))),
            "F-LMD and M-LMD of 250 frames",
            "a loop over frames and points",
            (50, 3),
        ),
        "ssim": compare(
            lambda: ssim.ssim(frames, turned),
            lambda: [structural_similarity(x, y, channel_axis=-1) for x, y in zip(frames, turned)],
            "4 frames of 256²",
            "scikit-image",
            (5, 3),
        ),
    }
    write("metrics", {**origin("python -m benchmarks.metrics", "git", "hardware"), "times_faster": found})
    for name, line in found.items():
        print(
            f"{name}: {line['ratio']} × faster, {line['ms']} ms against {line['ms_baseline']}: {line['of']}, against "
            f"{line['baseline']}"
        )


if __name__ == "__main__":
    main()
