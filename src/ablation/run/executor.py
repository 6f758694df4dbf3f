"""The executor protocol for training jobs, and its implementation with local processes."""

from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from ablation.base.errors import UserError
from ablation.data.characters import Characters
from ablation.processes.pool import WorkerPool
from ablation.run import result_cache
from ablation.run.job import TrainingJob


class Executor(Protocol):
    """Runs jobs in parallel: submit jobs while there is room, then collect finished ones.

    A context manager; leaving it cancels the jobs that are still running.
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
        """Number of jobs submitted but not yet returned."""

    @property
    def has_room(self) -> bool:
        """Whether a job submitted now would start immediately."""

    def submit(self, job: TrainingJob) -> None:
        """Start a job as soon as a worker is idle."""

    def next_finished(self) -> tuple[TrainingJob, bytes]:
        """Wait for any job to finish; returns it and its result, which has been cached.

        Raises:
            UserError: a worker was killed or ran out of memory or disk space.
        """


class LocalExecutor:
    """Runs jobs in worker processes on this machine, or in this process if `workers` is 1.

    Args:
        workers: number of concurrent jobs.
        characters: the npz file of characters.
    """

    def __init__(self, workers: int, characters: Path) -> None:
        self._pool = WorkerPool(workers)
        # Workers may outlive a study, so everything a job depends on is passed explicitly.
        self._context = (
            result_cache.folder(),
            result_cache.trial_code_digest(),
            characters.absolute(),
        )

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
        self._pool.submit(partial(_run, job, *self._context))

    def next_finished(self) -> tuple[TrainingJob, bytes]:
        job, payload = self._pool.next_outcome()
        return job, payload


def _run(job: TrainingJob, cache: Path, code: str, characters: Path) -> tuple[TrainingJob, bytes]:
    from ablation.run import worker  # imported in the worker process only, because it imports torch

    if result_cache.trial_code_digest() != code:
        raise UserError("src/ablation was edited during the study; start `dvc repro` again")
    return job, worker.run(job, cache, partial(Characters.load, characters))
