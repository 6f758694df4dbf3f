"""What `ablation cost` prints."""

from pathlib import Path

from ablation.base.console import console, narrow_table
from ablation.base.errors import UserError
from ablation.base.formatting import counted
from ablation.params import load_params
from ablation.search.chain import chain_cost
from ablation.search.cost import Cost
from ablation.study.pipelines import read_variables

PIPELINE = Path("dvc.yaml")


def show_costs() -> None:
    """Print what each stage of the chain has spent, and what a search may spend.

    Raises:
        UserError: a file of the study is missing.
    """
    params = load_params()
    cost, last = Cost.of_study(), last_stage()
    spent = {model: chain_cost(params, model, last, cost) for model in params.families}
    table = narrow_table(
        "stage", *(f"{model} {what}" for model in spent for what in ("n", "PFLOP"))
    )
    for place, stage in enumerate(next(iter(spent.values()))["stage"]):
        rows = [each.iloc[place] for each in spent.values()]
        cells = [cell for row in rows for cell in (f"{row['trainings']}", f"{row['cost']:.4f}")]
        table.add_row(stage, *cells)
    console.print(table)
    console.print("n: trainings. PFLOP: 10^15 floating-point operations of training")
    for model, each in spent.items():
        trainings, budget = each["trainings"].sum(), getattr(params.search.budget, model)
        allowed = "no budget" if budget is None else f"{budget:g} PFLOP for each strategy"
        console.print(
            f"{model}: the chain spent {each['spent'].iloc[-1]:.4g} PFLOP on "
            f"{counted(trainings, 'training')}; search.budget.{model}: {allowed}"
        )


def last_stage() -> str:
    """The chain's last stage: the variable `last` of dvc.yaml.

    Raises:
        UserError: there is none.
    """
    variables = read_variables(PIPELINE)
    if "last" not in variables:
        raise UserError(
            f"{PIPELINE}: vars: last: missing; add it: the name of the chain's last stage"
        )
    return str(variables["last"])
