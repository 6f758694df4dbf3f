"""The recipes that take part in a stage."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from ablation.judge.selection import Contender, as_table, find_champions
from ablation.labels import ChainStage, at_rate, label
from ablation.params import Candidate, Params
from ablation.trial.recipe import BASELINE, TECHNIQUES, Recipe

LARGEST_RATE = 100.0  # that a recipe may have (`ablation.base.checked.Rate`)


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


@dataclass(frozen=True)
class Contest:
    """The entries of a stage, and how they are compared.

    entries: the incumbent, then the others, simplest first.
    simpler: how many of the others are simpler than the incumbent, where all are compared on equal
        terms; None where the incumbent stays unless it is beaten.
    """

    entries: tuple[Entry, ...]
    simpler: int | None = None

    def without(self, absent: Collection[Entry]) -> "Contest":
        """The contest without some of its entries, none of which is the incumbent."""
        first, *others = self.entries
        kept = [entry not in absent for entry in others]
        simpler = None if self.simpler is None else sum(kept[: self.simpler])
        return Contest((first, *compress(others, kept)), simpler)


def list_entries(params: Params, model: str, name: str, incumbent: Recipe) -> Contest:
    """The incumbent, then every grid point of the stage's candidates, each setting once.

    Each setting is tried at the multiples of the incumbent's learning rate that params.yaml names
    for the technique, as far as a recipe may have such a rate. An incumbent that is also in the
    list takes its place in that candidate's grid.

    Raises:
        ParamsError: no stage can have this name.
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
            for recipe in _at_rates(incumbent.having(technique, setting), multiples):
                own, rate = label(recipe.setting(technique)), recipe.optimizer.lr
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
    """The candidates against the incumbent, simplest first.

    In a later round, the baseline's setting counts as the simplest if it is not in the list.
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
    """What leave-one-out tells of, and what of it has changed.

    Args:
        chain: the techniques that the chain has asked.
        final, baseline: with explicit sizes.

    Returns:
        the techniques of the chain, and the optimizer if another technique's stage has changed its
        learning rate; those of them whose final setting is not the baseline's.
    """
    differ = [each for each in TECHNIQUES if final.setting(each) != baseline.setting(each)]
    told = [*dict.fromkeys((*chain, *differ))]
    return told, [each for each in told if each in differ]


def put_back(
    final: Recipe, kept: Collection[str], baseline: Recipe, rates: Mapping[str, float]
) -> Recipe:
    """The final recipe with some of its changed techniques put back to the baseline.

    Args:
        kept: the techniques that have their final setting; without any, it is the baseline itself.
        rates: for techniques that get a learning rate of their own when they are put back, the
            multiple of the rate that the recipe would otherwise have. Those of several techniques
            are multiplied. Where the optimizer is put back, its rate comes with it, and only its
            own multiple counts.
    """
    if not kept:
        return baseline
    recipe = baseline
    for technique in kept:
        recipe = recipe.having(technique, final.setting(technique))
    out = {"optimizer"} if recipe.optimizer != final.optimizer else rates.keys() - kept
    return recipe.at_rate(math.prod(rates.get(technique, 1.0) for technique in out))


def rates_to_try(params: Params, technique: str, final: Recipe, baseline: Recipe) -> Contest:
    """The learning rates at which a technique is tried when it is put back in the final recipe.

    An optimizer is tried at the rates that its candidate lists. Where only its rate differs from
    the baseline's, the rate is what is put back. The first one is the rate that the recipe has
    without a multiple; all are compared on equal terms, so that racing keeps the best.
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
    tried = {rate.optimizer.lr: rate for rate in _at_rates(recipe, multiples)}
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


def best_multiple(contest: Contest, contenders: Sequence[Contender]) -> float:
    """The multiple of the first entry's learning rate at which a setting is best.

    1 where it fails at every rate.
    """
    best = int(find_champions(*as_table(contenders)).argmax())
    rate, first = (contest.entries[place].recipe.optimizer.lr for place in (best, 0))
    return rate / first
