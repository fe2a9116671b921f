"""How much faster the vectorised metrics are than the literal versions that the tests hold them against, as ratios.

Reads nothing (pictures are made here), prints one line a metric. Baselines run in the same process, one thread.

Run: python -m benchmarks.metrics
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

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


def line(name: str, fast: float, slow: float, what: str) -> str:
    return f"{name:<6} {slow / fast:8.1f} × faster: {1000 * fast:9.2f} ms against {1000 * slow:9.2f} ms, {what}"


def main() -> None:
    random = np.random.default_rng(0)
    image = gaussian_filter(random.normal(0, 1, (256, 256)), 1.5)
    image = (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)
    slow = seconds(lambda: literal_cpbd(image), 2)
    print(line("CPBD", seconds(lambda: cpbd.cpbd_of_grey(image), 10), slow, "one frame of 256², against python-cpbd's loops"))
    truth = random.uniform(0, 256, (250, 68, 2))
    other = truth + random.normal(0, 2, truth.shape)
    slow = seconds(lambda: (literal(other, truth, range(68)), literal(other, truth, range(48, 68))), 3)
    print(line("LMD", seconds(lambda: lmd.measure(other, truth), 10), slow, "250 frames, against a loop over points"))
    frames = random.integers(0, 256, (4, 256, 256, 3), dtype=np.uint8)
    slow = seconds(lambda: [structural_similarity(x, x[::-1], channel_axis=-1) for x in frames], 3)
    print(line("SSIM", seconds(lambda: ssim.ssim(frames, frames[:, ::-1].copy()), 5), slow, "4 frames of 256², against scikit-image"))


if __name__ == "__main__":
    main()
