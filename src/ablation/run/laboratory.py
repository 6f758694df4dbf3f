"""Many trainings: those that are remembered are recalled, the others run side by side.

Importing torch takes longer than all else that a stage does when it finds every training
remembered, so that waits until there is something to train.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Literal

from ablation.base.errors import UserError
from ablation.base.files import collect_unfinished
from ablation.data.characters import Characters
from ablation.run import memory
from ablation.run.crew import Job, work_off
from ablation.run.hardware import Hardware
from ablation.trial.trials import Learnt, Result, Trial

Work = Literal["validate", "fit"]


@dataclass(frozen=True)
class Laboratory:
    """What all trainings of a study share: the characters, the batch size and the hardware."""

    characters: Path
    batch_size: int
    hardware: Hardware

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

    @cached_property
    def _read(self) -> tuple[str, tuple[str, ...]]:
        characters = Characters.load(self.characters)
        return characters.digest(), characters.classes

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
        # Workers outlive a study: all that a training depends on is told to them.
        lab = replace(self, characters=self.characters.absolute())
        place, code = memory.folder(), memory.code_digest()
        collect_unfinished(place)

        def jobs() -> Iterator[Job]:
            """Asked for the next ones when a worker is free, so that `trials` may decide late."""
            for trial in trials:
                key = self._key(work, trial)
                payload = memory.recall(key)
                if payload is None:
                    yield partial(_do, lab, self.digest, work, trial, key, place, code)
                else:
                    recalled.append((trial, payload))

        for finished in work_off(jobs(), self.hardware.workers):
            while recalled:
                yield recalled.popleft()
            yield finished
        yield from recalled

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


def _do(
    lab: Laboratory, digest: str, work: Work, trial: Trial, key: str, place: Path, code: str
) -> tuple[Trial, bytes]:
    from ablation.run import worker  # here, in the worker process: it imports torch

    if memory.code_digest() != code:
        raise UserError("src/ablation was edited while a study ran; start `dvc repro` again")
    payload = memory.recall(key, place)  # another study may have finished it by now
    if payload is None:
        do = worker.validate if work == "validate" else worker.fit
        payload = do(lab.characters, digest, lab.batch_size, lab.hardware, trial)
        memory.remember(key, payload, place)
    return trial, payload
