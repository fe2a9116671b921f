"""How long a spawned process pool of two takes until it can work: what `POOL_START_S` in flows/executor.py must cover.

python -m benchmarks.pool
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor


def import_what_a_worker_needs(number: int) -> int:
    """The heaviest pack stages."""
    import stages.align  # noqa: F401
    import stages.evaluate  # noqa: F401
    import stages.masks  # noqa: F401

    return number


def main() -> None:
    """Print three starts."""
    for _ in range(3):
        begun = time.monotonic()
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            list(pool.map(import_what_a_worker_needs, range(2)))
        print(f"pool of 2 ready after {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    main()
