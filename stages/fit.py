"""Train the chain's final recipe on all training characters, with every declared seed."""

import argparse
import shutil
from pathlib import Path

import pandas as pd

from ablation.base.console import announce, console, plain_errors, progress
from ablation.base.errors import UserError
from ablation.base.files import write_bytes, write_csv, write_json
from ablation.params import MODELS, load_params, load_recipe
from ablation.study import fit_repeats, laboratory
from ablation.trial.trials import Trial

MODELS_FOLDER = Path("data/models")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument("--recipe", required=True, type=Path, help="the chain's final recipe")
    arguments = parser.parse_args()
    model = arguments.model
    params = load_params()
    announce(f"fit of the {model}", params.data.dataset)
    recipe = load_recipe(arguments.recipe)

    trials = [Trial(model, params.spec(model), recipe, repeat) for repeat in fit_repeats(params)]
    lab = laboratory(params)
    runs = progress(lab.fit(trials), len(trials), f"{model} fits")
    fits = {trial: (result, content) for trial, result, content in runs}
    if any(result.diverged for result, _ in fits.values()):
        raise UserError(
            f"{arguments.recipe}: diverged on all training characters, though not on a split of "
            "them; lower the learning rates in params.yaml"
        )
    seeds = MODELS_FOLDER / f"{model}-seeds"
    shutil.rmtree(seeds, ignore_errors=True)
    for number, trial in enumerate(trials, start=1):
        write_bytes(fits[trial][1], seeds / f"{number}.safetensors")
    # The first seed is released: declared before anything was seen, not picked as the best.
    released = MODELS_FOLDER / f"{model}.safetensors"
    write_bytes(fits[trials[0]][1], released)

    result, _ = fits[trials[0]]
    curves = result.curves
    table = pd.DataFrame({"train_loss": curves.train_loss, "train_accuracy": curves.train_accuracy})
    table.insert(0, "epoch", table.index + 1)
    write_csv(table, Path("plots", model, "fit/curves.csv"))
    numbers = {"parameters": result.parameters, "train_seconds": result.train_seconds}
    write_json(numbers, Path("metrics", model, "fit.json"))
    console.print(
        f"{result.parameters:,} parameters trained in {result.train_seconds:.1f} s on one "
        f"{'core' if lab.hardware.device == 'cpu' else 'GPU'}; {len(trials)} seeds; {released}"
    )


if __name__ == "__main__":
    with plain_errors():
        main()
