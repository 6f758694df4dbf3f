from pathlib import Path

import pandas as pd
import pytest
from racing import compare

from ablation.base.checked import read_yaml, to_yaml
from ablation.base.files import write_csv, write_json
from ablation.params import load_params
from ablation.trial.recipe import save_recipe


@pytest.fixture(autouse=True)
def small_study(toy_study: Path) -> None:
    """The toy, with an incumbent that learns and candidates of which one does not."""
    content = read_yaml(Path(__file__).parents[2] / "params.yaml")
    content["data"]["dataset"] = "glyphs"
    content["validation"] = {"scheme": "shuffle", "fraction": 0.25, "repeats": 4}
    content["training"] |= {"batch_size": 25, "precision": "float32", "workers": 1}
    content["models"]["mlp"] = {"hidden": [16, 12, 8], "epochs": 2}
    content["techniques"]["optimizer"] = [{"name": "sgd", "lr": [0.000001, 0.03]}]
    content["baseline"]["optimizer"] = {"name": "sgd", "lr": 0.03}
    Path("params.yaml").write_text(to_yaml(content))
    save_recipe(load_params().baseline, Path("data/recipes/mlp/activation.yaml"), "for a test")
    write_json({"winner": "a winner"}, Path("metrics/mlp/optimizer.json"))
    write_csv(pd.DataFrame({"repeat": range(7)}), Path("plots/mlp/optimizer/trials.csv"))


def test_without_racing_every_candidate_runs_to_the_end() -> None:
    row = compare(load_params(), "mlp", "activation", "optimizer")
    assert (row["trials_with"], row["trials_without"]) == (7, 2 * 4)
    assert (row["winner_with"], row["winner_without"]) == ("a winner", "sgd lr=0.03")
