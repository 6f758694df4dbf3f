"""Train the final recipe and the baseline on all training characters, with every declared seed."""

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
RECIPES = {"seeds": "final", "baseline": "baseline"}  # folder to what it holds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=FAMILIES)
    parser.add_argument("--recipe", required=True, type=Path, help="the chain's final recipe")
    parser.add_argument(
        "--trials", required=True, type=Path, help="folder of the chain's last stage's tables"
    )
    parser.add_argument(
        "--baseline-trials", required=True, type=Path, help="folder of the baseline stage's tables"
    )
    parser.add_argument(
        "--results", type=Path, default=Path(), help="folder to write to (default: the study's)"
    )
    arguments = parser.parse_args()
    model, root = arguments.model, arguments.results
    params = load_params()
    announce(f"fit of the {model}", params.dataset.note)
    recipe = read_recipe(arguments.recipe, params, model)
    temperatures = {
        kind: read_temperature(folder)
        for kind, folder in (("seeds", arguments.trials), ("baseline", arguments.baseline_trials))
    }

    trials = {
        (kind, seed): make_trial(params, model, made, repeat)
        for kind, made in (("seeds", recipe), ("baseline", params.baseline))
        for seed, repeat in enumerate(fit_repeats(params), start=1)
    }
    runner = make_runner(params)
    if remark := computed_elsewhere(model, "fit", runner.hardware, root):
        console.print(remark, style="italic")
    wanted = list(dict.fromkeys(trials.values()))  # the final recipe may be the baseline
    runs = track(runner.fit(wanted), len(wanted), f"{model} fits")
    fits = {trial: (result, learnt) for trial, result, learnt in runs}
    results = {place: fits[trial][0] for place, trial in trials.items()}
    for (kind, seed), result in results.items():
        if result.diverged:
            place = arguments.recipe if kind == "seeds" else f"{PARAMS}: baseline"
            raise UserError(
                f"{place}: fit {seed} diverged on all training {params.dataset.things}, though no "
                "trial on a part of them did; lower the learning rates in params.yaml"
            )
    models = root / MODELS_FOLDER
    for kind in ("seeds", "baseline"):
        shutil.rmtree(models / f"{model}-{kind}", ignore_errors=True)
    for (kind, seed), trial in trials.items():
        learnt, conversion = fits[trial][1], params.dataset.conversion
        content = pack(trial, learnt, runner.classes, conversion, runner.levels, temperatures[kind])
        write_bytes(content, models / f"{model}-{kind}" / f"{seed}.safetensors")
    # The first seed is released: declared before anything was seen, not picked as the best.
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

    A fit trains on all characters, so it has none left to fit a temperature on: it is given that of
    the same recipe's trials, each fitted on the validation part of its repeat.

    Raises:
        UserError: the folder's tables are missing or malformed, or a temperature is not one.
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
            f"to {most:g} in each of its trials; `dvc repro` makes it again"
        )
    return round(geometric_mean(found), DIGITS)


def curves_table(result: Result) -> pd.DataFrame:
    """Loss and accuracy of the released fit, per epoch."""
    curves = result.curves
    table = pd.DataFrame({"train_loss": curves.train_loss, "train_accuracy": curves.train_accuracy})
    table.insert(0, "epoch", table.index + 1)
    return table


def times_table(results: dict[tuple[str, int], Result], hardware: Hardware) -> pd.DataFrame:
    """What the training of each seed took, processor time or a GPU's wall time, and on what."""
    table = pd.DataFrame(
        {"recipe": RECIPES[kind], "seed": seed, "train_seconds": result.train_seconds}
        for (kind, seed), result in results.items()
    )
    return table.assign(precision=hardware.precision, computer=hardware.computer.name)


if __name__ == "__main__":
    with stage_process():
        main()
