"""The temperature of a trial."""

import json
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F

from ablation.data.splits import Repeat, split
from ablation.trial.families import MlpSpec
from ablation.trial.recipe import Recipe, Regularization, Sgd
from ablation.trial.scoring import fit, fit_temperature, validate
from ablation.trial.training import Part, train
from ablation.trial.trials import TEMPERATURES, Result, Trial

SIZES = {"classes": 4, "batch_size": 25}


@pytest.fixture
def whole(parts: tuple[Part, Part]) -> Part:
    return Part(*(torch.cat(each) for each in zip(*(vars(p).values() for p in parts), strict=True)))


def noisy(count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels drawn from their probabilities: calibrated, so the temperature is 1."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    return logits, labels


@pytest.mark.parametrize("factor", [0.05, 0.4, 1.0, 3.0])
def test_a_temperature_undoes_a_scaling_of_the_logits(factor: float) -> None:
    logits, labels = noisy()
    plain = fit_temperature(logits, labels)
    assert plain == pytest.approx(1, abs=0.05)
    expected = max(factor * plain, TEMPERATURES[0])
    assert fit_temperature(factor * logits, labels) == pytest.approx(expected, rel=1e-4)


def test_the_temperature_maximises_the_likelihood() -> None:
    logits, labels = noisy()
    best = fit_temperature(logits, labels)
    least = F.cross_entropy(logits.double() / best, labels)
    others = (0.1, 0.999 * best, 1.001 * best, 100)
    assert all(F.cross_entropy(logits.double() / other, labels) > least for other in others)


def test_temperatures_of_perfect_and_of_useless_networks_are_bounded() -> None:
    labels = torch.arange(4)
    logits = torch.eye(4)
    least, most = TEMPERATURES
    assert least <= fit_temperature(logits, labels) == pytest.approx(least, rel=1e-3)
    assert most >= fit_temperature(-logits, labels) == pytest.approx(most, rel=1e-3)


def test_a_trials_temperature_is_that_of_its_own_validation_part(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], whole: Part
) -> None:
    hard = recipe.having("smoothing", 0.2)
    result = validate(Trial("mlp", mlp, hard, repeats[0]), whole, **SIZES, bf16=False)
    rows, held_out = (
        Part(whole.images[rows], whole.labels[rows])
        for rows in map(torch.from_numpy, split(whole.labels.numpy(), repeats[0]))
    )
    trained = train(mlp, hard, repeats[0], rows, held_out, **SIZES, bf16=False)
    assert trained.logits is not None
    assert result.temperature == fit_temperature(trained.logits, held_out.labels)
    assert F.cross_entropy(trained.logits, held_out.labels) == pytest.approx(
        result.curves.validation_loss[-1]
    )


def test_a_diverged_or_unvalidated_training_has_no_temperature(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], whole: Part
) -> None:
    long = mlp.model_copy(update={"epochs": 50})
    grows = recipe.having("optimizer", Sgd(name="sgd", lr=100.0)).having("batchnorm", False)
    grows = grows.having("regularization", Regularization(l1=0.0, l2=1.0))
    for batch_size in (25, 300):  # diverges before the last step of an epoch, and in it
        sizes = {"classes": 4, "batch_size": batch_size}
        diverged = validate(Trial("mlp", long, grows, repeats[0]), whole, **sizes, bf16=False)
        assert diverged.diverged and diverged.score == 0
        assert diverged.temperature is None
    fitted, _ = fit(Trial("mlp", mlp, recipe, repeats[0]), whole, **SIZES, bf16=False)
    assert fitted.temperature is None


def test_a_result_survives_a_round_trip_with_or_without_a_temperature(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], whole: Part
) -> None:
    trial = Trial("mlp", mlp, recipe, repeats[0])
    for result in (
        validate(trial, whole, **SIZES, bf16=False),
        fit(trial, whole, **SIZES, bf16=False)[0],
    ):
        assert Result.from_bytes(result.to_bytes()) == result
        assert json.loads(result.to_bytes()) == asdict(result)
