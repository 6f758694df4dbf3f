"""Recipes: one setting for each technique."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from ablation.base.checked import (
    MOST,
    Checked,
    Count,
    Momentum,
    Rate,
    Share,
    Strength,
    load,
    save,
)
from ablation.trial.families import Sizes


class Constant(Checked):
    """Constant learning rate."""

    name: Literal["constant"]


class Step(Checked):
    """The rate is multiplied by `gamma` after each fraction `every` of the training."""

    name: Literal["step"]
    every: Share = 0.33
    gamma: Share = 0.3


class Plateau(Checked):
    """The rate is multiplied by `factor` after more than `patience` epochs in which the *training*
    loss has not fallen by the fraction `threshold`. The validation loss is not used, since the
    validation part scores the trial."""

    name: Literal["plateau"]
    factor: Share = 0.3
    patience: Annotated[int, Field(ge=0, le=MOST)] = 0
    threshold: Share = 0.05


class Cosine(Checked):
    """Cosine decay of the rate to zero (Loshchilov & Hutter 2017, arXiv:1608.03983)."""

    name: Literal["cosine"]


class OneCycle(Checked):
    """The rate rises to `peak` times the optimizer's and falls to almost zero (Smith & Topin 2018,
    arXiv:1708.07120)."""

    name: Literal["onecycle"]
    peak: Rate = 3.0


class Sgd(Checked):
    name: Literal["sgd"]
    lr: Rate
    momentum: Momentum = 0.9


class Adam(Checked):
    name: Literal["adam"]
    lr: Rate


class AdamW(Checked):
    """Adam with *decoupled* weight decay, on kernels and weight matrices only (Loshchilov & Hutter
    2019, arXiv:1711.05101)."""

    name: Literal["adamw"]
    lr: Rate
    weight_decay: Strength = 0.01


class RmsProp(Checked):
    name: Literal["rmsprop"]
    lr: Rate
    alpha: Momentum = 0.99


class Adagrad(Checked):
    name: Literal["adagrad"]
    lr: Rate


class Adadelta(Checked):
    name: Literal["adadelta"]
    lr: Rate
    rho: Momentum = 0.9


class Regularization(Checked):
    """Penalty l1 |w|_1 + l2/2 |w|^2 on kernels and weight matrices."""

    l1: Strength
    l2: Strength


class NoAugmentation(Checked):
    """Images are the same in every epoch."""

    name: Literal["none"] = "none"


class Affine(Checked):
    """Random rotation, shear, scale and shift, drawn anew for each image in each epoch.

    Each is uniform between minus and plus its setting. rotation, shear: degrees; scale: a fraction
    of the size, per axis; shift: pixels of 28, per axis.
    """

    name: Literal["affine"]
    rotation: Annotated[float, Field(ge=0, le=180)] = 10.0
    shear: Annotated[float, Field(ge=0, le=45)] = 10.0
    scale: Momentum = 0.1
    shift: Annotated[float, Field(ge=0, le=14)] = 2.0


class Elastic(Affine):
    """Affine, with random displacements of a coarse grid.

    push: standard deviation of the displacements, which are normal, in pixels of 28.
    """

    name: Literal["elastic"]  # type: ignore[assignment]
    push: Annotated[float, Field(gt=0, le=7)] = 1.0


class NoAveraging(Checked):
    """The network has the weights of the last optimizer step."""

    name: Literal["none"] = "none"


class Ema(Checked):
    """The network has an exponential moving average of the weights.

    horizon: in epochs; weights of that age count 1/e as much as the newest.
    """

    name: Literal["ema"]
    horizon: Rate = 1.0


Scheduler = Annotated[Constant | Step | Plateau | Cosine | OneCycle, Field(discriminator="name")]
Activation = Literal["relu", "leaky_relu", "elu", "gelu", "tanh"]
Optimizer = Annotated[
    Sgd | Adam | AdamW | RmsProp | Adagrad | Adadelta, Field(discriminator="name")
]
# A rate closer to 1 could round to 1 in the 16-bit draw, which would then keep all units.
Dropout = Annotated[float, Field(ge=0, le=0.99)]
Augmentation = Annotated[NoAugmentation | Affine | Elastic, Field(discriminator="name")]
Averaging = Annotated[NoAveraging | Ema, Field(discriminator="name")]


class Recipe(Checked):
    """One setting for each technique, in the order of the tables; dvc.yaml has that of the chain.

    The default of a new field must leave training unchanged, so that older recipes, models and
    parameter files stay valid. Fields equal to their default are omitted from files.

    architecture: sizes of the network; None for those under `models` in params.yaml.
    smoothing: probability that the training objective spreads over all classes (Szegedy et al.
    2016, arXiv:1512.00567).
    epochs: factor on the family's `epochs`.
    """

    scheduler: Scheduler
    activation: Activation
    optimizer: Optimizer
    batchnorm: bool
    regularization: Regularization
    dropout: Dropout
    architecture: Sizes | None = None
    augmentation: Augmentation = NoAugmentation()
    smoothing: Momentum = 0.0
    averaging: Averaging = NoAveraging()
    epochs: Count = 1

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = dump(self)
        for name, field in Recipe.model_fields.items():
            if name in dumped and getattr(self, name) == field.default:
                del dumped[name]
        return dumped

    def setting(self, technique: str) -> Any:
        """The setting of one technique."""
        return getattr(self, technique)

    def having(self, technique: str, setting: Any) -> "Recipe":
        """A copy of this recipe with another setting of one technique."""
        return self.model_copy(update={technique: setting})

    def at_rate(self, multiple: float) -> "Recipe":
        """A copy of this recipe with a multiple of its learning rate, to four digits."""
        if multiple == 1:
            return self
        rate = float(f"{self.optimizer.lr * multiple:.4g}")
        return self.having("optimizer", self.optimizer.model_copy(update={"lr": rate}))


TECHNIQUES = tuple(Recipe.model_fields)
BASELINE = "baseline"
CHAIN = (BASELINE, *TECHNIQUES)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe that a stage wrote.

    Raises:
        ParamsError: names the file, the key, what was found and what is allowed.
    """
    return load(path, Recipe)


def save_recipe(recipe: Recipe, path: Path, comment: str) -> None:
    """Write a recipe in the format of params.yaml's `baseline`, below a one-line comment."""
    save(recipe, path, comment)


def plain(recipe: Recipe) -> Recipe:
    """The recipe without `architecture` and `epochs`, which a trial has in its `Spec`."""
    return recipe.having("architecture", None).having("epochs", 1)
