"""One strategy of the search: draw recipes for a family, within a budget, and keep the best."""

import argparse
from pathlib import Path

import pandas as pd

from ablation.base.console import announce, console, narrow_table
from ablation.base.files import write_csv, write_json
from ablation.base.formatting import counted, percent
from ablation.params import load_params
from ablation.processes.stage import stage_process
from ablation.run.hardware import Hardware
from ablation.search.cost import Cost
from ablation.search.draws import Draw, Found, search
from ablation.search.strategies import STRATEGIES, check_strategy
from ablation.study.committed import computed_elsewhere
from ablation.study.inputs import make_runner, provenance
from ablation.trial.families import FAMILIES
from ablation.trial.recipe import save_recipe

RESULTS = Path("search")
SHOWN = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=FAMILIES)
    parser.add_argument("--strategy", required=True, choices=STRATEGIES)
    arguments = parser.parse_args()
    model, strategy = arguments.model, arguments.strategy
    params = load_params()
    announce(f"{strategy} search for the {model}", params.dataset.note)
    check_strategy(strategy, params.search.strategies)
    runner = make_runner(params)
    if warning := computed_elsewhere(model, strategy, runner.hardware, RESULTS):
        console.print(warning, style="italic")
    cost = Cost(runner.count, len(runner.classes))
    found = search(runner, params, model, strategy, cost)
    winner = found.winner

    plots = RESULTS / "plots" / model / strategy
    write_csv(draws_table(found), plots / "draws.csv")
    write_csv(finalists_table(found), plots / "finalists.csv")
    times = times_table(found, runner.hardware)
    write_csv(times, RESULTS / "data/times" / model / f"{strategy}.csv")
    write_json(numbers(found), RESULTS / "metrics" / model / f"{strategy}.json")
    save_recipe(
        winner.recipe,
        RESULTS / "data/recipes" / model / f"{strategy}.yaml",
        provenance(params, model, runner.digest),
    )
    show(found)


def best_so_far(draws: tuple[Draw, ...]) -> pd.Series:
    """The best score up to each draw that trained to the end; nan before the first one."""
    able = [float("nan") if d.diverged or d.collapsed else d.score for d in draws]
    return pd.Series(able, dtype=float).cummax().ffill()


def draws_table(found: Found) -> pd.DataFrame:
    """One row a draw: its settings, scores and cost."""
    table = pd.DataFrame(
        {
            "draw": number,
            **found.space.labels(draw.choice),
            "learning_rate": draw.recipe.optimizer.lr,
            "first_look": draw.first_look,
            "score": draw.score,
            "diverged": draw.diverged,
            "collapsed": draw.collapsed,
            "cost": draw.cost,
            "spent": draw.spent,
        }
        for number, draw in enumerate(found.draws, start=1)
    )
    return table.assign(best=best_so_far(found.draws))


def finalists_table(found: Found) -> pd.DataFrame:
    """One row a trial of the finalists, the best draw first."""
    return pd.DataFrame(
        {
            "draw": finalist.number,
            "repeat": repeat,
            "score": result.score,
            "temperature": result.temperature,
            "diverged": result.diverged,
            "winner": finalist is found.winner,
        }
        for finalist in found.finalists
        for repeat, result in enumerate(finalist.results)
    )


def times_table(found: Found, hardware: Hardware) -> pd.DataFrame:
    """What each training took, processor time on a CPU and wall-clock time on a GPU."""
    table = pd.DataFrame(
        {
            "epochs": trial.spec.epochs,
            "repeat": trial.repeat.index,
            "train_seconds": result.train_seconds,
        }
        for trial, result in found.results.items()
    )
    return table.assign(precision=hardware.precision, computer=hardware.computer.name)


def numbers(found: Found) -> dict[str, float]:
    """The winner's mean score, the draws, the share of them that failed, and the whole cost."""
    failed = sum(draw.diverged or draw.collapsed for draw in found.draws)
    return {
        "accuracy": found.winner.accuracy,
        "draws": len(found.draws),
        "failed": failed / len(found.draws),
        "spent": found.spent,
    }


def show(found: Found) -> None:
    """Print the finalists."""
    table = narrow_table("draw", "accuracy", "repeats", recipe="left")
    for finalist in found.finalists[:SHOWN]:
        draw = found.draws[finalist.number - 1]
        labels = found.space.labels(draw.choice)
        said = f"lr={draw.recipe.optimizer.lr:g}, " + ", ".join(
            f"{technique} {setting}" for technique, setting in labels.items()
        )
        table.add_row(
            str(finalist.number),
            percent(finalist.accuracy),
            str(len(finalist.results)),
            said,
            style="bold" if finalist is found.winner else None,
        )
    console.print(table)
    told = numbers(found)
    console.print(
        f"{counted(len(found.draws), 'draw')}, {percent(told['failed'])} of them no better than "
        f"guessing; {found.spent:.3g} PFLOP spent\n"
    )


if __name__ == "__main__":
    with stage_process():
        main()
