"""Run a trial: score it on its split, or fit it on all characters."""

import torch

from ablation.data.splits import split
from ablation.trial.training import Part, Trained, train
from ablation.trial.trials import Learnt, Result, Trial


def validate(trial: Trial, whole: Part, *, classes: int, batch_size: int, bf16: bool) -> Result:
    """Train on the training part of the trial's split and score on its validation part.

    Args:
        whole: all characters that a study may select on, on the device that trains.
        classes: number of classes.
        batch_size: images per optimizer step.
        bf16: whether layers compute in bfloat16, not float32.

    Raises:
        SplitError: a class is too small to be in both parts of the split.
    """
    training, validation = (
        Part(whole.images[rows], whole.labels[rows])
        for rows in map(torch.from_numpy, split(whole.labels.cpu().numpy(), trial.repeat))
    )
    trained = train(
        trial.spec,
        trial.recipe,
        trial.repeat,
        training,
        validation,
        classes=classes,
        batch_size=batch_size,
        bf16=bf16,
    )
    return _result(trained, 0.0 if trained.diverged else trained.curves.validation_accuracy[-1])


def fit(
    trial: Trial, whole: Part, *, classes: int, batch_size: int, bf16: bool
) -> tuple[Result, Learnt]:
    """Train on all characters; the arguments are those of `validate`.

    Of the trial's repeat, only the seeds are used. The result's score is 0.
    """
    trained = train(
        trial.spec,
        trial.recipe,
        trial.repeat,
        whole,
        None,
        classes=classes,
        batch_size=batch_size,
        bf16=bf16,
    )
    state = trained.network.state_dict()
    tensors = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in state.items()}
    normalisation = trained.normalisation
    return _result(trained, 0.0), Learnt(normalisation.mean, normalisation.deviation, tensors)


def _result(trained: Trained, score: float) -> Result:
    parameters = sum(parameter.numel() for parameter in trained.network.parameters())
    return Result(score, trained.curves, trained.seconds, trained.diverged, parameters)
