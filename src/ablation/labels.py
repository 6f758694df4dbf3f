"""Labels of settings, and names of the chain's stages."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ablation.base.checked import Checked, Count, ParamsError, one_of
from ablation.trial.recipe import BASELINE, CHAIN, Augmentation, Recipe, Regularization

Contesting = Literal["first", "again", "backward"]
CONTESTS: tuple[Contesting, ...] = ("again", "backward")
STAGE = re.compile(r"(?:(?P<backward>backward)\d*/)?(?P<technique>.+?)(?:_(?P<again>again)\d*)?")
BACKWARD = re.compile(r"backward\d*")


@dataclass(frozen=True)
class ChainStage:
    """A stage of the chain.

    Attributes:
        name: `dropout` for a technique's first stage; in a later round `dropout_again`, or
            `backward/dropout` for a part of the stage `backward` of dvc.yaml; in further rounds
            `dropout_again2` or `backward2/dropout`.
        technique: the technique that it explores, or `baseline`.
        contest: `first` compares the candidates in params.yaml with the incumbent, which is kept
            unless it is beaten. The others compare all settings on equal terms: the simplest within
            the noise of the best wins. `again` compares the baseline's setting, the incumbent's and
            the candidates; `backward` only the first two.
    """

    name: str
    technique: str
    contest: Contesting

    @classmethod
    def named(cls, name: str) -> "ChainStage":
        """Parse the name of a stage.

        Raises:
            ParamsError: it is not a technique, or one of a later round.
        """
        found = STAGE.fullmatch(name)
        kinds = [kind for kind in CONTESTS if found and found[kind]]
        technique = technique_of(name)
        if technique not in CHAIN or len(kinds) > 1 or (technique == BASELINE and kinds):
            raise ParamsError(
                f"{one_of(name, CHAIN)}; in later rounds, append _again, optionally with a number; "
                "the stage `backward` explores all techniques again"
            )
        return cls(name, technique, kinds[0] if kinds else "first")


def stages_in(name: str, explored: Iterable[str]) -> list[ChainStage]:
    """The stages of the chain that a stage of dvc.yaml runs: itself, or those of a backward round.

    Args:
        name: of the stage in dvc.yaml.
        explored: the techniques that the chain has explored so far.

    Raises:
        ParamsError: the name is invalid.
    """
    if BACKWARD.fullmatch(name):
        return [ChainStage.named(f"{name}/{technique}") for technique in explored]
    return [ChainStage.named(name)]


class LongerTraining(Checked):
    """A candidate of `epochs`: a longer training together with another augmentation.

    Each alone may gain nothing: a short training does not overfit, and a long one overfits.

    Attributes:
        times: factor on the family's epochs.
        augmentation: the setting of the technique `augmentation`.
    """

    times: Count
    augmentation: Augmentation

    def applied_to(self, recipe: Recipe) -> Recipe:
        """The recipe with these epochs and this augmentation."""
        return recipe.having("epochs", self.times).having("augmentation", self.augmentation)


def technique_of(stage: str) -> str:
    """The technique in the name of a stage, even one that this version of the code lacks."""
    found = STAGE.fullmatch(stage)
    return found["technique"] if found else stage


def label(setting: Any, without: Iterable[str] = ()) -> str:
    """The label of a setting: `cosine`, `sgd lr=0.1`, `l2=0.0001`, `on`, `0.2`, `2x`,
    `512-256-128`, `16-32-64+128 x2`, `2x affine`.

    Fields equal to their default are omitted.

    Args:
        setting: a value of a field of `Recipe`.
        without: names of further fields to omit.
    """
    if isinstance(setting, bool):
        return "on" if setting else "off"
    if isinstance(setting, Regularization):
        penalties = {"l1": setting.l1, "l2": setting.l2}
        parts = [name if name in without else f"{name}={v:g}" for name, v in penalties.items() if v]
        return " ".join(parts) or "none"
    if isinstance(setting, int):
        return f"{setting}x"
    if isinstance(setting, LongerTraining):
        return " ".join(label(value) for name, value in setting if name not in without)
    if isinstance(setting, Checked):
        defaults = {name: field.default for name, field in type(setting).model_fields.items()}
        values = {name: v for name, v in setting if v != defaults[name] and name not in without}
        if "name" not in defaults:
            return _sizes_label(values, {name for name, v in defaults.items() if v == 1})
        parts = [f"{name}={_format(value)}" for name, value in values.items() if name != "name"]
        return " ".join([setting.name, *parts])  # type: ignore[attr-defined]
    if isinstance(setting, float):
        return f"{setting:g}" if setting else "none"
    return str(setting)


def _sizes_label(values: dict[str, Any], repetitions: set[str]) -> str:
    """The widths of each part of a network, then its counts.

    repetitions: names of the counts with the default 1; if there is only one, its name is omitted:
    `x2`.
    """
    widths = ["-".join(map(str, v)) for v in values.values() if isinstance(v, tuple) and v]
    counts = {name: v for name, v in values.items() if not isinstance(v, tuple)}
    parts = [f"x{v}" if repetitions == {name} else f"{name}={v}" for name, v in counts.items()]
    return " ".join(["+".join(widths), *parts])


def at_rate(setting: str, learning_rate: float) -> str:
    """The label of a setting at one of several learning rates: `cosine lr=0.003`."""
    return setting if " lr=" in setting else f"{setting} lr={learning_rate:g}"


def _format(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"
