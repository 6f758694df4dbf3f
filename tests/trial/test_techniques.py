from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ablation.trial.recipe import (
    Activation,
    AdamW,
    Constant,
    Cosine,
    OneCycle,
    Optimizer,
    Plateau,
    Scheduler,
    Sgd,
    Step,
)
from ablation.trial.techniques import ACTIVATIONS, OPTIMIZERS, make_optimizer, make_schedule

STEPS = 100


def members(union: Any) -> list[Any]:
    """The settings of a technique that recipe.py allows."""
    return list(get_args(get_args(union)[0]))


def name_of(setting: Any) -> str:
    name: str = get_args(setting.model_fields["name"].annotation)[0]
    return name


def parameters() -> tuple[Tensor, Tensor]:
    return torch.ones(6, requires_grad=True), torch.ones(3, requires_grad=True)


def rates(setting: Any, steps: int = STEPS) -> list[float]:
    """The learning rate that every batch of a training sees."""
    optimizer = make_optimizer(Sgd(name="sgd", lr=0.1), *parameters())
    schedule = make_schedule(setting, optimizer, rate=0.1, steps=steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == seen[-1]
        optimizer.step()
        schedule.step()
    return seen


def test_every_name_of_a_recipe_stands_for_something() -> None:
    assert set(ACTIVATIONS) == set(get_args(Activation))
    assert set(OPTIMIZERS) == {name_of(setting) for setting in members(Optimizer)}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_bends(name: str) -> None:
    values = torch.linspace(-2, 2, 9, requires_grad=True)
    bent = ACTIVATIONS[name]()(values)
    bent.sum().backward()
    assert values.grad is not None
    assert values.grad.isfinite().all()
    assert bent[0] != -bent[-1] or name == "tanh"
    assert not torch.allclose(bent, values)


@pytest.mark.parametrize("kind", members(Optimizer))
def test_every_optimizer_walks_downhill(kind: Any) -> None:
    kernels, others = parameters()
    optimizer = make_optimizer(kind(name=name_of(kind), lr=0.01), kernels, others)
    for _ in range(3):
        optimizer.zero_grad()
        ((kernels**2).sum() + (others**2).sum()).backward()
        optimizer.step()
    assert all((values < 1).all() for values in (kernels, others))


@pytest.mark.parametrize("steps", [1, 2, 3, STEPS])
@pytest.mark.parametrize("kind", [kind for kind in members(Scheduler) if kind is not Plateau])
def test_every_scheduler_lasts_for_the_training(kind: Any, steps: int) -> None:
    seen = rates(kind(name=name_of(kind)), steps)
    assert len(seen) == steps
    assert all(rate > 0 for rate in seen)


def test_adamw_decays_kernels_alone() -> None:
    kernels, others = parameters()
    optimizer = make_optimizer(AdamW(name="adamw", lr=0.1, weight_decay=0.5), kernels, others)
    for values in (kernels, others):
        values.grad = torch.zeros_like(values)
    optimizer.step()
    assert torch.allclose(kernels, torch.full((6,), 1 - 0.1 * 0.5))
    assert torch.equal(others, torch.ones(3))


@pytest.mark.parametrize("kind", [kind for kind in members(Optimizer) if kind is not AdamW])
def test_no_other_optimizer_decays_anything(kind: Any) -> None:
    kernels, others = parameters()
    optimizer = make_optimizer(kind(name=name_of(kind), lr=0.1), kernels, others)
    for values in (kernels, others):
        values.grad = torch.zeros_like(values)
    optimizer.step()
    assert all(torch.equal(values, torch.ones_like(values)) for values in (kernels, others))


def test_an_optimizers_own_options_arrive() -> None:
    optimizer = make_optimizer(Sgd(name="sgd", lr=0.1, momentum=0.5), *parameters())
    assert [group["momentum"] for group in optimizer.param_groups] == [0.5, 0.5]


def test_constant_stays() -> None:
    assert rates(Constant(name="constant")) == [0.1] * STEPS


def test_step_falls_after_every_share() -> None:
    seen = rates(Step(name="step", every=0.25, gamma=0.5))
    assert seen == pytest.approx([0.1] * 25 + [0.05] * 25 + [0.025] * 25 + [0.0125] * 25)


def test_cosine_ends_at_almost_zero() -> None:
    seen = rates(Cosine(name="cosine"))
    assert seen[0] == 0.1
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 0.001 * 0.1


def test_onecycle_climbs_to_its_peak_and_falls() -> None:
    seen = rates(OneCycle(name="onecycle", peak=5.0))
    top = seen.index(max(seen))
    assert seen[top] == pytest.approx(5 * 0.1)
    assert seen[: top + 1] == sorted(seen[: top + 1])
    assert seen[top:] == sorted(seen[top:], reverse=True)
    assert seen[-1] < 0.001 * 0.1


def test_onecycle_leaves_the_momentum() -> None:
    optimizer = make_optimizer(Sgd(name="sgd", lr=0.1, momentum=0.7), *parameters())
    schedule = make_schedule(OneCycle(name="onecycle"), optimizer, rate=0.1, steps=STEPS)
    for _ in range(STEPS // 2):
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["momentum"] == 0.7


def test_plateau_falls_on_a_flat_training_loss_alone() -> None:
    optimizer = make_optimizer(Sgd(name="sgd", lr=0.1), *parameters())
    schedule = make_schedule(Plateau(name="plateau", factor=0.5), optimizer, rate=0.1, steps=STEPS)
    assert isinstance(schedule, ReduceLROnPlateau)
    seen = []
    for loss in [1.0, 0.8, 0.6, 0.6, 0.4]:
        schedule.step(loss)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == [0.1, 0.1, 0.1, 0.05, 0.05]


def test_an_activation_is_a_fresh_module_each_time() -> None:
    assert ACTIVATIONS["relu"]() is not ACTIVATIONS["relu"]()
    assert isinstance(ACTIVATIONS["relu"](), nn.Module)
