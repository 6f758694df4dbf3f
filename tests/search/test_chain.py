"""What a chain has spent, from the tables of one that never ran."""

from pathlib import Path

import pandas as pd
import pytest

from ablation.base.checked import read_yaml, to_yaml
from ablation.base.errors import UserError
from ablation.base.files import write_csv
from ablation.params import Params, load_params
from ablation.search.chain import chain_cost
from ablation.search.cost import Cost
from ablation.search.output import show_costs
from ablation.study.inputs import CHAIN_COLUMNS, make_trial, repeats_for
from ablation.trial.recipe import save_recipe
from tests.search.conftest import ROOT, SMALL, cost

A_TRIAL = 0.02  # two epochs
BASELINE = [("baseline", 0, 0.80), ("baseline", 1, 0.82)]
# The incumbent is the baseline; racing stopped 0.6 after the first repeat.
DROPOUT = [("0.2", 0, 0.80), ("0.2", 1, 0.82), ("0.4", 0, 0.85), ("0.4", 1, 0.86), ("0.6", 0, 0.5)]


@pytest.fixture
def params(toy_study: Path) -> Params:
    """Those of a chain of two stages, whose tables are in the working folder."""
    content = read_yaml(ROOT / "params.yaml") | SMALL | {"learning_rate_multiples": {}}
    content["baseline"]["dropout"] = 0.2
    content["techniques"] = SMALL["techniques"] | {"dropout": [0.2, 0.4, 0.6]}
    Path("params.yaml").write_text(to_yaml(content))
    Path("dvc.yaml").write_text("vars: [{last: dropout}]")
    params = load_params()
    write_stage("baseline", BASELINE, "baseline")
    write_stage("dropout", DROPOUT, "0.4")
    save_recipe(params.baseline, Path("data/recipes/mlp/baseline.yaml"), "")
    save_recipe(params.baseline.having("dropout", 0.4), Path("data/recipes/mlp/dropout.yaml"), "")
    chain = pd.DataFrame({"stage": ["baseline", "dropout"], "accuracy": [0.81, 0.855]})
    write_csv(chain.reindex(columns=CHAIN_COLUMNS), Path("plots/mlp/dropout/chain.csv"))
    return params


def write_stage(stage: str, trials: list[tuple[str, int, float]], winner: str) -> None:
    folder = Path("plots/mlp", stage)
    table = pd.DataFrame(trials, columns=["setting", "repeat", "score"])
    write_csv(table, folder / "trials.csv")
    settings = table[["setting"]].drop_duplicates()
    roles = ["winner" if setting == winner else "candidate" for setting in settings["setting"]]
    write_csv(settings.assign(role=roles), folder / "candidates.csv")


def test_a_stage_spends_on_its_own_trials_but_not_on_what_racing_spared(params: Params) -> None:
    """The incumbent's trials are those of the baseline, and count there."""
    spent = chain_cost(params, "mlp", "dropout", cost)
    assert spent["stage"].tolist() == ["baseline", "dropout"]
    assert spent["trainings"].tolist() == [2, 3]
    assert spent["cost"].tolist() == pytest.approx([2 * A_TRIAL, 3 * A_TRIAL])
    assert spent["spent"].tolist() == pytest.approx([2 * A_TRIAL, 5 * A_TRIAL])


def test_a_stage_came_to_the_score_of_its_winner(params: Params) -> None:
    spent = chain_cost(params, "mlp", "dropout", cost)
    assert spent["accuracy"].tolist() == [0.81, 0.855]
    assert spent["score"].tolist() == [0.80, 0.85]


def test_trials_of_other_parameters_are_a_one_line_error(params: Params) -> None:
    content = read_yaml(Path("params.yaml"))
    content["techniques"]["dropout"] = [0.2, 0.4]
    edited = Params.model_validate(content)
    with pytest.raises(UserError) as error:
        chain_cost(edited, "mlp", "dropout", cost)
    assert str(error.value) == (
        "plots/mlp/dropout/trials.csv: trials of other parameters than params.yaml has; run "
        "`dvc repro` first"
    )


def test_ablation_cost_prints_what_the_chain_spent_and_what_a_search_may(
    params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    show_costs()
    trial = make_trial(params, "mlp", params.baseline, repeats_for(params)[0])
    whole = 5 * Cost(400, 4)(trial)
    said = capsys.readouterr().out
    _, baseline, dropout, *_ = said.splitlines()
    assert [baseline.split()[:2], dropout.split()[:2]] == [["baseline", "2"], ["dropout", "3"]]
    assert " ".join(said.split()).endswith(
        f"mlp: the chain spent {whole:.4g} PFLOP on 5 trainings; search.budget.mlp: 1 PFLOP for "
        "each strategy"
    )
