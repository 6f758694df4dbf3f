"""What a stage reads before it runs trials: recipes, the chain so far, repeats, the runner."""

import os
from pathlib import Path

import pandas as pd

from ablation.base.checked import ParamsError
from ablation.base.console import console
from ablation.base.errors import UserError
from ablation.base.files import read_csv
from ablation.data.splits import Repeat, make_repeats
from ablation.labels import ChainStage
from ablation.params import Params
from ablation.run.cluster import SCHEDULER_VARIABLE, one_kind
from ablation.run.precision import hardware_for
from ablation.run.runner import TrialRunner
from ablation.trial.recipe import BASELINE, Recipe, load_recipe, plain
from ablation.trial.trials import Trial

TRAINING_CHARACTERS = Path("data/prepared/train.npz")
CHAIN_COLUMNS = ["stage", "winner", "verdict", "accuracy", "gain", "low", "high"]


def read_recipe(path: Path, params: Params, model: str) -> Recipe:
    """A recipe that a stage of this family has written.

    Raises:
        ParamsError: naming the file and what is wrong with it, or that it is another family's.
    """
    recipe = load_recipe(path)
    try:
        params.spec(model, recipe)
    except ParamsError as error:
        raise ParamsError(f"{path}: {error}") from None
    return recipe


def read_chain(path: Path, stage: str | None = None) -> pd.DataFrame:
    """What the stages before have concluded, a row each; read before hours of training.

    stage: the one that reads it, which cannot be among them.

    Raises:
        UserError: the file is not there, or not of that form.
    """
    chain = read_csv(path, CHAIN_COLUMNS, text=["winner"])
    named = [*map(str, chain["stage"])]
    try:
        stages = [ChainStage.named(name) for name in named]
    except ParamsError as error:
        raise UserError(f"{path}: stage: {error}; `dvc repro` recreates it") from None
    if stages[0].technique != BASELINE or len({*named}) < len(named):
        raise UserError(
            f"{path}: stages {', '.join(named)}: should be the baseline and then others, each "
            "once; `dvc repro` recreates it"
        )
    if stage in named:
        raise UserError(f"{path}: has {stage} already; name the file of the stage before it")
    return chain


def techniques_of(chain: pd.DataFrame) -> list[str]:
    """The techniques that a chain has explored, in the order in which each was first asked."""
    techniques = (ChainStage.named(name).technique for name in chain["stage"][1:])
    return [*dict.fromkeys(techniques)]


def repeats_for(params: Params, purpose: str = "selection") -> list[Repeat]:
    """The repeats of params.yaml; another purpose gets fresh ones, that nothing was selected on."""
    validation = params.validation
    return make_repeats(
        params.seed, validation.scheme, validation.fraction, validation.repeats, purpose
    )


def fit_repeats(params: Params) -> list[Repeat]:
    """The seeds of the final fits, which use all characters: no split is made."""
    return make_repeats(params.seed, "shuffle", 0.5, params.fit.seeds, "fit")


def validation_characters(runner: TrialRunner, repeat: Repeat) -> float:
    """The number of characters that a repeat's scores are shares of; under k-fold their mean."""
    return runner.count * repeat.fraction


def make_trial(params: Params, model: str, recipe: Recipe, repeat: Repeat) -> Trial:
    """A recipe on a repeat; recipes that train the same network alike share their trials.

    Raises:
        ParamsError: the recipe is of another family.
    """
    return Trial(model, params.spec(model, recipe), plain(recipe), repeat)


def make_runner(params: Params) -> TrialRunner:
    """What runs the trials: on the characters that training may see, here or on a cluster.

    Says so where this machine would have chosen another precision than the study's.

    Raises:
        UserError: the characters cannot be read, a batch is of more than a trial trains on, or a
            cluster cannot be used.
    """
    training = params.training
    hardware, remark = hardware_for(training.precision, training.device, training.workers)
    if remark:
        console.print(remark, style="italic")
    address = os.environ.get(SCHEDULER_VARIABLE, "")
    if address and training.machines == "mixed":
        hardware = one_kind(address, hardware)
        console.print(f"this stage is computed on {hardware.computer.name}", style="italic")
    runner = TrialRunner(TRAINING_CHARACTERS, training.batch_size, hardware, address)
    params.refuse_large_batches(runner.count)
    return runner
