from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

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
    """All kinds of settings of a technique."""
    return list(get_args(get_args(union)[0]))


def name_of(setting: Any) -> str:
    name: str = get_args(setting.model_fields["name"].annotation)[0]
    return name


def parameters() -> tuple[Tensor, Tensor]:
    return torch.ones(6, requires_grad=True), torch.ones(3, requires_grad=True)


def rates(setting: Any, steps: int = STEPS) -> list[float]:
    """The learning rate of each optimizer step of a training."""
    optimizer = make_optimizer(Sgd(name="sgd", lr=0.1), *parameters())
    schedule = make_schedule(setting, optimizer, rate=0.1, steps=steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == seen[-1]
        optimizer.step()
        schedule.step_batch()
    return seen


def test_every_name_in_a_recipe_has_an_entry() -> None:
    assert set(ACTIVATIONS) == set(get_args(Activation))
    assert set(OPTIMIZERS) == {name_of(setting) for setting in members(Optimizer)}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_non_linear(name: str) -> None:
    values = torch.linspace(-2, 2, 9, requires_grad=True)
    activated = ACTIVATIONS[name]()(values)
    activated.sum().backward()
    assert values.grad is not None
    assert values.grad.isfinite().all()
    assert activated[0] != -activated[-1] or name == "tanh"
    assert not torch.allclose(activated, values)


@pytest.mark.parametrize("kind", members(Optimizer))
def test_every_optimizer_descends(kind: Any) -> None:
    kernels, others = parameters()
    optimizer = make_optimizer(kind(name=name_of(kind), lr=0.01), kernels, others)
    for _ in range(3):
        optimizer.zero_grad()
        ((kernels**2).sum() + (others**2).sum()).backward()
        optimizer.step()
    assert all((values < 1).all() for values in (kernels, others))


@pytest.mark.parametrize("steps", [1, 2, 3, STEPS])
@pytest.mark.parametrize("kind", [kind for kind in members(Scheduler) if kind is not Plateau])
def test_every_scheduler_lasts_until_the_last_step(kind: Any, steps: int) -> None:
    seen = rates(kind(name=name_of(kind)), steps)
    assert len(seen) == steps
    assert all(rate > 0 for rate in seen)


def test_adamw_decays_kernels_only() -> None:
    kernels, others = parameters()
    optimizer = make_optimizer(AdamW(name="adamw", lr=0.1, weight_decay=0.5), kernels, others)
    for values in (kernels, others):
        values.grad = torch.zeros_like(values)
    optimizer.step()
    assert torch.allclose(kernels, torch.full((6,), 1 - 0.1 * 0.5))
    assert torch.equal(others, torch.ones(3))


@pytest.mark.parametrize("kind", [kind for kind in members(Optimizer) if kind is not AdamW])
def test_no_other_optimizer_decays_weights(kind: Any) -> None:
    kernels, others = parameters()
    optimizer = make_optimizer(kind(name=name_of(kind), lr=0.1), kernels, others)
    for values in (kernels, others):
        values.grad = torch.zeros_like(values)
    optimizer.step()
    assert all(torch.equal(values, torch.ones_like(values)) for values in (kernels, others))


def test_options_are_passed_to_the_optimizer() -> None:
    optimizer = make_optimizer(Sgd(name="sgd", lr=0.1, momentum=0.5), *parameters())
    assert [group["momentum"] for group in optimizer.param_groups] == [0.5, 0.5]


def test_constant_never_changes() -> None:
    assert rates(Constant(name="constant")) == [0.1] * STEPS


def test_step_falls_after_every_fraction() -> None:
    seen = rates(Step(name="step", every=0.25, gamma=0.5))
    assert seen == pytest.approx([0.1] * 25 + [0.05] * 25 + [0.025] * 25 + [0.0125] * 25)


def test_cosine_ends_at_almost_zero() -> None:
    seen = rates(Cosine(name="cosine"))
    assert seen[0] == 0.1
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 0.001 * 0.1


def test_onecycle_rises_to_its_peak_and_falls() -> None:
    seen = rates(OneCycle(name="onecycle", peak=5.0))
    top = seen.index(max(seen))
    assert seen[top] == pytest.approx(5 * 0.1)
    assert seen[: top + 1] == sorted(seen[: top + 1])
    assert seen[top:] == sorted(seen[top:], reverse=True)
    assert seen[-1] < 0.001 * 0.1


def test_onecycle_leaves_the_momentum_constant() -> None:
    optimizer = make_optimizer(Sgd(name="sgd", lr=0.1, momentum=0.7), *parameters())
    schedule = make_schedule(OneCycle(name="onecycle"), optimizer, rate=0.1, steps=STEPS)
    for _ in range(STEPS // 2):
        optimizer.step()
        schedule.step_batch()
    assert optimizer.param_groups[0]["momentum"] == 0.7


def test_plateau_falls_only_after_an_epoch_without_a_lower_loss() -> None:
    optimizer = make_optimizer(Sgd(name="sgd", lr=0.1), *parameters())
    schedule = make_schedule(Plateau(name="plateau", factor=0.5), optimizer, rate=0.1, steps=STEPS)
    seen = []
    for loss in [1.0, 0.8, 0.6, 0.6, 0.4]:
        schedule.step_batch()
        schedule.step_epoch(loss)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == [0.1, 0.1, 0.1, 0.05, 0.05]


@pytest.mark.parametrize("kind", [kind for kind in members(Scheduler) if kind is not Plateau])
def test_no_other_schedule_depends_on_the_loss(kind: Any) -> None:
    optimizer = make_optimizer(Sgd(name="sgd", lr=0.1), *parameters())
    schedule = make_schedule(kind(name=name_of(kind)), optimizer, rate=0.1, steps=STEPS)
    before = optimizer.param_groups[0]["lr"]
    for _ in range(3):
        schedule.step_epoch(1.0)
    assert optimizer.param_groups[0]["lr"] == before


def test_each_activation_is_a_new_module() -> None:
    assert ACTIVATIONS["relu"]() is not ACTIVATIONS["relu"]()
    assert isinstance(ACTIVATIONS["relu"](), nn.Module)
