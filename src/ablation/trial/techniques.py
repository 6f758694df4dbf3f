"""What each name in a recipe stands for in PyTorch."""

from collections.abc import Callable

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
FUSED = {"sgd", "adam", "adamw"}  # one kernel for the whole step, on the CPU and on CUDA

Schedule = LRScheduler | ReduceLROnPlateau


def make_optimizer(
    setting: recipe.Sgd
    | recipe.Adam
    | recipe.AdamW
    | recipe.RmsProp
    | recipe.Adagrad
    | recipe.Adadelta,
    kernels: Tensor,
    others: Tensor,
) -> optim.Optimizer:
    """The optimizer of a recipe; AdamW's decay acts on `kernels` alone.

    kernels: (k,), others: (o,): all that is learnt, in two flat tensors.
    """
    options = setting.model_dump(exclude={"name"})
    decay = options.pop("weight_decay", 0.0)
    groups = [
        {"params": [kernels], "weight_decay": decay},
        {"params": [others], "weight_decay": 0.0},
    ]
    # "foreach" joins the work on many tensors, and here are two.
    implementation = {"fused": True} if setting.name in FUSED else {"foreach": False}
    return OPTIMIZERS[setting.name](groups, **options, **implementation)


def make_schedule(
    setting: recipe.Constant | recipe.Step | recipe.Plateau | recipe.Cosine | recipe.OneCycle,
    optimizer: optim.Optimizer,
    rate: float,
    steps: int,
) -> Schedule:
    """The schedule of a recipe over `steps` batches; a plateau is stepped once an epoch."""
    match setting:
        case recipe.Constant():
            return ConstantLR(optimizer, factor=1.0, total_iters=0)
        case recipe.Step():
            return StepLR(optimizer, max(1, round(setting.every * steps)), setting.gamma)
        case recipe.Plateau():
            return ReduceLROnPlateau(
                optimizer,
                factor=setting.factor,
                patience=setting.patience,
                threshold=setting.threshold,
            )
        case recipe.Cosine():
            return CosineAnnealingLR(optimizer, T_max=steps)
        case recipe.OneCycle():
            # The momentum stays: cycling it would turn plain RMSprop into another optimizer.
            return OneCycleLR(
                optimizer, max_lr=setting.peak * rate, total_steps=steps, cycle_momentum=False
            )
