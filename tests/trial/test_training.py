import dataclasses
import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from ablation.data.splits import Repeat
from ablation.trial.families import CnnSpec, MlpSpec
from ablation.trial.models import build, compute_in, kernels
from ablation.trial.recipe import (
    Affine,
    Elastic,
    Ema,
    NoAugmentation,
    Plateau,
    Recipe,
    Regularization,
    Sgd,
)
from ablation.trial.training import Normalisation, Part, Trained, predict, train

Parts = tuple[Part, Part]


def run(
    spec: MlpSpec | CnnSpec,
    recipe: Recipe,
    repeat: Repeat,
    parts: tuple[Part, Part | None],
    *,
    batch_size: int = 25,
    bf16: bool = False,
) -> Trained:
    training, validation = parts
    return train(
        spec, recipe, repeat, training, validation, classes=4, batch_size=batch_size, bf16=bf16
    )


def equal(one: Trained, other: Trained) -> bool:
    """Whether two networks have the same weights and batch statistics, to the last bit."""
    states = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("bf16", [False, True])
def test_both_families_learn(
    bf16: bool,
    spec: MlpSpec | CnnSpec,
    recipe: Recipe,
    repeats: list[Repeat],
    parts: Parts,
) -> None:
    trained = run(spec, recipe, repeats[0], parts, bf16=bf16)
    assert trained.curves.validation_accuracy[-1] > 0.95
    assert trained.curves.train_loss[0] > trained.curves.train_loss[-1]
    assert all(weights.dtype == torch.float32 for weights in trained.network.parameters())


def test_equal_seeds_give_equal_trainings(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    recipe = recipe.having("dropout", 0.3)
    one, other = (run(mlp, recipe, repeats[0], parts) for _ in range(2))
    assert one.curves == other.curves
    assert equal(one, other)


def test_repeats_give_different_trainings(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    one, other = (run(mlp, recipe, repeat, parts) for repeat in repeats[:2])
    assert one.curves != other.curves


@pytest.mark.parametrize("seed", ["init_seed", "order_seed", "dropout_seed", "augmentation_seed"])
def test_every_seed_of_a_repeat_is_used(
    seed: str, mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    recipe = recipe.having("dropout", 0.3).having("augmentation", Affine(name="affine"))
    other = Repeat(**{**dataclasses.asdict(repeats[0]), seed: 1})
    assert not equal(run(mlp, recipe, repeats[0], parts), run(mlp, recipe, other, parts))


def test_the_order_does_not_depend_on_the_dropout_seed(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    other = dataclasses.replace(repeats[0], dropout_seed=1)
    assert equal(run(mlp, recipe, repeats[0], parts), run(mlp, recipe, other, parts))


def test_augmentation_leaves_order_and_dropout_unchanged(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    """An affine augmentation of zero strength draws random numbers but distorts nothing."""
    zero = Affine(name="affine", rotation=0.0, shear=0.0, scale=0.0, shift=0.0)
    recipe = recipe.having("dropout", 0.3)
    plain, augmented = (
        run(mlp, each, repeats[0], parts) for each in (recipe, recipe.having("augmentation", zero))
    )
    assert plain.curves.train_loss == pytest.approx(augmented.curves.train_loss, abs=1e-4)


def test_validation_images_are_not_augmented(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    """At a learning rate of almost zero, the validation loss depends on its images alone."""
    constant = recipe.having("optimizer", Sgd(name="sgd", lr=1e-12)).having("batchnorm", False)
    plain, augmented = (
        run(mlp, constant.having("augmentation", each), repeats[0], parts)
        for each in (NoAugmentation(), Elastic(name="elastic"))
    )
    assert plain.curves.validation_loss == augmented.curves.validation_loss
    assert plain.curves.train_loss != augmented.curves.train_loss


def test_smoothing_changes_the_objective_but_not_the_reported_loss(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    """Compared with a step on PyTorch's smoothed loss."""
    recipe = recipe.having("optimizer", Sgd(name="sgd", lr=0.01))
    smooth = recipe.having("smoothing", 0.2)
    one_step = mlp.model_copy(update={"epochs": 1})
    plain, trained = (
        run(one_step, each, repeats[0], (parts[0], None), batch_size=300)
        for each in (recipe, smooth)
    )
    assert trained.curves.train_loss == plain.curves.train_loss

    network = build(one_step, smooth, 4, repeats[0].init_seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    logits = network(Normalisation.of(parts[0].images)(parts[0].images))
    F.cross_entropy(logits, parts[0].labels, label_smoothing=0.2).backward()
    optimizer.step()
    for ours, theirs in zip(trained.network.parameters(), network.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("bf16", [False, True])
def test_the_average_is_evaluated_and_never_trained(
    bf16: bool, spec: MlpSpec | CnnSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    averaging = recipe.having("averaging", Ema(name="ema", horizon=0.5))
    plain, averaged = (
        run(spec, each, repeats[0], parts, bf16=bf16) for each in (recipe, averaging)
    )
    assert averaged.curves.train_loss == plain.curves.train_loss
    assert averaged.curves.validation_loss != plain.curves.validation_loss
    assert not equal(plain, averaged)
    logits = predict(averaged.network, parts[1].images, averaged.normalisation)
    loss = F.cross_entropy(logits, parts[1].labels)
    assert loss.item() == pytest.approx(averaged.curves.validation_loss[-1], rel=0.02)


def test_an_average_over_one_step_is_the_network_itself(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    short = recipe.having("averaging", Ema(name="ema", horizon=0.001))
    plain, averaged = (run(mlp, each, repeats[0], parts) for each in (recipe, short))
    assert averaged.curves == plain.curves
    assert equal(plain, averaged)


@pytest.mark.parametrize("l1", [0.0, 0.03])
@pytest.mark.parametrize("l2", [0.0, 0.05])
@pytest.mark.parametrize("batchnorm", [False, True])
def test_steps_equal_those_of_autograd_with_penalties_on_kernels_only(
    l1: float,
    l2: float,
    batchnorm: bool,
    spec: MlpSpec | CnnSpec,
    recipe: Recipe,
    repeats: list[Repeat],
    parts: Parts,
) -> None:
    training = parts[0]
    two_steps = spec.model_copy(update={"epochs": 2})
    recipe = recipe.having("optimizer", Sgd(name="sgd", lr=0.01)).having("batchnorm", batchnorm)
    penalised = recipe.having("regularization", Regularization(l1=l1, l2=l2))
    trained = run(two_steps, penalised, repeats[0], (training, None), batch_size=300)

    network = build(two_steps, recipe, 4, repeats[0].init_seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    for _ in range(2):
        logits = network(Normalisation.of(training.images)(training.images))
        loss = F.cross_entropy(logits, training.labels)
        for weights in kernels(network):
            loss = loss + l1 * weights.abs().sum() + l2 / 2 * (weights**2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for ours, theirs in zip(trained.network.parameters(), network.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_reported_loss_excludes_penalties(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    penalised = recipe.having("regularization", Regularization(l1=0.1, l2=0.1))
    one_step = mlp.model_copy(update={"epochs": 1})
    plain, other = (
        run(one_step, each, repeats[0], parts, batch_size=300) for each in (recipe, penalised)
    )
    assert plain.curves.train_loss == other.curves.train_loss
    assert plain.curves.validation_loss != other.curves.validation_loss


def diverging(recipe: Recipe) -> Recipe:
    """Weights grow by a factor of 99 in every step."""
    recipe = recipe.having("optimizer", Sgd(name="sgd", lr=100.0)).having("batchnorm", False)
    return recipe.having("regularization", Regularization(l1=0.0, l2=1.0))


@pytest.mark.parametrize("validated", [True, False])
def test_a_diverging_training_stops_and_is_marked(
    validated: bool, mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    long = mlp.model_copy(update={"epochs": 50})
    trained = run(long, diverging(recipe), repeats[0], (parts[0], parts[1] if validated else None))
    assert trained.diverged
    assert len(trained.curves.train_loss) < 50
    assert not math.isfinite(trained.curves.train_loss[-1])
    assert len(trained.curves.validation_loss) == validated * (len(trained.curves.train_loss) - 1)


def test_divergence_in_the_last_step_of_an_epoch_is_detected(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    long = mlp.model_copy(update={"epochs": 50})
    trained = run(long, diverging(recipe), repeats[0], parts, batch_size=300)
    assert trained.diverged
    assert math.isfinite(trained.curves.train_loss[-1])
    assert not math.isfinite(trained.curves.validation_loss[-1])


def test_divergence_in_the_last_step_of_a_fit_is_detected(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    long = mlp.model_copy(update={"epochs": 50})
    whole = run(long, diverging(recipe), repeats[0], (parts[0], None), batch_size=300)
    one_epoch_less = mlp.model_copy(update={"epochs": len(whole.curves.train_loss) - 1})
    cut = run(one_epoch_less, diverging(recipe), repeats[0], (parts[0], None), batch_size=300)
    assert all(math.isfinite(loss) for loss in cut.curves.train_loss)
    assert cut.diverged


def test_a_normal_training_is_not_marked_as_diverged(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    trained = run(mlp, recipe, repeats[0], parts)
    assert not trained.diverged
    assert {len(curve) for curve in dataclasses.astuple(trained.curves)} == {mlp.epochs}


def test_normalisation_gives_zero_mean_and_unit_deviation(parts: Parts) -> None:
    images = parts[0].images
    normalise = Normalisation.of(images)
    pixels = images.double() / 255
    assert normalise.mean == pytest.approx(pixels.mean().item())
    assert normalise.deviation == pytest.approx(pixels.std(correction=0).item())
    normalised = normalise(images)
    assert normalised.shape == (300, 1, 28, 28)
    assert normalised.mean().item() == pytest.approx(0, abs=1e-4)
    assert normalised.std().item() == pytest.approx(1, abs=1e-4)


def test_normalisation_depends_on_the_training_part_alone(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    training, validation = parts
    white = Part(torch.full_like(validation.images, 255), validation.labels)
    trained = run(mlp, recipe, repeats[0], (training, white))
    assert trained.normalisation == Normalisation.of(training.images)


def test_training_does_not_depend_on_the_validation_part(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    training, validation = parts
    recipe = recipe.having("scheduler", Plateau(name="plateau")).having("dropout", 0.3)
    mislabelled_part = Part(validation.images, (validation.labels + 1) % 4)
    usual, mislabelled, without = (
        run(mlp, recipe, repeats[0], (training, part))
        for part in (validation, mislabelled_part, None)
    )
    assert equal(usual, mislabelled)
    assert equal(usual, without)
    assert usual.curves.validation_accuracy != mislabelled.curves.validation_accuracy
    assert without.curves.validation_accuracy == []


@pytest.mark.parametrize("bf16", [False, True])
def test_the_last_validation_values_are_those_of_the_returned_network(
    bf16: bool,
    spec: MlpSpec | CnnSpec,
    recipe: Recipe,
    repeats: list[Repeat],
    parts: Parts,
) -> None:
    validation = parts[1]
    trained = run(spec, recipe.having("dropout", 0.3), repeats[0], parts, bf16=bf16)
    dtype = torch.bfloat16 if bf16 else torch.float32
    compute_in(trained.network, dtype)
    logits = predict(trained.network, validation.images, trained.normalisation, dtype)
    correct = logits.argmax(1) == validation.labels
    assert trained.curves.validation_accuracy[-1] == correct.double().mean().item()
    loss = F.cross_entropy(logits, validation.labels).item()
    assert trained.curves.validation_loss[-1] == loss


def test_a_longer_training_starts_with_the_same_epochs(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    longer = mlp.model_copy(update={"epochs": 5})
    short, long = (run(spec, recipe, repeats[0], parts).curves for spec in (mlp, longer))
    assert long.train_loss[:3] == short.train_loss
    assert long.validation_accuracy[:3] == short.validation_accuracy


def test_plateau_lowers_the_rate_when_the_training_loss_stays(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    training = parts[0]
    constant = recipe.having("optimizer", Sgd(name="sgd", lr=1e-6, momentum=0.0))
    falling = constant.having("scheduler", Plateau(name="plateau", factor=1e-6))
    moves = []
    for each in (constant, falling):
        short, long = (
            run(mlp.model_copy(update={"epochs": n}), each, repeats[0], (training, None))
            for n in (2, 4)
        )
        pairs = zip(kernels(short.network), kernels(long.network), strict=True)
        moves.append(sum((one - other).abs().sum().item() for one, other in pairs))
    assert moves[1] < 0.01 * moves[0]


def test_predict_keeps_the_order_of_the_images(cnn: CnnSpec, recipe: Recipe, parts: Parts) -> None:
    network = build(cnn, recipe, 4, seed=1)
    images = parts[0].images
    normalise = Normalisation.of(images)
    many = torch.randint(300, (2500,), generator=torch.Generator().manual_seed(0))
    logits, shuffled = (predict(network, some, normalise) for some in (images, images[many]))
    assert torch.allclose(shuffled, logits[many], atol=1e-5)


def test_an_incomplete_batch_is_dropped(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    training = parts[0]
    trained = run(mlp, recipe, repeats[0], (Part(training.images[:26], training.labels[:26]), None))
    assert all(accuracy * 25 == round(accuracy * 25) for accuracy in trained.curves.train_accuracy)


def test_fewer_images_than_a_batch_are_one_batch(
    mlp: MlpSpec, recipe: Recipe, repeats: list[Repeat], parts: Parts
) -> None:
    trained = run(mlp, recipe, repeats[0], parts, batch_size=8192)
    losses = trained.curves.train_loss
    assert all(later < earlier for earlier, later in pairwise(losses))
    assert max(trained.curves.train_accuracy) <= 1
