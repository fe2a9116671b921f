"""Spawned worker processes for the packs of a stage, one pack at a time each, on one thread.

A worker that dies (the kernel kills the largest process when memory runs out) breaks a pool of processes as a whole.
The packs that were in hand are then made again in a fresh pool, each alone, which leaves it all the memory; the one
that kills its worker again is named, and the stage fails. The others are lost to nobody.

Workers end with the process that started them, whatever ends it, and leave Ctrl-C to it.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from flows.log_setup import configure_logging
from flows.process_lifetime import kill_children
from flows.remote_worker import outcome_of, result_of
from flows.retries import attempt
from s3dnerf.core.devices import VISIBLE
from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.processes import die_with_parent, one_thread

Done = Callable[[int, Any, list[str]], None]


class WorkerLost(S3DNeRFError, RuntimeError):
    """A worker process died twice over the same piece of work; the message names it and how the process ended."""


def _begin(parent: int, gpus: tuple[str, ...], number: Any) -> None:
    """What a worker does first.

    ``parent``: the process that started it; ``gpus``: those of this machine that it may use, of which each worker takes
    one, by its number in the pool; ``number``: a shared counter of the workers begun.
    """
    die_with_parent()
    if os.getppid() != parent:  # it was gone before the kernel was asked
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with number.get_lock():
        mine = number.value
        number.value += 1
    if gpus:
        os.environ[VISIBLE] = gpus[mine % len(gpus)]
    one_thread()
    configure_logging()


def _work(work: Callable[[Any], Any], job: Any) -> bytes:
    """A piece of work in a worker: its outcome as a pickle that can be read, so that no exception breaks the pool."""
    return outcome_of(functools.partial(attempt, work), job)


class WorkerPool:
    """Up to ``count`` spawned processes, started with the first piece of work. A context manager: ends them.

    ``gpus``: CUDA devices of which each process sees one, by turns; none leaves the environment as it is.

    Raises WorkerLost, and whatever the work raises.
    """

    def __init__(self, count: int, gpus: tuple[str, ...] = ()) -> None:
        self.count, self.gpus = count, gpus
        self._executor: ProcessPoolExecutor | None = None
        self._workers: dict[int, Any] = {}  # by process id, also those that ended

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and not issubclass(kind, Exception):  # Ctrl-C
            self.kill()
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def kill(self) -> None:
        """End the workers and what they started, now."""
        for pid, worker in self._workers.items():
            if worker.is_alive():
                kill_children(pid)
                worker.kill()

    def run(self, work: Callable[[Any], Any], jobs: Sequence[Any], names: Sequence[str], done: Done) -> None:
        """``work(job)`` for every job, begun in their order; ``done(index, result, failed tries)`` as each ends.

        ``work`` and jobs must be picklable. After a job that raised no other is begun; those in hand are finished.
        """
        waiting, alone = deque(range(len(jobs))), deque[int]()
        lost: set[int] = set()  # were in hand when a worker died
        in_hand: dict[Future[bytes], int] = {}
        errors: list[BaseException] = []

        def settle(future: Future[bytes], index: int) -> bool:
            """Take a future's outcome. Returns whether there was one."""
            try:
                outcome = future.result()
            except BrokenProcessPool:
                if index in lost:
                    errors.append(self._error(names[index]))
                lost.add(index)
                alone.append(index)
                return False
            try:
                result, failed = result_of(outcome)
            except Exception as error:  # the work's own
                errors.append(error)
            else:
                done(index, result, failed)
            return True

        try:
            while in_hand or (not errors and (waiting or alone)):
                while not errors and (waiting or alone):
                    if in_hand and (alone or lost & set(in_hand.values()) or len(in_hand) == self.count):
                        break
                    index = (alone or waiting).popleft()
                    in_hand[self._submit(work, jobs[index])] = index
                ended = wait(in_hand, return_when=FIRST_COMPLETED).done
                whole = [settle(future, in_hand.pop(future)) for future in ended]
                if not all(whole):
                    for future, index in in_hand.items():  # they were in the same pool: lost too, or just done
                        settle(future, index)
                    in_hand.clear()
                    self._renew()
        except BaseException:
            self.kill()
            raise
        if errors:
            raise errors[0]

    def _submit(self, work: Callable[[Any], Any], job: Any) -> Future[bytes]:
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            begin = os.getpid(), self.gpus, context.Value("i", 0)
            self._executor = ProcessPoolExecutor(self.count, context, _begin, begin)
        try:
            future = self._executor.submit(_work, work, job)
        except BrokenProcessPool as broken:  # a worker died before it had anything to do
            future = Future()
            future.set_exception(broken)
        self._workers |= {child.pid: child for child in multiprocessing.active_children() if child.pid is not None}
        return future

    def _renew(self) -> None:
        """Leave a broken pool; the next piece of work starts another.

        Its workers are killed first: the pool's own SIGTERM has been seen to miss one, and then it waits for ever.
        """
        assert self._executor is not None
        self.kill()
        self._executor.shutdown()
        self._executor = None

    def _error(self, name: str) -> WorkerLost:
        # a broken pool ends the workers that are left by SIGTERM
        codes = [code for w in self._workers.values() if (code := w.exitcode) not in (None, 0, -signal.SIGTERM)]
        how = "ended" if not codes else f"ended with status {codes[-1]}"
        hint = ""
        if codes and codes[-1] < 0:
            how = f"was killed by {signal.Signals(-codes[-1]).name}"
            if -codes[-1] == signal.SIGKILL:
                hint = ", which is how the kernel ends a process when memory runs out (`dmesg` says so)"
        return WorkerLost(
            f"{name}: its worker process {how}{hint}, and again when it was tried a second time, alone in a fresh "
            "pool. Free memory or take smaller packs (ingest.pack_clips) and run again: what is done is kept"
        )
