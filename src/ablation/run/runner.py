"""Many trainings: those that are remembered are recalled, the others run side by side.

Importing torch takes longer than all else that a stage does when it finds every training
remembered, so that waits until there is something to train.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path

from ablation.base.errors import UserError
from ablation.base.files import collect_unfinished
from ablation.data.characters import Characters
from ablation.processes.pool import Job, work_off
from ablation.run import cluster, memory
from ablation.run.hardware import Hardware
from ablation.run.job import Errand, Work, carry_out
from ablation.trial.trials import Learnt, Result, Trial


@dataclass(frozen=True)
class Laboratory:
    """What all trainings of a study share: the characters, the batch size and the hardware.

    cluster: the address of a Dask scheduler whose workers train; this machine's do if it is empty.
    """

    characters: Path
    batch_size: int
    hardware: Hardware
    cluster: str = ""

    def run(self, trials: Iterable[Trial]) -> Iterator[tuple[Trial, Result]]:
        """Each trial with its result, as they finish; a finished trial is remembered at once.

        Yields in no fixed order. A trial's result depends neither on the order nor on the number
        of workers. The trials may come from a generator, which can decide by what has been yielded
        up to then: it is asked at most as many trials ahead as there are workers.

        Raises:
            SplitError: the characters cannot be split as a trial's repeat asks.
            UserError: a worker was killed, or the machine refused it memory or room on a disk.
        """
        for trial, payload in self._each(trials, "validate"):
            yield trial, Result.from_bytes(payload)

    def fit(self, trials: Iterable[Trial]) -> Iterator[tuple[Trial, Result, Learnt]]:
        """Train on *all* characters; of the repeats only the dice count, not the split.

        Yields the trial, its result (score 0: nothing was left to score it on) and what the
        network learnt, in no fixed order; remembered like trials.
        """
        for trial, payload in self._each(trials, "fit"):
            result, _, learnt = payload.partition(b"\n")
            yield trial, Result.from_bytes(result), Learnt.from_bytes(learnt)

    def recall(self, trial: Trial) -> Result | None:
        """The result of a trial on its split, if it is remembered."""
        payload = memory.recall(self._key("validate", trial))
        return None if payload is None else Result.from_bytes(payload)

    @property
    def digest(self) -> str:
        """SHA-256 of the characters, as they were when something was first asked of them."""
        return self._read[0]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the characters, in label order."""
        return self._read[1]

    @property
    def largest(self) -> float:
        """The share of the largest class."""
        return self._read[2]

    @cached_property
    def _read(self) -> tuple[str, tuple[str, ...], float]:
        characters = Characters.load(self.characters)
        largest = float(characters.counts().max()) / len(characters)
        return characters.digest(), characters.classes, largest

    def _each(self, trials: Iterable[Trial], work: Work) -> Iterator[tuple[Trial, bytes]]:
        ahead = iter(trials)
        for trial in ahead:
            payload = memory.recall(self._key(work, trial))
            if payload is None:
                yield from self._train(chain([trial], ahead), work)
            else:
                yield trial, payload

    def _train(self, trials: Iterable[Trial], work: Work) -> Iterator[tuple[Trial, bytes]]:
        recalled: deque[tuple[Trial, bytes]] = deque()
        collect_unfinished(memory.folder())

        def errands() -> Iterator[Errand]:
            """Asked for the next ones when a worker is free, so that `trials` may decide late."""
            for trial in trials:
                errand = self._errand(work, trial)
                payload = memory.recall(errand.key)
                if payload is None:
                    yield errand
                else:
                    recalled.append((trial, payload))

        for errand, payload in self._carried_out(errands()):
            while recalled:
                yield recalled.popleft()
            yield errand.trial, payload
        yield from recalled

    def _carried_out(self, errands: Iterator[Errand]) -> Iterator[tuple[Errand, bytes]]:
        """Each errand with what its training gave, which is remembered."""
        place = memory.folder()
        if self.cluster:
            find = partial(Characters.load, self.characters)
            for errand, payload in cluster.work_off(errands, self.cluster, self.hardware, find):
                memory.remember(errand.key, payload, place)
                yield errand, payload
            return
        # Workers outlive a study: all that a training depends on is told to them.
        code, path = memory.code_digest(), self.characters.absolute()
        jobs: Iterator[Job] = (partial(_do, errand, place, code, path) for errand in errands)
        yield from work_off(jobs, self.hardware.workers)

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

    def _errand(self, work: Work, trial: Trial) -> Errand:
        key = self._key(work, trial)
        return Errand(work, trial, key, self.digest, self.batch_size, self.hardware)


def _do(errand: Errand, place: Path, code: str, characters: Path) -> tuple[Errand, bytes]:
    from ablation.run import worker  # noqa: F401  here, in the worker process: it imports torch

    if memory.code_digest() != code:
        raise UserError("src/ablation was edited while a study ran; start `dvc repro` again")
    return errand, carry_out(errand, place, partial(Characters.load, characters))
