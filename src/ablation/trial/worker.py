"""What happens in a worker process: one training, from a trial to the bytes that are remembered."""

from functools import cache
from pathlib import Path

import torch

from ablation.data.characters import Characters
from ablation.data.splits import split
from ablation.trial.fitted import Fitted
from ablation.trial.hardware import Hardware
from ablation.trial.training import Part, Trained, prepare_process, train
from ablation.trial.trials import Result, Trial


def validate(characters: Path, batch_size: int, hardware: Hardware, trial: Trial) -> bytes:
    """Train on the training part of the trial's split, score on the other: a `Result`.

    Raises:
        SplitError: a class is too small for a part of its own in each half of the split.
    """
    prepare_process()
    whole, classes = _load(characters, hardware.device)
    training, validation = (
        Part(whole.images[rows], whole.labels[rows])
        for rows in map(torch.from_numpy, split(whole.labels.cpu().numpy(), trial.repeat))
    )
    trained = _train(trial, training, validation, len(classes), batch_size, hardware)
    score = 0.0 if trained.diverged else trained.curves.validation_accuracy[-1]
    return _result(trained, score).to_bytes()


def fit(characters: Path, batch_size: int, hardware: Hardware, trial: Trial) -> bytes:
    """Train on all characters: a `Result`, a line feed and the content of the model file."""
    prepare_process()
    whole, classes = _load(characters, hardware.device)
    trained = _train(trial, whole, None, len(classes), batch_size, hardware)
    normalisation, network = trained.normalisation, trained.network
    fitted = Fitted(trial.model, trial.spec, trial.recipe, classes, normalisation, network)
    return _result(trained, 0.0).to_bytes() + b"\n" + fitted.to_bytes()


def _train(
    trial: Trial,
    training: Part,
    validation: Part | None,
    classes: int,
    batch_size: int,
    hardware: Hardware,
) -> Trained:
    return train(
        trial.spec,
        trial.recipe,
        trial.repeat,
        training,
        validation,
        classes=classes,
        batch_size=batch_size,
        bf16=hardware.bf16,
    )


def _result(trained: Trained, score: float) -> Result:
    parameters = sum(parameter.numel() for parameter in trained.network.parameters())
    return Result(score, trained.curves, trained.seconds, trained.diverged, parameters)


@cache
def _load(path: Path, device: str) -> tuple[Part, tuple[str, ...]]:
    characters = Characters.load(path)
    images, labels = (
        torch.from_numpy(array).to(device) for array in (characters.images, characters.labels)
    )
    return Part(images, labels.long()), characters.classes
