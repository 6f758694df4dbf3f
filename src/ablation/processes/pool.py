"""Processes that work side by side for this one, and end when it ends, however it does.

They are told what to do through pipes. So they need no shared memory, which may be missing, and
leave nothing behind there.
"""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from ablation.base.errors import AGAIN, UserError, explain
from ablation.processes.lifetime import end_with

Job = partial[Any]
# What a job returns, or an error to raise where it was asked for.
Outcome = tuple[Any, Exception | None]

# Libraries read them when they are imported: each worker has one core.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Worker:
    """A process, and the pipe through which it gets its jobs and answers."""

    process: SpawnProcess
    pipe: Connection


# To import torch takes seconds, so they wait for the next jobs.
_idle: list[Worker] = []


def work_off(jobs: Iterator[Job], workers: int) -> Iterator[Any]:
    """Do all jobs and yield what they return, as they finish; one worker is this process itself.

    Args:
        jobs: asked for the next one when a worker is free, after the consumer has had its answer.
        workers: how many jobs run at a time.

    Raises:
        UserError: raised by a job, or a worker was killed, or the machine refused it something.
        RuntimeError: anything else that a job raised, with the traceback.
    """
    if workers == 1:
        yield from (job() for job in jobs)
        return
    busy: dict[Connection, Worker] = {}
    try:
        while True:
            while len(busy) < workers and (job := next(jobs, None)):
                worker = _hire()
                busy[worker.pipe] = worker
                with suppress(ConnectionError):  # it was killed: its answer says so
                    worker.pipe.send(job)
            if not busy:
                return
            worker = busy[wait(busy)[0]]  # type: ignore[index]
            answer = _answer(worker)
            _idle.append(busy.pop(worker.pipe))
            yield answer
    finally:
        for worker in busy.values():
            worker.process.kill()


def _hire() -> Worker:
    while _idle:
        worker = _idle.pop()
        if worker.process.is_alive():
            return worker
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(theirs, os.getpid()), daemon=True)
    with _inherited_by_workers():
        process.start()
    theirs.close()  # else its end would go unnoticed here
    return Worker(process, ours)


@contextmanager
def _inherited_by_workers() -> Iterator[None]:
    """One thread, and deaf to Ctrl-C: a terminal sends it to all, and this process decides."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _answer(worker: Worker) -> Any:
    try:
        answer, error = worker.pipe.recv()
    except (EOFError, ConnectionError):
        worker.process.join()
        raise UserError(_how_it_ended(worker.process.exitcode or 0)) from None
    if error:
        raise error
    return answer


def _how_it_ended(status: int) -> str:
    if status == -signal.SIGKILL:
        how = "was killed, probably because memory ran out"
    else:
        how = f"ended with {signal.Signals(-status).name if status < 0 else f'status {status}'}"
    return f"a worker {how}; lower training.workers in params.yaml and {AGAIN}"


def _serve(pipe: Connection, employer: int) -> None:
    """What a worker does all its life."""
    end_with(employer, os.getpid())
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(outcome(job))


def outcome(job: Callable[[], Any]) -> Outcome:
    """Do a job; what goes wrong becomes an error that a person can read."""
    try:
        return job(), None
    except UserError as error:
        return None, error
    except Exception as error:
        said = explain(error)
        return None, UserError(said) if said else RuntimeError(traceback.format_exc())
