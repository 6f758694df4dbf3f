"""What a trial is told: a recipe, which is one setting for every technique."""

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
    """The learning rate stays as it is."""

    name: Literal["constant"]


class Step(Checked):
    """The rate is multiplied by `gamma` after every share `every` of the training."""

    name: Literal["step"]
    every: Share = 0.33
    gamma: Share = 0.3


class Plateau(Checked):
    """The rate is multiplied by `factor` when the *training* loss has not fallen for more than
    `patience` epochs: the validation part scores the trial and must not steer it as well."""

    name: Literal["plateau"]
    factor: Share = 0.3
    patience: Annotated[int, Field(ge=0, le=MOST)] = 0
    threshold: Share = 0.05


class Cosine(Checked):
    """The rate falls to zero along half a cosine."""

    name: Literal["cosine"]


class OneCycle(Checked):
    """The rate climbs to `peak` times the optimizer's and falls to almost zero."""

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
    """Adam with *decoupled* weight decay, on kernels and weight matrices only."""

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
    """Penalties l1 |w|_1 + l2/2 |w|^2 on kernels and weight matrices."""

    l1: Strength
    l2: Strength


class Same(Checked):
    """Every epoch sees the same images."""

    name: Literal["none"] = "none"


class Affine(Checked):
    """Every image is turned, sheared, scaled and shifted anew each time, by up to so much.

    rotation, shear: degrees; scale: a share of the size; shift: pixels of 28.
    """

    name: Literal["affine"]
    rotation: Annotated[float, Field(ge=0, le=180)] = 10.0
    shear: Annotated[float, Field(ge=0, le=45)] = 10.0
    scale: Momentum = 0.1
    shift: Annotated[float, Field(ge=0, le=14)] = 2.0


class Elastic(Affine):
    """Affine, and bent: each knot of a coarse grid is pushed by a normal draw.

    push: its standard deviation in pixels of 28.
    """

    name: Literal["elastic"]  # type: ignore[assignment]
    push: Annotated[float, Field(gt=0, le=7)] = 1.0


class LastWeights(Checked):
    """The network has the weights of the last step."""

    name: Literal["none"] = "none"


class Ema(Checked):
    """The network has an exponential moving average of the weights.

    horizon: how far it looks back, in epochs: a weight of that age counts 1/e of the newest.
    """

    name: Literal["ema"]
    horizon: Rate = 1.0


Scheduler = Annotated[Constant | Step | Plateau | Cosine | OneCycle, Field(discriminator="name")]
Activation = Literal["relu", "leaky_relu", "elu", "gelu", "tanh"]
Optimizer = Annotated[
    Sgd | Adam | AdamW | RmsProp | Adagrad | Adadelta, Field(discriminator="name")
]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Augmentation = Annotated[Same | Affine | Elastic, Field(discriminator="name")]
Averaging = Annotated[LastWeights | Ema, Field(discriminator="name")]


class Recipe(Checked):
    """One setting for every technique, in the order of tables; the chain's order is dvc.yaml's.

    A new field has a neutral default, one that changes nothing: recipes, models and parameter files
    from before it stay valid. A recipe says nothing of what is as the default has it.

    architecture: sizes of the family's network, None for those under `models` in params.yaml;
    epochs: how many times the family's `epochs` it trains.
    """

    scheduler: Scheduler
    activation: Activation
    optimizer: Optimizer
    batchnorm: bool
    regularization: Regularization
    dropout: Dropout
    architecture: Sizes | None = None
    augmentation: Augmentation = Same()
    smoothing: Momentum = 0.0
    averaging: Averaging = LastWeights()
    epochs: Count = 1

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        said: dict[str, Any] = dump(self)
        for name, field in Recipe.model_fields.items():
            if name in said and getattr(self, name) == field.default:
                del said[name]
        return said

    def setting(self, technique: str) -> Any:
        """The setting of one technique."""
        return getattr(self, technique)

    def having(self, technique: str, setting: Any) -> "Recipe":
        """This recipe with another setting of one technique."""
        return self.model_copy(update={technique: setting})


TECHNIQUES = tuple(Recipe.model_fields)
BASELINE = "baseline"
CHAIN = (BASELINE, *TECHNIQUES)


def load_recipe(path: Path) -> Recipe:
    """A recipe that a stage has written.

    Raises:
        ParamsError: naming the file, the key, what was found and what is allowed.
    """
    return load(path, Recipe)


def save_recipe(recipe: Recipe, path: Path, comment: str) -> None:
    """Write a recipe in the form of params.yaml's `baseline`, under a line of comment."""
    save(recipe, path, comment)


def plain(recipe: Recipe) -> Recipe:
    """The recipe without what is told to the network's `Spec`: its sizes and its epochs."""
    return recipe.having("architecture", None).having("epochs", 1)
