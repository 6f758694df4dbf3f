"""What trainings cost, in floating-point operations: a number that depends on no machine.

PyTorch counts the operations of matrix products and convolutions, forward and backward. Everything
else (augmentation, normalisation, the optimizer's step, validation) is left out.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from ablation.base.errors import UserError
from ablation.base.files import read_csv
from ablation.data.characters import Characters
from ablation.labels import ChainStage
from ablation.params import Params
from ablation.study.entries import list_entries
from ablation.study.inputs import (
    TRAINING_CHARACTERS,
    make_trial,
    read_chain,
    read_recipe,
    repeats_for,
)
from ablation.trial.families import Spec
from ablation.trial.models import layers
from ablation.trial.recipe import (
    BASELINE,
    Adam,
    Constant,
    NoAugmentation,
    NoAveraging,
    Recipe,
    Regularization,
)
from ablation.trial.trials import Trial

PETA = 1e15
COUNTED_IMAGES = 2  # the fewest that batch normalisation takes
# Settings that leave the network as it is, so that recipes which differ in these are counted once.
NEUTRAL = {
    "scheduler": Constant(name="constant"),
    "optimizer": Adam(name="adam", lr=0.001),
    "regularization": Regularization(l1=0.0, l2=0.0),
    "augmentation": NoAugmentation(),
    "smoothing": 0.0,
    "averaging": NoAveraging(),
}


@dataclass(frozen=True)
class Cost:
    """What the trainings of a study cost.

    images: of which each trial trains on a part; classes: of them.
    """

    images: int
    classes: int

    @classmethod
    def of_study(cls) -> "Cost":
        """That of trials on the characters that training may see.

        Raises:
            UserError: they cannot be read.
        """
        characters = Characters.load(TRAINING_CHARACTERS)
        return cls(len(characters), len(characters.classes))

    def __call__(self, trial: Trial) -> float:
        """10^15 operations of a training, as if it ran to its last epoch."""
        training = self.images - math.ceil(self.images * trial.repeat.fraction)
        once = trial.spec.model_copy(update={"epochs": 1})
        an_image = operations(once, trial.recipe.model_copy(update=NEUTRAL), self.classes)
        return an_image * training * trial.spec.epochs / PETA


@cache
def operations(spec: Spec, recipe: Recipe, classes: int) -> float:
    """Floating-point operations of one image's forward and backward pass."""
    with (
        torch.device("meta"),
        FlopCounterMode(display=False) as counter,
    ):  # counts, computes nothing
        network = layers(spec, recipe, classes)
        network(torch.zeros(COUNTED_IMAGES, 1, 28, 28)).sum().backward()
    return float(counter.get_total_flops()) / COUNTED_IMAGES


def chain_cost(params: Params, model: str, last: str, cost: Cost) -> pd.DataFrame:
    """What each stage of a family's chain has spent, and what it came to: a row a stage.

    A trial of several stages is counted in the first one. Trials that racing spared are not.

    Args:
        last: the chain's last stage, as in dvc.yaml.

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
        name = BASELINE if ChainStage.named(stage).technique == BASELINE else stage
        raise UserError(
            f"{path}: trials of other parameters than params.yaml has; run `dvc repro {name}` first"
        ) from None
