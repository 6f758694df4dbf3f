"""Run a trial: score it on its split, or fit it on all characters."""

import math

import scipy.optimize
import torch
import torch.nn.functional as F
from torch import Tensor

from ablation.data.splits import split
from ablation.trial.training import Part, Trained, train
from ablation.trial.trials import TEMPERATURES, Learnt, Result, Trial


def validate(trial: Trial, whole: Part, *, classes: int, batch_size: int, bf16: bool) -> Result:
    """Train on the training part of the trial's split and score on its validation part.

    Args:
        trial: the trial.
        whole: all training characters of the study, on the training device.
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
    if trained.diverged or trained.logits is None:
        return _result(trained, 0.0, None)
    temperature = fit_temperature(trained.logits, validation.labels)
    return _result(trained, trained.curves.validation_accuracy[-1], temperature)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature T that minimises the cross-entropy of `logits / T`.

    A single number per network, which changes confidences but never predictions. Computed in
    float64 on the device of the logits, to a relative precision of 1e-5.

    Args:
        logits: (n, classes), finite, of images that the network was not trained on.
        labels: (n,) int64.

    Returns:
        T, within `TEMPERATURES`.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
    """
    exact = logits.double()

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(exact * math.exp(-log_temperature), labels).item()

    # The loss is convex in 1/T, so it has one minimum in log T too, a scale for any temperature.
    found = scipy.optimize.minimize_scalar(
        loss, bounds=[math.log(each) for each in TEMPERATURES], method="bounded"
    )
    return math.exp(found.x)


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
    return _result(trained, 0.0, None), Learnt(normalisation.mean, normalisation.deviation, tensors)


def _result(trained: Trained, score: float, temperature: float | None) -> Result:
    parameters = sum(parameter.numel() for parameter in trained.network.parameters())
    return Result(score, trained.curves, temperature, trained.seconds, trained.diverged, parameters)
