"""Many trainings: those that are remembered are recalled, the others run side by side."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import joblib
import torch

from ablation.data.characters import Characters
from ablation.data.splits import Repeat, split
from ablation.trial import memory
from ablation.trial.fitted import Fitted
from ablation.trial.hardware import Hardware
from ablation.trial.recipe import CnnSpec, MlpSpec, Recipe
from ablation.trial.training import Curves, Part, Trained, one_thread_that_keeps_its_memory, train


@dataclass(frozen=True)
class Trial:
    """One recipe on one repeat: trained on the split's training part, scored on the other.

    model: the family, `mlp` or `cnn`; spec: its sizes.
    """

    model: str
    spec: MlpSpec | CnnSpec
    recipe: Recipe
    repeat: Repeat


@dataclass(frozen=True)
class Result:
    """What a training on a split gave, or, with a score of 0, one on all characters.

    score: validation accuracy after the last epoch, a fraction; 0 if the training diverged.
    """

    score: float
    curves: Curves
    train_seconds: float
    diverged: bool


@dataclass(frozen=True)
class Laboratory:
    """What all trainings of a study share: the characters, the batch size and the hardware."""

    characters: Path
    batch_size: int
    hardware: Hardware

    def run(self, trials: Iterable[Trial]) -> Iterator[tuple[Trial, Result]]:
        """Each trial with its result, as they finish; a finished trial is remembered at once.

        Yields in no fixed order. A trial's result depends neither on the order nor on the number
        of workers.
        """
        for trial, payload in self._each(trials, "trial", self._validate):
            yield trial, _unpack(payload)

    def fit(self, trials: Iterable[Trial]) -> Iterator[tuple[Trial, Result, bytes]]:
        """Train on *all* characters; of the repeats only the dice count, not the split.

        Yields the trial, its result (score 0: nothing was left to score it on) and the content of
        the model file, in no fixed order; remembered like trials.
        """
        for trial, payload in self._each(trials, "fit", self._fit):
            about, _, model = payload.partition(b"\n")
            yield trial, _unpack(about), model

    def _each(
        self, trials: Iterable[Trial], kind: str, work: Callable[[Trial], bytes]
    ) -> Iterator[tuple[Trial, bytes]]:
        keys = {trial: self._key(kind, trial) for trial in trials}
        unknown = []
        for trial, key in keys.items():
            payload = memory.recall(key)
            if payload is None:
                unknown.append(trial)
            else:
                yield trial, payload
        if unknown:
            workers = min(self.hardware.workers, len(unknown))
            with joblib.parallel_config("loky", inner_max_num_threads=1):
                pool = joblib.Parallel(workers, return_as="generator_unordered")
                jobs = (joblib.delayed(_work)(work, trial, keys[trial]) for trial in unknown)
                yield from pool(jobs)

    def _validate(self, trial: Trial) -> bytes:
        whole, _ = _load(self.characters, self.hardware.device)
        training, validation = (
            whole.of(torch.from_numpy(rows))
            for rows in split(whole.labels.cpu().numpy(), trial.repeat)
        )
        trained = self._train(trial, training, validation)
        score = 0.0 if trained.diverged else trained.curves.validation_accuracy[-1]
        return _pack(trained, score)

    def _fit(self, trial: Trial) -> bytes:
        whole, classes = _load(self.characters, self.hardware.device)
        trained = self._train(trial, whole, None)
        fitted = Fitted(
            trial.model,
            trial.spec,
            trial.recipe,
            classes,
            trained.normalisation,
            trained.network,
        )
        return _pack(trained, 0.0) + b"\n" + fitted.to_bytes()

    def _train(self, trial: Trial, training: Part, validation: Part | None) -> Trained:
        return train(
            trial.spec,
            trial.recipe,
            trial.repeat,
            training,
            validation,
            classes=len(_load(self.characters, self.hardware.device)[1]),
            batch_size=self.batch_size,
            bf16=self.hardware.bf16,
        )

    def _key(self, kind: str, trial: Trial) -> str:
        return memory.key(
            kind=kind,
            model=trial.model,
            spec=trial.spec.model_dump(mode="json"),
            recipe=trial.recipe.model_dump(mode="json"),
            repeat=asdict(trial.repeat),
            batch_size=self.batch_size,
            arithmetic=self.hardware.arithmetic,
            characters=_digest(self.characters),
        )


def _work(work: Callable[[Trial], bytes], trial: Trial, key: str) -> tuple[Trial, bytes]:
    one_thread_that_keeps_its_memory()
    payload = work(trial)
    memory.remember(key, payload)
    return trial, payload


@cache
def _load(path: Path, device: str) -> tuple[Part, tuple[str, ...]]:
    characters = Characters.load(path)
    images, labels = (
        torch.from_numpy(array).to(device) for array in (characters.images, characters.labels)
    )
    return Part(images, labels.long(), torch.arange(len(labels), device=device)), characters.classes


@cache
def _digest(path: Path) -> str:
    return memory.file_digest(path)


def _pack(trained: Trained, score: float) -> bytes:
    result = Result(score, trained.curves, trained.seconds, trained.diverged)
    return json.dumps(asdict(result)).encode()


def _unpack(payload: bytes) -> Result:
    content = json.loads(payload)
    return Result(**{**content, "curves": Curves(**content["curves"])})
