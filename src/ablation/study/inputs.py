"""The inputs of a stage: recipes, the chain so far, repeats and the trial runner."""

import hashlib
import json
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
from ablation.run.cluster import SCHEDULER_VARIABLE, most_common_hardware
from ablation.run.precision import hardware_for, recorded_precision
from ablation.run.runner import TrialRunner
from ablation.trial.recipe import BASELINE, Recipe, load_recipe, plain
from ablation.trial.trials import Trial

TRAINING_CHARACTERS = Path("data/prepared/train.npz")
# Keys of params.yaml that all stages of the chain depend on.
SHARED = {"seed", "validation", "baseline", "selection", "learning_rate_multiples"}
CHAIN_COLUMNS = ["stage", "winner", "verdict", "accuracy", "gain", "low", "high"]


def read_recipe(path: Path, params: Params, model: str) -> Recipe:
    """Read the recipe that a stage has written.

    Raises:
        ParamsError: the file is malformed, or its sizes are those of another family.
    """
    recipe = load_recipe(path)
    try:
        params.spec(model, recipe)
    except ParamsError as error:
        raise ParamsError(f"{path}: {error}") from None
    return recipe


def read_chain(path: Path, stage: str | None = None) -> pd.DataFrame:
    """Read the conclusions of the previous stages, one row per stage (`CHAIN_COLUMNS`).

    Args:
        path: chain.csv of the stage before.
        stage: name of the stage that reads it, which must not be in the table.

    Raises:
        UserError: the file is missing or malformed, names a stage twice, or contains `stage`.
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
    if any(name == stage or name.startswith(f"{stage}/") for name in named):
        raise UserError(f"{path}: already contains {stage}; pass the file of the stage before it")
    return chain


def provenance(params: Params, model: str, characters: str) -> str:
    """The comment of a recipe file: on which characters and with which parameters it was chosen.

    With it, stages that start from the recipe depend on both, and on the precision of the study,
    although only `baseline` lists them.

    Args:
        characters: SHA-256 of the training characters.
    """
    training = params.training.model_dump(include={"batch_size", "device", "precision"})
    chosen = {
        "training": training,
        "precision": recorded_precision(params.training.precision),
        "model": getattr(params.models, model).model_dump(mode="json"),
        **params.model_dump(mode="json", include=SHARED),
    }
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()
    return f"{chosen_on(params, characters)}, and with parameters with SHA-256 {digest}"


def chosen_on(params: Params, characters: str) -> str:
    """The comment of a recipe file that names its characters alone.

    Args: as for `provenance`.
    """
    return f"chosen on training {params.dataset.things} with SHA-256 {characters}"


def techniques_of(chain: pd.DataFrame) -> list[str]:
    """The techniques that a chain has explored, in the order of their first stages."""
    techniques = (ChainStage.named(name).technique for name in chain["stage"][1:])
    return [*dict.fromkeys(techniques)]


def repeats_for(params: Params, purpose: str = "selection") -> list[Repeat]:
    """The repeats that params.yaml specifies.

    Each purpose has seeds of its own: only `selection` is used to choose settings, so all other
    repeats are fresh.
    """
    validation = params.validation
    return make_repeats(
        params.seed, validation.scheme, validation.fraction, validation.repeats, purpose
    )


def rate_repeats(params: Params) -> list[Repeat]:
    """Those on which leave-one-out chooses learning rates: one, as they differ by large factors."""
    return repeats_for(params)[:1]


def fit_repeats(params: Params) -> list[Repeat]:
    """The seeds of the final fits, which train on all characters and use no split."""
    return make_repeats(params.seed, "shuffle", 0.5, params.fit.seeds, "fit")


def validation_characters(runner: TrialRunner, repeat: Repeat) -> float:
    """Number of validation characters of a repeat; for k-fold, the mean over the folds."""
    return runner.count * repeat.fraction


def make_trial(params: Params, model: str, recipe: Recipe, repeat: Repeat) -> Trial:
    """The trial of a recipe on a repeat.

    Recipes that differ only in notation (explicit sizes, epochs as a factor) give equal trials.

    Raises:
        ParamsError: the recipe's sizes are those of another family.
    """
    return Trial(model, params.spec(model, recipe), plain(recipe), repeat)


def make_runner(params: Params) -> TrialRunner:
    """The runner of the trials, on the training characters, on this machine or on a cluster.

    Prints a warning if this machine would have chosen another precision than the study's.

    Raises:
        UserError: the characters cannot be read, the batch size exceeds the training part of a
            trial, or the cluster cannot be used.
    """
    training = params.training
    hardware, warning = hardware_for(training.precision, training.device, training.workers)
    if warning:
        console.print(warning, style="italic")
    address = os.environ.get(SCHEDULER_VARIABLE, "")
    if address and training.machines == "mixed":
        hardware = most_common_hardware(address, hardware)
        console.print(f"this stage is computed on {hardware.computer.name}", style="italic")
    runner = TrialRunner(TRAINING_CHARACTERS, training.batch_size, hardware, address)
    params.check_batch_size(runner.count)
    return runner
