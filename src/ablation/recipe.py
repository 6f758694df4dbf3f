"""What a trial is told: a recipe, which is one setting for every technique."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ablation.base.checked import Checked, Momentum, Rate, Share, Strength, load, save


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
    patience: Annotated[int, Field(ge=0)] = 0
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


Scheduler = Annotated[Constant | Step | Plateau | Cosine | OneCycle, Field(discriminator="name")]
Activation = Literal["relu", "leaky_relu", "elu", "gelu", "tanh"]
Optimizer = Annotated[
    Sgd | Adam | AdamW | RmsProp | Adagrad | Adadelta, Field(discriminator="name")
]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class Recipe(Checked):
    """One setting for every technique, in the order of tables; the chain's order is dvc.yaml's.

    A new field has a neutral default, one that changes nothing: recipes, models and parameter files
    from before it stay valid.
    """

    scheduler: Scheduler
    activation: Activation
    optimizer: Optimizer
    batchnorm: bool
    regularization: Regularization
    dropout: Dropout

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


def label(setting: Any, without: Iterable[str] = ()) -> str:
    """What a person would call a setting: `cosine`, `sgd lr=0.1`, `l2=0.0001`, `on`, `0.2`.

    Values that are a field's default go unsaid, and so do the fields in `without`.
    """
    if isinstance(setting, bool):
        return "on" if setting else "off"
    if isinstance(setting, Regularization):
        penalties = {"l1": setting.l1, "l2": setting.l2}
        said = [name if name in without else f"{name}={v:g}" for name, v in penalties.items() if v]
        return " ".join(said) or "none"
    if isinstance(setting, Checked):
        defaults = {name: field.default for name, field in type(setting).model_fields.items()}
        values = setting.model_dump(exclude={"name", *without})
        said = [f"{name}={v:g}" for name, v in values.items() if v != defaults[name]]
        return " ".join([setting.model_dump()["name"], *said])
    return "none" if setting == 0 else str(setting)
