"""A pool of worker processes, which end with this process, however it ends."""

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

from ablation.base.errors import AGAIN, UserError, explain
from ablation.processes.fork_server import Process, start_python

Job = partial[Any]
WORKER = ("-m", "ablation.processes.pool")  # arguments of Python
# The return value of a job, or the error to raise in the process that submitted it.
Outcome = tuple[Any, Exception | None]


@dataclass(frozen=True)
class _Worker:
    """A process, and the pipe for its jobs and their outcomes."""

    process: Process
    pipe: Connection


# Kept for the next pool of this process, because starting a worker is slow.
_idle: list[_Worker] = []
_largest_worker = 0  # bytes


class WorkerPool:
    """Runs jobs in parallel; a pool of one worker runs them in this process.

    Uses pipes only: shared memory may be unavailable, and that of a killed process is not released.
    The pools of multiprocessing need it, and wait forever for a killed worker.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._busy: dict[Connection, _Worker] = {}
        self._own: list[Job] = []  # of a pool of one

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the workers that are still busy."""
        for worker in self._busy.values():
            worker.process.kill()

    @property
    def running(self) -> int:
        """Number of submitted jobs whose outcome has not been returned."""
        return len(self._busy) + len(self._own)

    @property
    def has_idle_worker(self) -> bool:
        """Whether a job submitted now would start immediately."""
        return self.running < self._workers

    def submit(self, job: Job) -> None:
        """Give a job to an idle worker."""
        if self._workers == 1:
            self._own.append(job)
            return
        worker = _start_worker()
        self._busy[worker.pipe] = worker
        with suppress(ConnectionError):  # it was killed, which next_outcome reports
            worker.pipe.send(job)

    def next_outcome(self) -> Any:
        """Wait for any job to finish; returns its return value.

        Raises:
            UserError: raised by the job, or a worker was killed, or the system raised an error.
            RuntimeError: any other error of the job, with the traceback.
        """
        if self._own:
            return self._own.pop()()
        worker = self._busy[wait(self._busy)[0]]  # type: ignore[index]
        outcome = _receive(worker)
        _idle.append(self._busy.pop(worker.pipe))
        return outcome


def run_jobs(jobs: Iterator[Job], workers: int) -> Iterator[Any]:
    """Run jobs on a number of workers; yields their return values as they finish.

    Raises:
        UserError, RuntimeError: see `WorkerPool.next_outcome`.
    """
    with WorkerPool(workers) as pool:
        while True:
            while pool.has_idle_worker and (job := next(jobs, None)):
                pool.submit(job)
            if not pool.running:
                return
            yield pool.next_outcome()


def peak_memory() -> int:
    """Peak memory in bytes of the largest process: this one or one of its workers."""
    return max(_own_peak(), _largest_worker)


def _own_peak() -> int:
    if sys.platform == "linux":  # getrusage includes the program before exec: dvc, a shell
        _, _, value = Path("/proc/self/status").read_text().partition("VmHWM:")
        return int(value.split()[0]) * 1024
    return getrusage(RUSAGE_SELF).ru_maxrss


def _start_worker() -> _Worker:
    while _idle:
        worker = _idle.pop()
        if not worker.pipe.poll():  # a readable pipe means that an idle worker has ended
            return worker
    ours, theirs = socket.socketpair()
    with theirs:
        # Jobs may be from any module that this process can import.
        search_path = [path or str(Path.cwd()) for path in sys.path]
        process = start_python(
            WORKER, (theirs.fileno(), 1, 2), interruptible=False, search_path=search_path
        )
    return _Worker(process, Connection(ours.detach()))


def _receive(worker: _Worker) -> Any:
    global _largest_worker
    try:
        value, error, memory = worker.pipe.recv()
    except (EOFError, ConnectionError):
        raise UserError(_how_it_ended(worker.process.wait())) from None
    _largest_worker = max(_largest_worker, memory)
    if error:
        raise error
    return value


def _how_it_ended(status: int) -> str:
    if status == -signal.SIGKILL:
        how = "was killed, probably because memory ran out"
    else:
        how = f"ended with {signal.Signals(-status).name if status < 0 else f'status {status}'}"
    return f"a worker {how}; lower training.workers in params.yaml and {AGAIN}"


def serve() -> None:
    """Run jobs from standard input until the parent process ends."""
    pipe = Connection(os.dup(0))
    while True:
        try:
            job = pipe.recv()
        except (EOFError, ConnectionError):
            return
        except Exception:  # the job refers to code that cannot be imported here
            job = partial(_raise, RuntimeError(traceback.format_exc()))
        try:
            pipe.send((*outcome_of(job), _own_peak()))
        except ConnectionError:  # the parent process has ended
            return


def _raise(error: Exception) -> None:
    raise error


def outcome_of(job: Callable[[], Any]) -> Outcome:
    """Run a job; errors are converted to ones with a readable message."""
    try:
        return job(), None
    except UserError as error:
        return None, error
    except Exception as error:
        message = explain(error)
        return None, UserError(message) if message else RuntimeError(traceback.format_exc())


if __name__ == "__main__":
    serve()
