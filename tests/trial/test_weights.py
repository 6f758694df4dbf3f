import copy
import math

import pytest
import torch
from torch import nn

from ablation.trial.families import CnnSpec, MlpSpec
from ablation.trial.models import NetworkError, build, kernels
from ablation.trial.recipe import Recipe
from ablation.trial.techniques import ACTIVATIONS
from ablation.trial.weights import Average, MasterWeights

DTYPES = [torch.float32, torch.bfloat16]


@pytest.fixture
def network(spec: MlpSpec | CnnSpec, recipe: Recipe) -> nn.Module:
    return build(spec, recipe, 4, seed=1)


def half_of_all_squares(network: nn.Module) -> torch.Tensor:
    """A loss whose gradient at every weight is the weight."""
    return torch.stack([(values.float() ** 2).sum() / 2 for values in network.parameters()]).sum()


def collected(network: nn.Module, weights: MasterWeights) -> torch.Tensor:
    half_of_all_squares(network).backward()
    weights.collect()
    return weights.kernel_gradients.clone()


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_keep_their_weights_in_the_precision_and_normalisation_in_float32(
    network: nn.Module, dtype: torch.dtype
) -> None:
    MasterWeights(network, dtype)
    for module in network.children():
        normalises = isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        expected = torch.float32 if normalises else dtype
        assert {values.dtype for values in module.state_dict().values()} <= {expected, torch.int64}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_layer_takes_the_precision(activation: str, cnn: CnnSpec, recipe: Recipe) -> None:
    network = build(cnn, recipe.having("activation", activation), 4, seed=1)
    MasterWeights(network, torch.bfloat16)
    assert network(torch.randn(9, 1, 28, 28).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_lie_where_their_weights_lie(network: nn.Module, dtype: torch.dtype) -> None:
    weights = MasterWeights(network, dtype)
    collected(network, weights)
    rounding = 0.0 if dtype == torch.float32 else 2**-8
    assert torch.allclose(weights.kernel_gradients, weights.kernels, atol=0, rtol=rounding)
    assert weights.others.grad is not None
    assert torch.allclose(weights.others.grad, weights.others, atol=0, rtol=rounding)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_do_not_add_up_over_steps(network: nn.Module, dtype: torch.dtype) -> None:
    weights = MasterWeights(network, dtype)
    once, twice = (collected(network, weights) for _ in range(2))
    assert torch.equal(once, twice)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_network_follows_its_weights(network: nn.Module, dtype: torch.dtype) -> None:
    before = copy.deepcopy(network)
    weights = MasterWeights(network, dtype)
    weights.kernels.mul_(3)
    weights.others.add_(2)
    weights.spread()
    for now, then in zip(kernels(network), kernels(before), strict=True):
        assert torch.equal(now, (3 * then).to(now.dtype))
    for now, then in zip(network.parameters(), before.parameters(), strict=True):
        if now.ndim == 1:
            assert torch.equal(now, (2 + then).to(now.dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_smaller_than_bf16_can_hold_are_not_lost(
    network: nn.Module, dtype: torch.dtype
) -> None:
    before = copy.deepcopy(network)
    weights = MasterWeights(network, dtype)
    for _ in range(100):
        weights.kernels.mul_(1 + 2**-14)
        weights.spread()
    for now, then in zip(kernels(network), kernels(before), strict=True):
        assert torch.allclose(now.float(), then * (1 + 2**-14) ** 100, rtol=2**-7)
    weights.release()
    for now, then in zip(kernels(network), kernels(before), strict=True):
        assert torch.allclose(now, then * (1 + 2**-14) ** 100, rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_released_is_an_ordinary_network(network: nn.Module, dtype: torch.dtype) -> None:
    before = copy.deepcopy(network)
    MasterWeights(network, dtype).release()
    storages = {values.untyped_storage().data_ptr() for values in network.parameters()}
    assert len(storages) == len(list(network.parameters()))
    for now, then in zip(network.parameters(), before.parameters(), strict=True):
        assert torch.equal(now, then)
        assert now.stride() == then.stride()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (4,), (4, 3), (4, 3, 2)])
def test_all_that_is_no_kernel_is_learnt_in_float32_whatever_its_shape(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    network = nn.Sequential(nn.Linear(3, 4, bias=False))
    network.register_parameter("values", nn.Parameter(torch.ones(shape)))
    weights = MasterWeights(network, dtype)
    weights.others.mul_(3)
    weights.spread()
    weights.release()
    assert torch.equal(network.get_parameter("values"), torch.full(shape, 3.0))
    assert len(weights.kernels) == 12


@pytest.mark.parametrize("unused", ["1.weight", "1.bias"])
def test_a_parameter_without_gradient_is_named(unused: str) -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))
    weights = MasterWeights(network, torch.float32)
    used = [values for name, values in network.named_parameters() if name != unused]
    torch.stack([values.sum() for values in used]).sum().backward()
    with pytest.raises(NetworkError, match=rf"models\.py: {unused} got no gradient"):
        weights.collect()


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_average_forgets_by_its_horizon(network: nn.Module, dtype: torch.dtype) -> None:
    """After a long time at one place, a move counts as much as the formula says."""
    weights = MasterWeights(network, dtype)
    average = Average(network, weights, horizon=5.0)
    weights.all.fill_(1.0)
    for _ in range(400):
        average.update()
    weights.all.fill_(2.0)
    for _ in range(5):
        average.update()
    with average.shown():
        assert torch.allclose(weights.all, torch.tensor(2 - math.exp(-1)), atol=1e-4)


def test_an_average_begins_with_what_there_is(network: nn.Module) -> None:
    weights = MasterWeights(network, torch.float32)
    before = weights.all.clone()
    average = Average(network, weights, horizon=1000.0)
    weights.all.add_(1.0)
    average.update()
    with average.shown():
        assert torch.allclose(weights.all, before + 1 - 2 / 11, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_network_shows_the_average_and_comes_back(
    network: nn.Module, dtype: torch.dtype
) -> None:
    weights = MasterWeights(network, dtype)
    average = Average(network, weights, horizon=3.0)
    weights.all.add_(1.0)
    weights.spread()
    for statistics in network.buffers():
        if statistics.is_floating_point():
            statistics.add_(1.0)
    average.update()
    present = {name: value.clone() for name, value in network.state_dict().items()}
    with average.shown():
        shown = {name: value.clone() for name, value in network.state_dict().items()}
    for name, value in network.state_dict().items():
        assert torch.equal(value, present[name])
        if value.is_floating_point():
            assert not torch.equal(shown[name], present[name]), name
