import copy
import math

import pytest
import torch
from torch import nn

from ablation.trial.families import CnnSpec, MlpSpec
from ablation.trial.models import NetworkError, build, kernels
from ablation.trial.recipe import Ema, Recipe
from ablation.trial.techniques import ACTIVATIONS
from ablation.trial.weights import Average, MasterWeights, make_average

DTYPES = [torch.float32, torch.bfloat16]


@pytest.fixture
def network(spec: MlpSpec | CnnSpec, recipe: Recipe) -> nn.Module:
    return build(spec, recipe, 4, seed=1)


def half_of_all_squares(network: nn.Module) -> torch.Tensor:
    """A loss whose gradient at every weight is the weight."""
    return torch.stack([(values.float() ** 2).sum() / 2 for values in network.parameters()]).sum()


def gathered(network: nn.Module, weights: MasterWeights) -> torch.Tensor:
    half_of_all_squares(network).backward()
    weights.gather_gradients()
    return weights.kernel_gradients.clone()


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_have_the_precision_and_normalisation_is_float32(
    network: nn.Module, dtype: torch.dtype
) -> None:
    MasterWeights(network, dtype)
    for module in network.children():
        normalises = isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        expected = torch.float32 if normalises else dtype
        assert {values.dtype for values in module.state_dict().values()} <= {expected, torch.int64}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_layer_accepts_bf16(activation: str, cnn: CnnSpec, recipe: Recipe) -> None:
    network = build(cnn, recipe.having("activation", activation), 4, seed=1)
    MasterWeights(network, torch.bfloat16)
    assert network(torch.randn(9, 1, 28, 28).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_have_the_order_of_the_weights(network: nn.Module, dtype: torch.dtype) -> None:
    weights = MasterWeights(network, dtype)
    gathered(network, weights)
    rounding = 0.0 if dtype == torch.float32 else 2**-8
    assert torch.allclose(weights.kernel_gradients, weights.kernels, atol=0, rtol=rounding)
    assert weights.others.grad is not None
    assert torch.allclose(weights.others.grad, weights.others, atol=0, rtol=rounding)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_do_not_accumulate(network: nn.Module, dtype: torch.dtype) -> None:
    weights = MasterWeights(network, dtype)
    once, twice = (gathered(network, weights) for _ in range(2))
    assert torch.equal(once, twice)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_are_copied_to_the_network(network: nn.Module, dtype: torch.dtype) -> None:
    before = copy.deepcopy(network)
    weights = MasterWeights(network, dtype)
    weights.kernels.mul_(3)
    weights.others.add_(2)
    weights.copy_to_network()
    for now, then in zip(kernels(network), kernels(before), strict=True):
        assert torch.equal(now, (3 * then).to(now.dtype))
    for now, then in zip(network.parameters(), before.parameters(), strict=True):
        if now.ndim == 1:
            assert torch.equal(now, (2 + then).to(now.dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_updates_below_the_resolution_of_bf16_are_kept(
    network: nn.Module, dtype: torch.dtype
) -> None:
    before = copy.deepcopy(network)
    weights = MasterWeights(network, dtype)
    for _ in range(100):
        weights.kernels.mul_(1 + 2**-14)
        weights.copy_to_network()
    for now, then in zip(kernels(network), kernels(before), strict=True):
        assert torch.allclose(now.float(), then * (1 + 2**-14) ** 100, rtol=2**-7)
    weights.detach()
    for now, then in zip(kernels(network), kernels(before), strict=True):
        assert torch.allclose(now, then * (1 + 2**-14) ** 100, rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_detached_network_is_an_ordinary_one(network: nn.Module, dtype: torch.dtype) -> None:
    before = copy.deepcopy(network)
    MasterWeights(network, dtype).detach()
    storages = {values.untyped_storage().data_ptr() for values in network.parameters()}
    assert len(storages) == len(list(network.parameters()))
    for now, then in zip(network.parameters(), before.parameters(), strict=True):
        assert torch.equal(now, then)
        assert now.stride() == then.stride()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (4,), (4, 3), (4, 3, 2)])
def test_other_parameters_are_float32_and_of_any_shape(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    network = nn.Sequential(nn.Linear(3, 4, bias=False))
    network.register_parameter("values", nn.Parameter(torch.ones(shape)))
    weights = MasterWeights(network, dtype)
    weights.others.mul_(3)
    weights.copy_to_network()
    weights.detach()
    assert torch.equal(network.get_parameter("values"), torch.full(shape, 3.0))
    assert len(weights.kernels) == 12


@pytest.mark.parametrize("unused", ["1.weight", "1.bias"])
def test_an_error_names_a_parameter_without_gradient(unused: str) -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))
    weights = MasterWeights(network, torch.float32)
    used = [values for name, values in network.named_parameters() if name != unused]
    torch.stack([values.sum() for values in used]).sum().backward()
    with pytest.raises(NetworkError, match=rf"models\.py: {unused} has no gradient"):
        weights.gather_gradients()


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_as_old_as_the_horizon_count_1_over_e(
    network: nn.Module, dtype: torch.dtype
) -> None:
    """Weights are 1 for a long time, and then 2 for the horizon."""
    weights = MasterWeights(network, dtype)
    average = Average(network, weights, horizon=5.0)
    weights.all.fill_(1.0)
    for _ in range(400):
        average.update()
    weights.all.fill_(2.0)
    for _ in range(5):
        average.update()
    with average.swapped_in():
        assert torch.allclose(weights.all, torch.tensor(2 - math.exp(-1)), atol=1e-4)


def test_early_steps_have_a_smaller_decay(network: nn.Module) -> None:
    weights = MasterWeights(network, torch.float32)
    before = weights.all.clone()
    average = Average(network, weights, horizon=1000.0)
    weights.all.add_(1.0)
    average.update()
    with average.swapped_in():
        assert torch.allclose(weights.all, before + 1 - 2 / 11, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_average_is_swapped_in_and_out(network: nn.Module, dtype: torch.dtype) -> None:
    weights = MasterWeights(network, dtype)
    average = Average(network, weights, horizon=3.0)
    weights.all.add_(1.0)
    weights.copy_to_network()
    for statistics in network.buffers():
        if statistics.is_floating_point():
            statistics.add_(1.0)
    average.update()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with average.swapped_in():
        averaged = {name: value.clone() for name, value in network.state_dict().items()}
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
        if value.is_floating_point():
            assert not torch.equal(averaged[name], before[name]), name


def test_an_average_is_swapped_out_after_an_error(network: nn.Module) -> None:
    weights = MasterWeights(network, torch.float32)
    average = Average(network, weights, horizon=3.0)
    weights.all.add_(1.0)
    before = weights.all.clone()
    with pytest.raises(RuntimeError), average.swapped_in():
        assert not torch.equal(weights.all, before)
        raise RuntimeError
    assert torch.equal(weights.all, before)


def test_without_averaging_a_network_keeps_its_last_weights(
    network: nn.Module, recipe: Recipe
) -> None:
    weights = MasterWeights(network, torch.float32)
    average = make_average(recipe.averaging, network, weights, steps=10)
    weights.all.add_(1.0)
    before = weights.all.clone()
    average.update()
    with average.swapped_in():
        assert torch.equal(weights.all, before)
    average.swap()
    assert torch.equal(weights.all, before)


def test_the_horizon_of_a_recipe_is_in_epochs(network: nn.Module) -> None:
    weights = MasterWeights(network, torch.float32)
    averages = [
        make_average(Ema(name="ema", horizon=0.5), network, weights, steps=4),
        Average(network, weights, horizon=2.0),
    ]
    for _ in range(50):
        weights.all.add_(1.0)
        for average in averages:
            average.update()
    contents = []
    for average in averages:
        with average.swapped_in():
            contents.append(weights.all.clone())
    assert torch.equal(*contents)
