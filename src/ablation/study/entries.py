"""The recipes that a stage compares."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import compress
from typing import Any

from ablation.base.checked import LARGEST_RATE
from ablation.labels import ChainStage, LongerTraining, at_rate, label
from ablation.params import Candidate, Params
from ablation.trial.recipe import BASELINE, TECHNIQUES, Recipe


@dataclass(frozen=True)
class Entry:
    """A recipe that takes part in a stage.

    Attributes:
        candidate: label of the candidate in params.yaml that it belongs to.
        setting: label of its setting, unique within a stage.
        recipe: the incumbent recipe with this setting.
        learning_rate: its learning rate if the candidate is a grid of learning rates, else None.
    """

    candidate: str
    setting: str
    recipe: Recipe
    learning_rate: float | None = None


@dataclass(frozen=True)
class Contest:
    """The entries of a stage, and how they are compared.

    Attributes:
        entries: the incumbent, then the others, simplest first.
        simpler: number of the others that are simpler than the incumbent, if all are compared on
            equal terms; None if the incumbent is kept unless it is beaten.
    """

    entries: tuple[Entry, ...]
    simpler: int | None = None

    def without(self, absent: Collection[Entry]) -> "Contest":
        """The contest without the entries in `absent`, which must not include the incumbent."""
        first, *others = self.entries
        kept = [entry not in absent for entry in others]
        simpler = None if self.simpler is None else sum(kept[: self.simpler])
        return Contest((first, *compress(others, kept)), simpler)


def list_entries(params: Params, model: str, name: str, incumbent: Recipe) -> Contest:
    """The entries of a stage: the incumbent, then every grid point of the candidates, each once.

    Each setting is tried at the technique's multiples of the incumbent's learning rate
    (`learning_rate_multiples` in params.yaml); rates above `LARGEST_RATE` are left out. If the
    incumbent's setting is among the candidates, the incumbent belongs to that candidate's grid.

    Args:
        params: the content of params.yaml.
        model: the family.
        name: name of the stage, such as `dropout` or `dropout_again`.
        incumbent: the recipe that the stage starts from.

    Raises:
        ParamsError: `name` is not a valid stage name.
    """
    stage = ChainStage.named(name)
    technique = stage.technique
    if technique == BASELINE:
        return Contest((Entry(BASELINE, BASELINE, incumbent),))
    if technique == "architecture":
        incumbent = params.full(model, incumbent)
    multiples = params.rate_multiples(technique)
    own_rates = multiples != (1.0,)
    listed: dict[str, Entry] = {}
    for candidate in _candidates(params, model, stage, incumbent):
        for setting in candidate.settings:
            changed = (
                setting.applied_to(incumbent)
                if isinstance(setting, LongerTraining)
                else incumbent.having(technique, setting)
            )
            for recipe in _at_rates(changed, multiples):
                own, rate = label(setting), recipe.optimizer.lr
                if own_rates:
                    own = at_rate(own, rate)
                in_grid = own_rates or "lr" in candidate.grid
                entry = Entry(candidate.label, own, recipe, rate if in_grid else None)
                listed.setdefault(own, entry)
    present = setting = label(incumbent.setting(technique))
    if own_rates:
        setting = at_rate(present, incumbent.optimizer.lr)
    settings = [*listed]
    first = listed.pop(setting, Entry(present, setting, incumbent))
    entries = (first, *listed.values())
    if stage.contest == "first":
        return Contest(entries)
    return Contest(entries, settings.index(setting) if setting in settings else len(listed))


def _at_rates(recipe: Recipe, multiples: Iterable[float]) -> list[Recipe]:
    return [each for each in map(recipe.at_rate, multiples) if each.optimizer.lr <= LARGEST_RATE]


def _candidates(
    params: Params, model: str, stage: ChainStage, incumbent: Recipe
) -> tuple[Candidate[Any], ...]:
    """The candidates of a stage, simplest first.

    In a later round, the baseline's setting counts as the simplest if params.yaml does not list it.
    """
    technique = stage.technique
    listed = params.candidates(technique, model)
    if stage.contest == "first" or not listed:
        return listed
    baseline = params.full(model, params.baseline).setting(technique)
    present = incumbent.setting(technique)
    if not any(baseline in each.settings for each in listed):
        listed = (Candidate.model_validate(baseline), *listed)
    if not any(present in each.settings for each in listed):
        listed = (*listed, Candidate.model_validate(present))
    if stage.contest == "again":
        return listed
    if baseline == present:
        return ()
    return tuple(each for each in listed if {baseline, present} & {*each.settings})


def changed_techniques(
    chain: Iterable[str], final: Recipe, baseline: Recipe
) -> tuple[list[str], list[str]]:
    """The techniques that leave-one-out reports on, and those of them that changed.

    Args:
        chain: the techniques that the chain has explored.
        final, baseline: recipes with explicit sizes.

    Returns:
        the techniques of the chain, then any others that differ (the optimizer, if the stage of
        another technique changed its learning rate); and those whose final setting differs from
        the baseline's.
    """
    differ = [each for each in TECHNIQUES if final.setting(each) != baseline.setting(each)]
    reported = [*dict.fromkeys((*chain, *differ))]
    return reported, [each for each in reported if each in differ]


def reset_to_baseline(
    final: Recipe, kept: Collection[str], baseline: Recipe, multiples: Mapping[str, float]
) -> Recipe:
    """The final recipe with every technique but those in `kept` reset to its baseline setting.

    Args:
        final, baseline: recipes with explicit sizes.
        kept: techniques that keep their final setting; if empty, the result is the baseline.
        multiples: technique to the factor of the learning rate when it is reset. The factors of
            all techniques that are reset are multiplied. If the optimizer is reset, the baseline's
            rate is used, and only the optimizer's own factor applies.
    """
    if not kept:
        return baseline
    recipe = baseline
    for technique in kept:
        recipe = recipe.having(technique, final.setting(technique))
    reset = {"optimizer"} if recipe.optimizer != final.optimizer else multiples.keys() - kept
    return recipe.at_rate(math.prod(multiples.get(technique, 1.0) for technique in reset))


def rates_to_try(params: Params, technique: str, final: Recipe, baseline: Recipe) -> Contest:
    """The final recipe with one technique reset to its baseline setting, at several learning rates.

    An optimizer is tried at the learning rates that its candidate lists. If it differs from the
    baseline's in the rate alone, only the baseline's rate is tried.

    Args:
        params: the content of params.yaml.
        technique: the technique to reset.
        final, baseline: recipes with explicit sizes.

    Returns:
        one entry per learning rate, first the rate that the recipe has without a multiple. All are
        compared on equal terms, so that racing never favours the first.
    """
    recipe = final.having(technique, baseline.setting(technique))
    multiples = params.rate_multiples(technique)
    if technique == "optimizer" and recipe.optimizer.name != final.optimizer.name:
        own = recipe.optimizer
        multiples = next(
            (
                tuple(setting.lr / own.lr for setting in candidate.settings)
                for candidate in params.candidates("optimizer", "")
                if own in candidate.settings and "lr" in candidate.grid
            ),
            multiples,
        )
    name = label(recipe.setting(technique))
    tried = {each.optimizer.lr: each for each in _at_rates(recipe, multiples)}
    first = tried.pop(recipe.optimizer.lr, recipe)
    recipes = (first, *tried.values())
    return Contest(
        tuple(
            Entry(
                name,
                at_rate(label(each.setting(technique)), each.optimizer.lr),
                each,
                each.optimizer.lr,
            )
            for each in recipes
        ),
        simpler=0,
    )
