"""Runs trials: those that are remembered are recalled, an executor trains the others.

Importing torch takes longer than all else that a stage does when it finds every trial remembered,
so that waits until there is something to train.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

from ablation.base.files import collect_unfinished
from ablation.data.characters import Characters
from ablation.run import cluster, memory
from ablation.run.executor import Executor, LocalExecutor
from ablation.run.hardware import Hardware
from ablation.run.job import TrainingJob, Work
from ablation.trial.trials import Learnt, Result, Trial


class Finished(NamedTuple):
    """A trial with its result, and whether that was remembered."""

    trial: Trial
    result: Result
    remembered: bool


@dataclass(frozen=True)
class TrialRunner:
    """What all trials of a study share: the characters, the batch size and the hardware.

    cluster: the address of a Dask scheduler whose workers train; this machine's do if it is empty.
    """

    characters: Path
    batch_size: int
    hardware: Hardware
    cluster: str = ""

    def run(self, trials: Iterable[Trial]) -> Iterator[Finished]:
        """Each trial with its result, as they finish; a finished trial is remembered at once.

        Yields in no fixed order. A trial's result depends neither on the order nor on the number
        of workers. The trials may come from a generator, which can decide by what has been yielded
        so far: it is asked for the next one when a worker is idle.

        Raises:
            SplitError: the characters cannot be split as a trial's repeat asks.
            UserError: a worker was killed, or the machine refused it memory or room on a disk.
        """
        for trial, payload, remembered in self._each(trials, "validate"):
            yield Finished(trial, Result.from_bytes(payload), remembered)

    def fit(self, trials: Iterable[Trial]) -> Iterator[tuple[Trial, Result, Learnt]]:
        """Train on *all* characters; of a repeat only the seeds are used, not the split.

        Yields the trial, its result (score 0: nothing was left to score it on) and what the
        network learnt, in no fixed order; remembered like trials.
        """
        for trial, payload, _ in self._each(trials, "fit"):
            result, _, learnt = payload.partition(b"\n")
            yield trial, Result.from_bytes(result), Learnt.from_bytes(learnt)

    def recall(self, trial: Trial) -> Result | None:
        """The remembered result of a trial; None if it has to be trained."""
        payload = memory.recall(self._key("validate", trial))
        return None if payload is None else Result.from_bytes(payload)

    def remembers(self, trial: Trial, work: Work = "validate") -> bool:
        """Whether a trial has been run before, on hardware that computes alike."""
        return memory.remembers(self._key(work, trial))

    @property
    def digest(self) -> str:
        """SHA-256 of the characters, as they were when something was first asked of them."""
        return self._about.digest

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the characters, in label order."""
        return self._about.classes

    @property
    def largest(self) -> float:
        """The share of the largest class."""
        return self._about.largest

    @property
    def count(self) -> int:
        """The number of characters."""
        return self._about.images

    @property
    def levels(self) -> tuple[float, float] | None:
        """The values that became black and white in pictures of more than 8 bits."""
        return self._about.levels

    @cached_property
    def _about(self) -> "_AboutCharacters":
        characters = Characters.load(self.characters)
        return _AboutCharacters(
            characters.digest(),
            characters.classes,
            float(characters.counts().max()) / len(characters),
            len(characters),
            characters.levels,
        )

    def _each(self, trials: Iterable[Trial], work: Work) -> Iterator[tuple[Trial, bytes, bool]]:
        ahead = iter(trials)
        executor: Executor | None = None
        with ExitStack() as stack:
            while True:
                while executor is None or not executor.running or executor.has_room:
                    if (trial := next(ahead, None)) is None:
                        break
                    key = self._key(work, trial)
                    if (payload := memory.recall(key)) is not None:
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
        collect_unfinished(memory.folder())
        if self.cluster:
            load = partial(Characters.load, self.characters)
            return cluster.ClusterExecutor(self.cluster, self.hardware, load)
        return LocalExecutor(self.hardware.workers, self.characters)

    def _key(self, work: Work, trial: Trial) -> str:
        return memory.key(
            work=work,
            model=trial.model,
            spec=trial.spec.model_dump(mode="json", exclude_defaults=True),
            recipe=trial.recipe.model_dump(mode="json"),
            repeat=asdict(trial.repeat),
            batch_size=self.batch_size,
            arithmetic=self.hardware.arithmetic,
            characters=self.digest,
        )


class _AboutCharacters(NamedTuple):
    digest: str
    classes: tuple[str, ...]
    largest: float
    images: int
    levels: tuple[float, float] | None
