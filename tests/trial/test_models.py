from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ablation.params import load_params
from ablation.trial.families import FAMILIES, CnnSpec, MlpSpec, Spec
from ablation.trial.models import (
    ChannelsLastFlatten,
    Dropout,
    NetworkError,
    build,
    kernels,
    layers,
)
from ablation.trial.recipe import Recipe
from ablation.trial.techniques import ACTIVATIONS

STUDY = load_params(Path(__file__).parents[2] / "params.yaml")
MLP = MlpSpec(hidden=(16, 12, 8), epochs=1)
CNN = CnnSpec(channels=(4, 6), dense=(16,), epochs=1)
IMAGES = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def types(network: nn.Module) -> list[type[nn.Module]]:
    return [type(module) for module in network.children()]


@pytest.mark.parametrize(
    "spec",
    [
        MLP,
        MlpSpec(hidden=(9, 8, 7, 6, 5), epochs=1),
        CNN,
        CnnSpec(channels=(4, 4, 4, 4), dense=(), epochs=1),
        CnnSpec(channels=(3, 5), dense=(9, 8), epochs=1),
    ],
)
@pytest.mark.parametrize("batchnorm", [False, True])
def test_networks_map_images_to_logits(
    spec: MlpSpec | CnnSpec, batchnorm: bool, recipe: Recipe
) -> None:
    network = build(spec, recipe.having("batchnorm", batchnorm), 47, seed=1)
    assert network(IMAGES).shape == (5, 47)


@pytest.mark.parametrize("model", STUDY.families)
def test_every_family_of_the_study_can_be_built(model: str, recipe: Recipe) -> None:
    assert build(STUDY.spec(model), recipe, 47, seed=1)(IMAGES).shape == (5, 47)


@pytest.mark.parametrize("model", STUDY.families)
def test_architectures_of_the_study_are_in_order_of_size(model: str, recipe: Recipe) -> None:
    counts = []
    for candidate in STUDY.candidates("architecture", model):
        spec = STUDY.spec(model, recipe.having("architecture", *candidate.settings))
        counts.append(sum(p.numel() for p in build(spec, recipe, 47, seed=1).parameters()))
    assert len(counts) >= 3 or not counts  # a family may explore none
    assert counts == sorted(counts)


@pytest.mark.parametrize("spec", FAMILIES.values())
def test_every_family_has_a_builder(spec: type[Spec]) -> None:
    assert spec in layers.registry


def test_an_mlp_has_the_layers_of_its_spec(recipe: Recipe) -> None:
    shapes = [tuple(weights.shape) for weights in kernels(build(MLP, recipe, 47, seed=1))]
    assert shapes == [(16, 784), (12, 16), (8, 12), (47, 8)]


def test_a_cnn_has_the_layers_of_its_spec(recipe: Recipe) -> None:
    shapes = [tuple(weights.shape) for weights in kernels(build(CNN, recipe, 47, seed=1))]
    assert shapes == [(4, 1, 3, 3), (6, 4, 3, 3), (16, 6 * 7 * 7), (47, 16)]


def test_a_block_of_several_convolutions_halves_the_image_once(recipe: Recipe) -> None:
    network = build(CNN.model_copy(update={"convolutions": 2}), recipe, 47, seed=1)
    shapes = [tuple(weights.shape) for weights in kernels(network)]
    convolutions = [(4, 1, 3, 3), (4, 4, 3, 3), (6, 4, 3, 3), (6, 6, 3, 3)]
    assert shapes == [*convolutions, (16, 6 * 7 * 7), (47, 16)]


@pytest.mark.parametrize("spec", [MLP, CNN])
def test_batch_normalisation_follows_the_recipe(spec: MlpSpec | CnnSpec, recipe: Recipe) -> None:
    activated = 3  # layers followed by an activation, in both networks
    norms = nn.BatchNorm1d, nn.BatchNorm2d
    for batchnorm in (False, True):
        network = build(spec, recipe.having("batchnorm", batchnorm), 47, seed=1)
        assert sum(kind in norms for kind in types(network)) == activated * batchnorm


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("spec", [MLP, CNN])
def test_every_hidden_layer_has_the_recipes_activation(
    activation: str, spec: MlpSpec | CnnSpec, recipe: Recipe
) -> None:
    network = build(spec, recipe.having("activation", activation), 47, seed=1)
    assert types(network).count(type(ACTIVATIONS[activation]())) == 3


@pytest.mark.parametrize("spec", [MLP, CNN])
@pytest.mark.parametrize(("technique", "setting"), [("batchnorm", False), ("dropout", 0.5)])
def test_layers_without_kernels_never_change_the_initial_kernels(
    technique: str, setting: object, spec: MlpSpec | CnnSpec, recipe: Recipe
) -> None:
    with_it = kernels(build(spec, recipe.having(technique, setting), 47, seed=1))
    without = kernels(build(spec, recipe, 47, seed=1))
    assert all(torch.equal(one, other) for one, other in zip(with_it, without, strict=True))


@pytest.mark.parametrize("spec", [MLP, CNN])
def test_initial_weights_depend_on_the_seed_alone(spec: MlpSpec | CnnSpec, recipe: Recipe) -> None:
    first = build(spec, recipe, 47, seed=1)(IMAGES)
    torch.manual_seed(99)
    assert torch.equal(first, build(spec, recipe, 47, seed=1)(IMAGES))
    assert not torch.equal(first, build(spec, recipe, 47, seed=2)(IMAGES))


def test_weights_are_he_normal_and_biases_zero(recipe: Recipe) -> None:
    spec = MlpSpec(hidden=(400, 400, 400), epochs=1)
    network = build(spec, recipe.having("batchnorm", False), 47, seed=1)
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            assert layer.weight.std().item() == pytest.approx((2 / layer.in_features) ** 0.5, 0.05)
            assert not layer.bias.any()


def test_channels_last_flatten_returns_a_view() -> None:
    images = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    flat = ChannelsLastFlatten()(images)
    assert torch.equal(flat, images.permute(0, 2, 3, 1).reshape(2, 60))
    assert flat.data_ptr() == images.data_ptr()


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5, 0.9])
def test_dropout_zeroes_its_rate_and_keeps_the_mean(rate: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(rate)(torch.ones(400, 1001))
    assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=0.005)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 1023])
def test_dropout_accepts_any_number_of_values(size: int) -> None:
    assert Dropout(0.5)(torch.ones(size)).shape == (size,)


def test_dropout_draws_for_each_value_in_each_call() -> None:
    torch.manual_seed(0)
    one, two = (Dropout(0.5)(torch.ones(4, 1000)) for _ in range(2))
    assert not torch.equal(one, two)
    assert (one[0] == one[1]).float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_dropout_masks_gradients_like_values() -> None:
    values = torch.ones(100, requires_grad=True)
    dropped = Dropout(0.5)(values)
    dropped.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, dropped)


def test_dropout_does_nothing_in_evaluation_or_at_rate_zero() -> None:
    values = torch.rand(100)
    assert Dropout(0.5).eval()(values) is values
    assert Dropout(0.0)(values) is values


class OddSpec(Spec):
    """A family whose size is a ready-made network."""

    network: Any


@layers.register
def _odd(spec: OddSpec, _recipe: Recipe, _classes: int) -> nn.Module:
    network: nn.Module = spec.network
    return network


class WithParameter(nn.Module):
    """A module with a parameter of its own."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.ones(shape))


class OwnLinear(nn.Linear):
    """A subclass may compute anything."""


def nested(layer: nn.Module) -> OddSpec:
    """A network with the layer two levels deep."""
    network = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Sequential(layer)), nn.Linear(784, 47))
    return OddSpec(epochs=1, network=network)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (WithParameter(), "WithParameter"),  # a scalar
        (WithParameter(5, 784), "WithParameter"),  # an embedding of positions
        (nn.LayerNorm(784), "LayerNorm"),
        (nn.Embedding(9, 784), "Embedding"),
        (nn.PReLU(), "PReLU"),
        (nn.MultiheadAttention(784, 1), "MultiheadAttention"),
        (OwnLinear(784, 784), "OwnLinear"),
    ],
)
def test_an_unsupported_layer_is_an_error(layer: nn.Module, name: str, recipe: Recipe) -> None:
    with pytest.raises(NetworkError, match=rf"models\.py: {name} \(1\.0\.0\) has parameters"):
        build(nested(layer), recipe, 47, seed=1)


def test_a_parameter_of_the_network_itself_is_an_error(recipe: Recipe) -> None:
    with pytest.raises(NetworkError, match=r"WithParameter \(the network itself\)"):
        build(OddSpec(epochs=1, network=WithParameter(5)), recipe, 47, seed=1)


@pytest.mark.parametrize(
    "layer",
    [nn.LayerNorm(784, elementwise_affine=False), nn.Softmax(1), nn.Dropout(), Dropout(0.5)],
)
def test_layers_without_parameters_are_allowed(layer: nn.Module, recipe: Recipe) -> None:
    build(nested(layer), recipe, 47, seed=1)


def test_a_spec_without_a_builder_is_an_error(recipe: Recipe) -> None:
    with pytest.raises(TypeError, match="no builder for Spec; register one"):
        build(Spec(epochs=1), recipe, 47, seed=1)
