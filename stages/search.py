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
from ablation.search.draws import Draw, SearchResult, search
from ablation.search.strategies import STRATEGIES, check_strategy
from ablation.study.committed import computed_elsewhere
from ablation.study.inputs import chosen_on, make_runner
from ablation.study.pipelines import check_answer, check_families, read_variables
from ablation.trial.families import FAMILIES
from ablation.trial.recipe import save_recipe

RESULTS = Path("search")
PIPELINE = RESULTS / "dvc.yaml"
SHOWN = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=FAMILIES)
    parser.add_argument("--strategy", required=True, choices=STRATEGIES)
    arguments = parser.parse_args()
    model, strategy = arguments.model, arguments.strategy
    params = load_params()
    announce(f"{strategy} search for the {model}")
    check_strategy(strategy, params.search.strategies)
    params.check_search()
    check_answer(read_variables(PIPELINE).get("answer", "missing"), params.search.strategies)
    check_families(PIPELINE, ["report"], params.families)
    runner = make_runner(params)
    if warning := computed_elsewhere(model, strategy, runner.hardware, RESULTS):
        console.print(warning, style="italic")
    cost = Cost(runner.count, len(runner.classes))
    found = search(runner, params, model, strategy, cost)

    plots = RESULTS / "plots" / model / strategy
    write_csv(draws_table(found), plots / "draws.csv")  # even if none of them can win
    winner = found.winner
    write_csv(trials_table(found), plots / "trials.csv")
    write_csv(candidates_table(found), plots / "candidates.csv")
    times = times_table(found, runner.hardware)
    write_csv(times, RESULTS / "data/times" / model / f"{strategy}.csv")
    write_json(numbers(found), RESULTS / "metrics" / model / f"{strategy}.json")
    save_recipe(
        winner.recipe,
        RESULTS / "data/recipes" / model / f"{strategy}.yaml",
        chosen_on(params, runner.digest),
    )
    show(found)


def best_so_far(draws: tuple[Draw, ...]) -> pd.Series:
    """The best score up to each draw that trained to the end; nan before the first one."""
    able = [float("nan") if draw.failed else draw.score for draw in draws]
    return pd.Series(able, dtype=float).cummax().ffill()


def draws_table(found: SearchResult) -> pd.DataFrame:
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


def trials_table(found: SearchResult) -> pd.DataFrame:
    """One row a trial of the finalists, the best draw first; `setting`: the number of the draw."""
    return pd.DataFrame(
        {
            "setting": finalist.number,
            "repeat": repeat,
            "score": result.score,
            "temperature": result.temperature,
            "diverged": result.diverged,
        }
        for finalist in found.finalists
        for repeat, result in enumerate(finalist.results)
    )


def candidates_table(found: SearchResult) -> pd.DataFrame:
    """One row a finalist, in the form of a stage's table."""
    return pd.DataFrame(
        {
            "setting": finalist.number,
            "role": "winner" if finalist is found.winner else "candidate",
            "accuracy": finalist.accuracy,
            "repeats": len(finalist.results),
            "failed": finalist.failed,
        }
        for finalist in found.finalists
    )


def times_table(found: SearchResult, hardware: Hardware) -> pd.DataFrame:
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


def numbers(found: SearchResult) -> dict[str, float]:
    """The winner's mean score, the draws, the share of them that failed, and the whole cost.

    finalists_paid, finalists: how many ran on all repeats, and would have with a larger budget.
    """
    return {
        "accuracy": found.winner.accuracy,
        "draws": len(found.draws),
        "failed": sum(draw.failed for draw in found.draws) / len(found.draws),
        "finalists": found.wanted,
        "finalists_paid": found.paid,
        "spent": found.spent,
    }


def show(found: SearchResult) -> None:
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
    lost = round(float(told["failed"]) * len(found.draws))
    paid = f"{found.paid} of {counted(found.wanted, 'finalist')}"
    if found.paid < found.wanted:
        paid += ", as the budget pays for no more"
    draws = f"{counted(len(found.draws), 'draw')}, {lost} failed"
    console.print(f"{draws}; {found.spent:.3g} PFLOP spent; {paid}\n")


if __name__ == "__main__":
    with stage_process():
        main()
