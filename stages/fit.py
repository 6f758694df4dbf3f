"""Train the final and the baseline recipe on all training characters, each with several seeds."""

import argparse
import shutil
from pathlib import Path
from statistics import geometric_mean

import pandas as pd

from ablation.base.console import announce, console
from ablation.base.errors import UserError
from ablation.base.files import DIGITS, read_csv, write_bytes, write_csv
from ablation.base.formatting import counted
from ablation.base.progress import track
from ablation.fitted.model_file import pack
from ablation.params import PARAMS, load_params
from ablation.processes.stage import stage_process
from ablation.run.hardware import Hardware
from ablation.study.committed import computed_elsewhere
from ablation.study.inputs import fit_repeats, make_runner, make_trial, read_recipe
from ablation.trial.families import FAMILIES
from ablation.trial.trials import TEMPERATURES, Result

MODELS_FOLDER = Path("data/models")
RECIPES = {"seeds": "final", "baseline": "baseline"}  # folder suffix to recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=FAMILIES)
    parser.add_argument("--recipe", required=True, type=Path, help="the final recipe")
    parser.add_argument(
        "--trials", required=True, type=Path, help="tables of the stage that chose it (folder)"
    )
    parser.add_argument(
        "--baseline-trials", required=True, type=Path, help="tables of the baseline stage (folder)"
    )
    parser.add_argument(
        "--results", type=Path, default=Path(), help="folder to write to (default: the study's)"
    )
    arguments = parser.parse_args()
    model, root = arguments.model, arguments.results
    params = load_params()
    announce(f"fit of the {model}", root=root)
    recipe = read_recipe(arguments.recipe, params, model)
    temperatures = {
        kind: read_temperature(folder)
        for kind, folder in (("seeds", arguments.trials), ("baseline", arguments.baseline_trials))
    }

    trials = {
        (kind, seed): make_trial(params, model, each, repeat)
        for kind, each in (("seeds", recipe), ("baseline", params.baseline))
        for seed, repeat in enumerate(fit_repeats(params), start=1)
    }
    runner = make_runner(params)
    if warning := computed_elsewhere(model, "fit", runner.hardware, root):
        console.print(warning, style="italic")
    wanted = list(dict.fromkeys(trials.values()))  # the final recipe may be the baseline
    runs = track(runner.fit(wanted), len(wanted), f"{model} fits")
    fits = {trial: (result, weights) for trial, result, weights in runs}
    results = {key: fits[trial][0] for key, trial in trials.items()}
    for (kind, seed), result in results.items():
        if result.diverged:
            source = arguments.recipe if kind == "seeds" else f"{PARAMS}: baseline"
            raise UserError(
                f"{source}: fit {seed} diverged on all training {params.dataset.things}, although "
                "no trial on a part of them did; lower the learning rates in params.yaml"
            )
    models = root / MODELS_FOLDER
    for kind in ("seeds", "baseline"):
        shutil.rmtree(models / f"{model}-{kind}", ignore_errors=True)
    for (kind, seed), trial in trials.items():
        weights, conversion = fits[trial][1], params.dataset.conversion
        content = pack(
            trial, weights, runner.classes, conversion, runner.levels, temperatures[kind]
        )
        write_bytes(content, models / f"{model}-{kind}" / f"{seed}.safetensors")
    # The first seed is released. It was fixed in advance, not selected for its accuracy.
    released = models / f"{model}.safetensors"
    write_bytes((models / f"{model}-seeds/1.safetensors").read_bytes(), released)

    first = results["seeds", 1]
    write_csv(curves_table(first), root / "plots" / model / "fit/curves.csv")
    write_csv(times_table(results, runner.hardware), root / "data/times" / model / "fit.csv")
    console.print(
        f"{first.parameters:,} parameters trained in {first.train_seconds:.1f} s on one "
        f"{'core' if runner.hardware.device == 'cpu' else 'GPU'}; "
        f"{counted(params.fit.seeds, 'seed')}; temperature {temperatures['seeds']:.3f}; {released}"
    )


def read_temperature(folder: Path) -> float:
    """The geometric mean of the temperatures of a stage's winner, over its repeats.

    A fit trains on all characters, which leaves none to fit its temperature on. It uses the
    temperatures of the same recipe's trials, fitted on the validation part of each repeat.

    Args:
        folder: the stage's folder, with candidates.csv and trials.csv.

    Raises:
        UserError: a table is missing or malformed, or a temperature is outside `TEMPERATURES`.
    """
    path = folder / "trials.csv"
    candidates = read_csv(folder / "candidates.csv", ["setting", "role"], text=["setting"])
    trials = read_csv(path, ["setting", "temperature"], text=["setting"])
    winners = candidates.loc[candidates["role"] == "winner", "setting"]
    found = trials.loc[trials["setting"].isin(winners), "temperature"]
    least, most = TEMPERATURES
    if found.empty or not pd.to_numeric(found, errors="coerce").between(least, most).all():
        shown = ", ".join(map(str, found)) or "none"
        raise UserError(
            f"{path}: temperature: {shown} of the winner {', '.join(winners)}; should be {least:g} "
            f"to {most:g} in each of its trials; `dvc repro` recreates it"
        )
    return round(geometric_mean(found), DIGITS)


def curves_table(result: Result) -> pd.DataFrame:
    """Loss and accuracy of the released fit, per epoch."""
    curves = result.curves
    table = pd.DataFrame({"train_loss": curves.train_loss, "train_accuracy": curves.train_accuracy})
    table.insert(0, "epoch", table.index + 1)
    return table


def times_table(results: dict[tuple[str, int], Result], hardware: Hardware) -> pd.DataFrame:
    """Training time, precision and processor (or GPU) of each fit.

    Seconds are processor time on a CPU, wall-clock time on a GPU.
    """
    table = pd.DataFrame(
        {"recipe": RECIPES[kind], "seed": seed, "train_seconds": result.train_seconds}
        for (kind, seed), result in results.items()
    )
    return table.assign(precision=hardware.precision, computer=hardware.computer.name)


if __name__ == "__main__":
    with stage_process():
        main()
