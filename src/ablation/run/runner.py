"""Runs trials: returns cached results, and trains the other trials with an executor.

The executor, and with it torch, is only imported if there is something to train: the import would
dominate the time of a stage whose trials are all cached.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

from ablation.base.files import delete_unfinished
from ablation.data.characters import Characters
from ablation.run import cluster, result_cache
from ablation.run.executor import Executor, LocalExecutor
from ablation.run.hardware import Hardware
from ablation.run.job import JobKind, TrainingJob
from ablation.trial.trials import Learnt, Result, Trial


class Finished(NamedTuple):
    """A trial with its result, and whether the result was cached."""

    trial: Trial
    result: Result
    cached: bool


@dataclass(frozen=True)
class TrialRunner:
    """Runs the trials of a study, which share characters, batch size and hardware.

    cluster: address of a Dask scheduler; empty to train on this machine.
    """

    characters: Path
    batch_size: int
    hardware: Hardware
    cluster: str = ""

    def run(self, trials: Iterable[Trial]) -> Iterator[Finished]:
        """Run trials; yields results as they finish, in any order, and caches them immediately.

        Results depend neither on the order nor on the number of workers. `trials` may be a
        generator that depends on the results yielded so far: it is advanced when a worker is idle.

        Raises:
            SplitError: a trial's split cannot be made from the characters.
            UserError: a worker was killed or ran out of memory or disk space.
        """
        for trial, payload, cached in self._each(trials, "validate"):
            yield Finished(trial, Result.from_bytes(payload), cached)

    def fit(self, trials: Iterable[Trial]) -> Iterator[tuple[Trial, Result, Learnt]]:
        """Train on *all* characters; of a repeat only the seeds are used, not the split.

        Yields the trial, its result (with score 0, as there is no validation part) and the trained
        weights, in any order. Cached like trials.
        """
        for trial, payload, _ in self._each(trials, "fit"):
            result, _, learnt = payload.partition(b"\n")
            yield trial, Result.from_bytes(result), Learnt.from_bytes(learnt)

    def cached_result(self, trial: Trial) -> Result | None:
        """The cached result of a trial; None if it has to be trained."""
        payload = result_cache.get(self._key("validate", trial))
        return None if payload is None else Result.from_bytes(payload)

    def is_cached(self, trial: Trial, work: JobKind = "validate") -> bool:
        """Whether a trial's result is cached, for equivalent hardware."""
        return result_cache.contains(self._key(work, trial))

    @property
    def digest(self) -> str:
        """SHA-256 of the characters, as of the first access."""
        return self._summary.digest

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the characters, in label order."""
        return self._summary.classes

    @property
    def largest(self) -> float:
        """The fraction of characters in the largest class."""
        return self._summary.largest

    @property
    def count(self) -> int:
        """The number of characters."""
        return self._summary.images

    @property
    def levels(self) -> tuple[float, float] | None:
        """The values of black and white, for pictures of more than 8 bits."""
        return self._summary.levels

    @cached_property
    def _summary(self) -> "_Summary":
        characters = Characters.load(self.characters)
        return _Summary(
            characters.digest(),
            characters.classes,
            float(characters.counts().max()) / len(characters),
            len(characters),
            characters.levels,
        )

    def _each(self, trials: Iterable[Trial], work: JobKind) -> Iterator[tuple[Trial, bytes, bool]]:
        pending = iter(trials)
        executor: Executor | None = None
        with ExitStack() as stack:
            while True:
                while executor is None or not executor.running or executor.has_room:
                    if (trial := next(pending, None)) is None:
                        break
                    key = self._key(work, trial)
                    if (payload := result_cache.get(key)) is not None:
                        yield trial, payload, True
                        continue
                    if executor is None:
                        executor = stack.enter_context(self._executor())
                    job = TrainingJob(work, trial, key, self.digest, self.batch_size, self.hardware)
                    executor.submit(job)
                if executor is None or not executor.running:
                    return
                job, payload = executor.next_finished()
                yield job.trial, payload, False

    def _executor(self) -> Executor:
        delete_unfinished(result_cache.folder())
        if self.cluster:
            load = partial(Characters.load, self.characters)
            return cluster.ClusterExecutor(self.cluster, self.hardware, load)
        return LocalExecutor(self.hardware.workers, self.characters)

    def _key(self, work: JobKind, trial: Trial) -> str:
        return result_cache.key(
            work=work,
            model=trial.model,
            spec=trial.spec.model_dump(mode="json", exclude_defaults=True),
            recipe=trial.recipe.model_dump(mode="json"),
            repeat=asdict(trial.repeat),
            batch_size=self.batch_size,
            arithmetic=self.hardware.arithmetic,
            characters=self.digest,
        )


class _Summary(NamedTuple):
    digest: str
    classes: tuple[str, ...]
    largest: float
    images: int
    levels: tuple[float, float] | None
