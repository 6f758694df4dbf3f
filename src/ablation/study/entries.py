"""The recipes that take part in a stage."""

from collections.abc import Iterable
from dataclasses import dataclass

from ablation.labels import label
from ablation.params import Params
from ablation.trial.recipe import Recipe


@dataclass(frozen=True)
class Entry:
    """A recipe that takes part in a stage.

    candidate: the entry of params.yaml's list that it comes from; setting: its own, unique label.
    learning_rate: its place in a grid of learning rates, None where there is no such grid.
    """

    candidate: str
    setting: str
    recipe: Recipe
    learning_rate: float | None = None


def list_entries(params: Params, model: str, technique: str, incumbent: Recipe) -> list[Entry]:
    """The incumbent, then every grid point of the technique's candidates, each setting once.

    An incumbent that is also in the list takes its place in that candidate's grid.
    """
    if technique == "architecture":
        incumbent = params.full(model, incumbent)
    listed: dict[str, Entry] = {}
    for candidate in params.candidates(technique, model):
        for setting in candidate.settings:
            rate = setting.lr if "lr" in candidate.grid else None
            recipe = incumbent.having(technique, setting)
            entry = Entry(candidate.label, label(setting), recipe, rate)
            listed.setdefault(entry.setting, entry)
    name = label(incumbent.setting(technique))
    first = listed.pop(name, Entry(name, name, incumbent))
    return [first, *listed.values()]


def having(final: Recipe, kept: Iterable[str], baseline: Recipe) -> Recipe:
    """The baseline with the final settings of some techniques."""
    recipe = baseline
    for technique in kept:
        recipe = recipe.having(technique, final.setting(technique))
    return recipe
