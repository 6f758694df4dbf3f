"""Train the chain's final recipe on all training characters, with every declared seed."""

import argparse
import shutil
from pathlib import Path

import pandas as pd

from ablation.base.console import announce, console, plain_errors, progress
from ablation.base.errors import UserError
from ablation.base.files import write_bytes, write_csv
from ablation.data.characters import Characters
from ablation.model_file import pack
from ablation.params import load_params
from ablation.recipe import load_recipe
from ablation.run.hardware import Hardware
from ablation.study import TRAINING_CHARACTERS, fit_repeats, laboratory
from ablation.trial.families import FAMILIES
from ablation.trial.trials import Result, Trial

MODELS_FOLDER = Path("data/models")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=FAMILIES)
    parser.add_argument("--recipe", required=True, type=Path, help="the chain's final recipe")
    arguments = parser.parse_args()
    model = arguments.model
    params = load_params()
    announce(f"fit of the {model}", params.dataset.note)
    recipe = load_recipe(arguments.recipe)

    trials = [Trial(model, params.spec(model), recipe, repeat) for repeat in fit_repeats(params)]
    lab = laboratory(params)
    runs = progress(lab.fit(trials), len(trials), f"{model} fits")
    fits = {trial: (result, learnt) for trial, result, learnt in runs}
    results = [fits[trial][0] for trial in trials]
    if any(result.diverged for result in results):
        raise UserError(
            f"{arguments.recipe}: diverged on all training characters, though not on a split of "
            "them; lower the learning rates in params.yaml"
        )
    classes = Characters.load(TRAINING_CHARACTERS).classes
    files = [pack(trial, fits[trial][1], classes, params.dataset.conversion) for trial in trials]
    seeds = MODELS_FOLDER / f"{model}-seeds"
    shutil.rmtree(seeds, ignore_errors=True)
    for number, content in enumerate(files, start=1):
        write_bytes(content, seeds / f"{number}.safetensors")
    # The first seed is released: declared before anything was seen, not picked as the best.
    released = MODELS_FOLDER / f"{model}.safetensors"
    write_bytes(files[0], released)

    write_csv(curves_table(results[0]), Path("plots", model, "fit/curves.csv"))
    write_csv(times_table(results, lab.hardware), Path("data/times", model, "fit.csv"))
    console.print(
        f"{results[0].parameters:,} parameters trained in {results[0].train_seconds:.1f} s on one "
        f"{'core' if lab.hardware.device == 'cpu' else 'GPU'}; {len(trials)} seeds; {released}"
    )


def curves_table(result: Result) -> pd.DataFrame:
    """Loss and accuracy of the released fit, per epoch."""
    curves = result.curves
    table = pd.DataFrame({"train_loss": curves.train_loss, "train_accuracy": curves.train_accuracy})
    table.insert(0, "epoch", table.index + 1)
    return table


def times_table(results: list[Result], hardware: Hardware) -> pd.DataFrame:
    """What the training of each seed took, on one core or one GPU, and on what."""
    table = pd.DataFrame({"train_seconds": [result.train_seconds for result in results]})
    table.insert(0, "seed", table.index + 1)
    return table.assign(precision=hardware.precision, computer=hardware.computer)


if __name__ == "__main__":
    with plain_errors():
        main()
