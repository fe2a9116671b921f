"""FPS and fit time: how fast a video is made, on the machine at hand.

Three figures, after a warm-up, the device synchronised:

- ``network``: the network alone, the portrait's tri-planes and codes cached;
- ``with_portrait``: with the portrait's encoding in the time;
- ``with_files``: with reading the portrait and its speech and writing the video as well.

    FPS = frames / seconds of the parts named

Fit time: from the portrait to the first frame. Unit: frames a second, seconds. Range: [0, ∞). More (FPS) and less (fit
time) is better. They vary by nature: they are written beside the other times, never into a hashed out. Source: this
project's own definition; the paper's table 2 does not say what is inside its FPS: compare with care.
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
        """The fields, with the versions of the two recipes: speeds of different versions are not compared."""
        return asdict(self) | {"fps_version": FPS_RECIPE.version, "fit_version": FIT_RECIPE.version}


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
        ``network`` counts ``frames`` alone; the others add portrait, then read and write. Raises ValueError when no
        frame is made.

    Examples
    --------
    Reading, encoding, the ten frames and writing take a second each on this clock; the first frame comes with the last,
    so that the fit time is two seconds:

    >>> ticks = iter([0.0, 1.0, 2.0, 3.0, 3.0, 4.0])
    >>> speed = measure_speed(lambda: 0, lambda x: x, lambda x: range(10), lambda made: None, clock=lambda: next(ticks))
    >>> speed.network_fps, speed.with_portrait_fps, speed.with_files_fps, speed.fit_time_s
    (10.0, 5.0, 2.5, 2.0)
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
    return Speed(
        n / making, n / (encoding + making), n / (reading + encoding + making + writing), encoding + first, n, device
    )
