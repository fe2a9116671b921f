"""A stage's run: its work on an executor, its record in Prefect as one flow run.

With ``S3DNERF_RUNNER=inline`` there is no record, and nothing of Prefect is started.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from flows import artifacts
from flows.executor import executor_of, switch
from flows.process_lifetime import stage_lock
from flows.recorder import Recorder
from stages.context import Context

logger = logging.getLogger(__name__)

CLOCK_GRAIN_S = 0.05  # by which a file's time may lie before the clock's at its writing


def run_stage(main: Callable[[Context], Any], context: Context, gpu: bool = False) -> Any:
    """Run a stage's ``main`` on the executor that the environment names, and record it. ``gpu``: it runs networks.

    Raises RunnerError where the environment makes no sense, and whatever the stage raises.
    """
    preset, stage, part = context.settings.preset, context.stage, context.part
    lock = stage_lock(preset, stage, part)
    if switch("S3DNERF_RUNNER") == "inline":
        with executor_of(stage, lock, gpu=gpu) as executor:
            context.run = executor
            return main(context)
    recorder = Recorder(preset, stage, part)
    with executor_of(stage, lock, recorder.progress, gpu) as executor:
        context.run = executor
        recorder.begin()
        begun = time.time()
        summary: Any = None
        kind, message = "CRASHED", ""
        try:
            summary = main(context)
            kind = "COMPLETED"
        except KeyboardInterrupt:
            kind, message = "CANCELLED", "interrupted"
            raise
        except Exception as error:
            kind, message = "FAILED", f"{type(error).__name__}: {error}"
            raise
        finally:
            if kind != "CANCELLED":
                _record_results(recorder, context, begun, executor.counts, summary)
            recorder.end(kind, message)
    return summary


def _record_results(recorder: Recorder, context: Context, begun: float, counts: dict[str, int], summary: Any) -> None:
    """The artifacts of a stage that ended, well or not. A fault of theirs is said and changes nothing."""
    title = f"{context.stage} {context.part}".strip() + f", preset {context.settings.preset}"
    try:
        numbers = artifacts.key_numbers(recorder.key("numbers"), title, time.time() - begun, counts, summary)
        recorder.artifact(numbers)
        if rows := artifacts.quarantine_rows(context.out(), begun - CLOCK_GRAIN_S):
            recorder.artifact(artifacts.quarantine_table(recorder.key("quarantine"), rows))
    except Exception as fault:  # whatever it is: the stage's own end is what counts
        logger.warning(f"{context.stage}: its key numbers are not recorded: {type(fault).__name__}: {fault}")
