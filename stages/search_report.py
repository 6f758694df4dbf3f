"""Stage `report` of the search: what it found, beside what the chain found."""

import argparse
from pathlib import Path

from ablation.base.console import announce, console
from ablation.base.files import write_csv
from ablation.params import Params, load_params
from ablation.processes.stage import stage_process
from ablation.search.chain import chain_cost
from ablation.search.cost import Cost
from ablation.show.search import SearchFiles, answer, write_search_report
from ablation.show.study import Study
from ablation.study.inputs import read_recipe

COSTS = Path("search/plots/chain")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--last", required=True, help="the chain's last stage")
    last = parser.parse_args().last
    params = load_params()
    study = Study(Path(), params.families, params.data.dataset, params.dataset)
    announce("report of the search", study.note)
    cost = Cost.of_study()
    costs = {model: chain_cost(params, model, last, cost) for model in params.families}
    for model, table in costs.items():
        write_csv(table, COSTS / f"{model}.csv")
    searched = SearchFiles(
        study,
        params.search.strategies,
        costs,
        {model: epochs_of(params, model, last) for model in params.families},
    )
    *_, page = write_search_report(searched)
    for model in params.families:
        console.print(answer(searched, model).replace("**", ""))
    console.print(f"details: {page}")


def epochs_of(params: Params, model: str, last: str) -> tuple[int, int]:
    """The epochs of a family's draws, and of the chain's final recipe."""
    final = read_recipe(Path("data/recipes", model, f"{last}.yaml"), params, model)
    of_draws = params.search_epochs(model) * params.spec(model).epochs
    return of_draws, params.spec(model, final).epochs


if __name__ == "__main__":
    with stage_process():
        main()
