"""From the names in a recipe to PyTorch's activations, optimizers and schedulers."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn, optim
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

from ablation.trial import recipe

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}

OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "sgd": optim.SGD,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "rmsprop": optim.RMSprop,
    "adagrad": optim.Adagrad,
    "adadelta": optim.Adadelta,
}
FUSED = {"sgd", "adam", "adamw"}  # with a one-pass implementation on both CPU and CUDA


@dataclass(frozen=True)
class Schedule:
    """Updates of an optimizer's learning rate; in every schedule, one of the two does nothing.

    step_batch: called after each optimizer step.
    step_epoch: called after each epoch, with its mean training loss.
    """

    step_batch: Callable[[], None]
    step_epoch: Callable[[float], None]


def make_optimizer(setting: recipe.Optimizer, kernels: Tensor, others: Tensor) -> optim.Optimizer:
    """The optimizer of a recipe; decoupled weight decay applies to `kernels` only.

    kernels: (k,), others: (o,): flat tensors of all parameters, with their gradients in `grad`.
    """
    options = setting.model_dump(exclude={"name"})
    decay = options.pop("weight_decay", 0.0)
    groups = [
        {"params": [kernels], "weight_decay": decay},
        {"params": [others], "weight_decay": 0.0},
    ]
    # "foreach", PyTorch's other fast path, is for many small tensors; these are two large ones.
    implementation = {"fused": True} if setting.name in FUSED else {"foreach": False}
    return OPTIMIZERS[setting.name](groups, **options, **implementation)


def make_schedule(
    setting: recipe.Scheduler, optimizer: optim.Optimizer, rate: float, steps: int
) -> Schedule:
    """The learning-rate schedule of a recipe.

    rate: the optimizer's learning rate; steps: number of batches of the whole training.
    """
    if isinstance(setting, recipe.Plateau):
        plateau = ReduceLROnPlateau(
            optimizer,
            factor=setting.factor,
            patience=setting.patience,
            threshold=setting.threshold,
        )
        return Schedule(step_batch=lambda: None, step_epoch=plateau.step)
    scheduler = _scheduler(setting, optimizer, rate, steps)
    return Schedule(step_batch=scheduler.step, step_epoch=lambda _loss: None)


def _scheduler(
    setting: recipe.Constant | recipe.Step | recipe.Cosine | recipe.OneCycle,
    optimizer: optim.Optimizer,
    rate: float,
    steps: int,
) -> LRScheduler:
    match setting:
        case recipe.Constant():
            return ConstantLR(optimizer, factor=1.0, total_iters=0)
        case recipe.Step():
            return StepLR(optimizer, max(1, round(setting.every * steps)), setting.gamma)
        case recipe.Cosine():
            return CosineAnnealingLR(optimizer, T_max=steps)
        case recipe.OneCycle():
            # Momentum stays constant: cycling it would turn plain RMSprop into another optimizer.
            return OneCycleLR(
                optimizer, max_lr=setting.peak * rate, total_steps=steps, cycle_momentum=False
            )
