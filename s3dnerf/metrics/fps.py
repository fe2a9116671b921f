"""FPS and fit time: how fast a video is made, on the machine at hand.

Three figures, after a warm-up, the device synchronised:

- ``network``: the network alone, the portrait's tri-planes and codes cached;
- ``with_portrait``: with the portrait's encoding in the time;
- ``with_files``: with reading the portrait and its speech and writing the video as well.

Fit time: from the portrait to the first frame. Unit: frames a second, seconds. More (FPS) and less (fit time) is better. They vary
by nature: they are written beside the other times, never into a hashed out. Source: the paper's table 2 does not say what is
inside its FPS; compare with care.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from s3dnerf.metrics.result import DOWN, UP, Recipe

FPS_RECIPE = Recipe("fps", "FPS", "frames/s", UP, "fps-1", 0.0, math.inf, "after a warm-up, device synchronised")
FIT_RECIPE = Recipe("fit_time", "Fit time", "s", DOWN, "fit-1", 0.0, math.inf, "from the portrait to the first frame")


@dataclass(frozen=True)
class Speed:
    """Frames a second by three definitions, and the fit time in seconds."""

    network_fps: float
    with_portrait_fps: float
    with_files_fps: float
    fit_time_s: float
    frames: int
    device: str

    def as_dict(self) -> dict[str, float | int | str]:
        return asdict(self)


def synchronise(device: str) -> None:
    """Wait for the device's queue, so that the clock measures work and not its scheduling."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def measure_speed(
    read: Callable[[], Any],
    portrait: Callable[[Any], Any],
    frames: Callable[[Any], Iterable[Any]],
    write: Callable[[list[Any]], Any],
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> Speed:
    """Time one clip's synthesis.

    Parameters
    ----------
    read : () → inputs; reads the portrait and its speech
    portrait : inputs → identity; encodes the portrait
    frames : identity → iterable of frames, made as it is consumed
    write : frames → anything; writes the video
    device : ``cpu`` or ``cuda…``

    Returns
    -------
    Speed
        ``network`` counts ``frames`` alone; the others add portrait, then read and write. Raises ValueError when no frame is made.
    """
    inputs = read()
    for _ in frames(portrait(inputs)):  # warm-up: caches, lazy initialisation, clocks
        pass
    synchronise(device)
    marks = [clock()]
    inputs = read()
    marks.append(clock())
    identity = portrait(inputs)
    synchronise(device)
    marks.append(clock())
    made: list[Any] = []
    first = math.nan
    for frame in frames(identity):
        if not made:
            synchronise(device)
            first = clock() - marks[-1]
        made.append(frame)
    synchronise(device)
    marks.append(clock())
    write(made)
    marks.append(clock())
    if not made:
        raise ValueError("measure_speed: no frame was made")
    reading, encoding, making, writing = (max(b - a, 1e-9) for a, b in zip(marks, marks[1:]))
    n = len(made)
    return Speed(n / making, n / (encoding + making), n / (reading + encoding + making + writing), encoding + first, n, device)
