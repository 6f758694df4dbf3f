"""What runs training jobs: worker processes here, or the workers of a cluster."""

from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from ablation.base.errors import UserError
from ablation.data.characters import Characters
from ablation.processes.pool import WorkerPool
from ablation.run import memory
from ablation.run.job import TrainingJob


class Executor(Protocol):
    """Runs jobs side by side: submit some while there is room, then take what has finished.

    A context manager; leaving it ends the jobs that still run.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @property
    def running(self) -> int:
        """Number of jobs that were submitted and have not been returned."""

    @property
    def has_room(self) -> bool:
        """Whether a job that is submitted now starts at once."""

    def submit(self, job: TrainingJob) -> None:
        """Start a job as soon as a worker is idle."""

    def next_finished(self) -> tuple[TrainingJob, bytes]:
        """Wait for a job to finish, in any order; it, and its result, which is remembered.

        Raises:
            UserError: a worker was killed, or the machine refused it memory or room on a disk.
        """


class LocalExecutor:
    """Worker processes of this machine, or this process itself if there is one worker.

    Args:
        workers: how many jobs run at a time.
        characters: the file that holds the characters.
    """

    def __init__(self, workers: int, characters: Path) -> None:
        self._pool = WorkerPool(workers)
        # Workers outlive a study: all that a training depends on is told to them.
        self._told = memory.folder(), memory.code_digest(), characters.absolute()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.__exit__(kind, error, trace)

    @property
    def running(self) -> int:
        return self._pool.running

    @property
    def has_room(self) -> bool:
        return self._pool.has_idle_worker

    def submit(self, job: TrainingJob) -> None:
        self._pool.submit(partial(_run, job, *self._told))

    def next_finished(self) -> tuple[TrainingJob, bytes]:
        job, payload = self._pool.next_outcome()
        return job, payload


def _run(job: TrainingJob, place: Path, code: str, characters: Path) -> tuple[TrainingJob, bytes]:
    from ablation.run import worker  # here, in the worker process: it imports torch

    if memory.code_digest() != code:
        raise UserError("src/ablation was edited during the study; start `dvc repro` again")
    return job, worker.run(job, place, partial(Characters.load, characters))
