"""What the chain has spent."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ablation.base.errors import UserError
from ablation.base.files import read_csv
from ablation.params import Params
from ablation.study.entries import list_entries
from ablation.study.inputs import make_trial, read_chain, read_recipe, repeats_for
from ablation.trial.recipe import Recipe
from ablation.trial.trials import Trial


def chain_cost(
    params: Params, model: str, last: str, cost: Callable[[Trial], float]
) -> pd.DataFrame:
    """What each stage of a family's chain has spent, and what it came to: one row per stage.

    A trial of several stages is counted in the first one. Trials that racing spared are not.

    Args:
        last: the chain's last stage, as in dvc.yaml.
        cost: of a training, in 10^15 operations.

    Returns:
        columns stage, accuracy of its winner, score of it on the first repeat, trainings, cost and
        spent (up to there), both in 10^15 operations.

    Raises:
        UserError: a file is missing, or the trials are of other parameters.
    """
    chain = read_chain(Path("plots", model, last, "chain.csv"))
    known: set[Trial] = set()
    rows, spent, incumbent = [], 0.0, params.baseline
    for stage, accuracy in zip(chain["stage"], chain["accuracy"], strict=True):
        new = {*_trials_of(params, model, stage, incumbent)} - known
        known |= new
        own = sum(sorted(map(cost, new)))
        spent += own
        rows.append((stage, accuracy, _first_score(model, stage), len(new), own, spent))
        incumbent = read_recipe(Path("data/recipes", model, f"{stage}.yaml"), params, model)
    return pd.DataFrame(rows, columns=["stage", "accuracy", "score", "trainings", "cost", "spent"])


def _first_score(model: str, stage: str) -> float:
    """Of a stage's winner, on the first repeat."""
    folder = Path("plots", model, stage)
    trials = read_csv(folder / "trials.csv", ["setting", "score"], text=["setting"])
    candidates = read_csv(folder / "candidates.csv", ["setting", "role"], text=["setting"])
    winner = candidates.loc[candidates["role"] == "winner", "setting"].iloc[0]
    return float(trials.loc[trials["setting"] == winner, "score"].iloc[0])


def _trials_of(params: Params, model: str, stage: str, incumbent: Recipe) -> list[Trial]:
    """The trials of a stage, as far as its table has them."""
    path = Path("plots", model, stage, "trials.csv")
    table = read_csv(path, ["setting", "repeat"], text=["setting"])
    entries = list_entries(params, model, stage, incumbent).entries
    recipes = {entry.setting: entry.recipe for entry in entries}
    repeats = repeats_for(params)
    try:
        return [
            make_trial(params, model, recipes[setting], repeats[repeat])
            for setting, repeat in zip(table["setting"], table["repeat"], strict=True)
        ]
    except (KeyError, IndexError):
        raise UserError(
            f"{path}: trials of other parameters than params.yaml has; run `dvc repro` first"
        ) from None
