"""The stage `leave_one_out` on a chain with too many changes to run all recipes."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from ablation.base.checked import read_yaml, to_yaml
from ablation.base.files import read_csv, write_csv
from ablation.data.characters import Characters
from ablation.params import load_params
from ablation.study.entries import rates_to_try
from ablation.study.inputs import CHAIN_COLUMNS, make_runner, repeats_for
from ablation.study.race import run_entries
from ablation.trial.recipe import TECHNIQUES, load_recipe
from tests.clones import warm_python

ROOT = Path(__file__).parents[1]
CHAIN = [
    *("scheduler", "optimizer", "batchnorm", "regularization"),
    *("dropout", "architecture", "smoothing"),
]
CHANGED = ["scheduler", "batchnorm", "dropout", "architecture", "smoothing"]
REPEATS = 2
BASELINE = {
    "scheduler": {"name": "constant"},
    "activation": "relu",
    "optimizer": {"name": "sgd", "lr": 0.03},
    "batchnorm": True,
    "regularization": {"l1": 0.0, "l2": 0.0},
    "dropout": 0.0,
}
FINAL = BASELINE | {
    "scheduler": {"name": "cosine"},
    "batchnorm": False,
    "dropout": 0.1,
    "architecture": {"hidden": [20, 12, 8]},
    "smoothing": 0.1,
}


@dataclass(frozen=True)
class Study:
    """A folder in which the stage has run, and the text that it printed."""

    folder: Path
    said: str

    def table(self, name: str) -> pd.DataFrame:
        return read_csv(self.folder / "plots/mlp/leave_one_out" / f"{name}.csv")


def run_stage(folder: Path, *options: str) -> str:
    """Run the stage in a folder; returns its output."""
    options = ("--model", "mlp", "--recipe", "final.yaml", *options)
    command = [*warm_python(str(ROOT / "stages/leave_one_out.py")), *options]
    env = {"PYTHONPATH": str(ROOT / "src"), "ABLATION_CACHE": str(folder / "cache")}
    done = subprocess.run(
        command, cwd=folder, env=os.environ | env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def study(toy: Characters, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The stage on a recipe with five changes, in a study of the toy."""
    folder = tmp_path_factory.mktemp("study")
    toy.save(folder / "data/prepared/train.npz")
    content = read_yaml(ROOT / "params.yaml")
    content["data"]["dataset"] = "glyphs"
    content["validation"] = {"scheme": "shuffle", "fraction": 0.25, "repeats": REPEATS}
    content["training"] |= {"batch_size": 25, "precision": "float32", "workers": 1}
    content["models"]["mlp"] = {"hidden": [16, 12, 8], "epochs": 2}
    content["worth"] = {"order_pairs": 1}
    multiples = {"scheduler": [0.3, 1.0, 3.0], "batchnorm": [0.5, 1.0], "activation": [0.5, 1.0]}
    content["learning_rate_multiples"] = multiples
    content["baseline"] = BASELINE
    (folder / "params.yaml").write_text(to_yaml(content))
    (folder / "final.yaml").write_text(to_yaml(FINAL))
    chain = pd.DataFrame({"stage": ["baseline", *CHAIN]}).reindex(columns=CHAIN_COLUMNS)
    write_csv(chain, folder / "chain.csv")
    return Study(folder, run_stage(folder, "--chain", "chain.csv"))


def test_the_gains_list_every_technique_in_chain_order(study: Study) -> None:
    gains = study.table("gains").set_index("technique")
    assert list(gains.index) == [*CHAIN, "all"]
    tested = gains["gain"].notna()
    assert list(gains.index[tested]) == [*CHANGED, "all"]
    sizes = gains.loc["architecture"]
    assert (sizes["baseline_setting"], sizes["final_setting"]) == ("16-12-8", "20-12-8")


def test_trials_and_times_list_exactly_the_runs(study: Study) -> None:
    trials = study.table("trials")
    runs = trials.groupby("recipe", sort=False)["repeat"].apply(list)
    without = [" + ".join(each for each in CHANGED if each != out) for out in CHANGED]
    everywhere = ["baseline", *without, " + ".join(CHANGED)]
    assert all(runs[recipe] == [0, 1] for recipe in everywhere)
    # The recipes along an order and its reverse are six more for each repeat.
    assert len(trials) == REPEATS * (len(everywhere) + 6)
    assert trials["score"].notna().all()
    times = read_csv(study.folder / "data/times/mlp/leave_one_out.csv")
    assert list(times["setting"])[: len(trials)] == list(trials["recipe"])
    assert list(times["repeat"])[: len(trials)] == list(trials["repeat"])
    chosen = times[len(trials) :].groupby("setting", sort=False)["repeat"].apply(list)
    rates = [f"scheduler: constant lr={rate}" for rate in (0.03, 0.009, 0.09)]
    assert list(chosen.index) == [*rates, *(f"batchnorm: on lr={rate}" for rate in (0.03, 0.015))]
    assert set(map(tuple, chosen)) == {(0,)}


def test_a_technique_is_reset_at_the_best_learning_rate(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best one on the first repeat of selection."""
    monkeypatch.chdir(study.folder)
    monkeypatch.setenv("ABLATION_CACHE", str(study.folder / "cache"))
    params = load_params()
    final = params.full("mlp", load_recipe(Path("final.yaml")))
    contest = rates_to_try(params, "scheduler", final, params.full("mlp", params.baseline))
    ran = run_entries(
        make_runner(params), params, "mlp", contest, repeats_for(params), racing=False
    )
    best = max(ran, key=lambda setting: sum(result.score for result in ran[setting]))
    gains = study.table("gains").set_index("technique")
    settings = gains[["baseline_setting", "final_setting"]]
    assert tuple(settings.loc["scheduler"]) == (best, "cosine lr=0.03")
    assert tuple(settings.loc["dropout"]) == ("none", "0.1")


def test_shares_add_up_to_the_total_gain(study: Study) -> None:
    shapley = study.table("shapley")
    gains = study.table("gains").set_index("technique")
    assert list(shapley["technique"]) == CHANGED
    assert shapley["gain"].sum() == pytest.approx(gains.loc["all", "gain"], abs=1e-6)


def test_it_prints_the_epochs_and_the_number_of_cached_trials(study: Study) -> None:
    count = len(study.table("trials"))
    assert "all recipes trained for 2 epochs, like the final one" in study.said
    assert re.search(rf"mlp: {count} trials trained in \d+ s, 0 cached", study.said)
    again = run_stage(study.folder, "--chain", "chain.csv")
    assert re.search(rf"mlp: 0 trials trained in \d+ s, {count} cached", again)


def test_without_a_chain_the_gains_list_every_technique(study: Study) -> None:
    """So that the tables of all families have the same rows."""
    run_stage(study.folder, "--results", "search")
    gains = read_csv(study.folder / "search/plots/mlp/leave_one_out/gains.csv")
    assert list(gains["technique"]) == [*TECHNIQUES, "all"]
    tested = gains.loc[gains["gain"].notna(), "technique"]
    assert {*tested} == {*CHANGED, "all"}
