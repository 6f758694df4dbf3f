import importlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablation.base.checked import read_yaml, to_yaml
from ablation.base.errors import UserError
from ablation.base.files import write_csv
from ablation.base.formatting import short
from ablation.data.splits import Repeat, make_repeats
from ablation.judge.selection import Contender, judge_stage
from ablation.params import Params, load_params
from ablation.study.entries import Contest, Entry, list_entries
from ablation.study.inputs import CHAIN_COLUMNS, fit_repeats, make_runner, make_trial, repeats_for
from ablation.study.race import Results, best_multiple, make_contenders, run_entries
from ablation.study.tables import curves_table, times_table, trials_table
from ablation.trial.families import MlpSpec
from ablation.trial.recipe import Adam, Sgd, save_recipe
from tests.clones import warm_python

ROOT = Path(__file__).parents[2]
TRIALS = ["candidate", "setting", "repeat", "score", "temperature", "diverged", "raced_out"]
CURVES = ["setting", "epoch", "train_loss", "validation_loss", "train_accuracy"]
CANDIDATES = [
    *("candidate", "setting", "role", "accuracy", "spread", "parameters"),
    *("gain", "low", "high"),
    *("p_worse", "p_equal", "p_better", "finding", "repeats", "diverged", "collapsed"),
    *("won_grid", "grid_edge", "raced_out"),
]
REPEATS = 6
REPEAT = make_repeats(1, "shuffle", 0.25, 1)[0]
METRICS = ["accuracy", "gain", "low", "high", "verdict", "winner"]


def write_params(
    budget: int = 2,
    repeats: int = 4,
    multiples: dict[str, list[float]] | None = None,
    **techniques: Any,
) -> Params:
    """Parameters of a study of the toy, written to the working directory."""
    content = read_yaml(ROOT / "params.yaml")
    content["data"]["dataset"] = "glyphs"
    content["validation"] = {"scheme": "shuffle", "fraction": 0.25, "repeats": repeats}
    content["selection"] = {"risk": 0.2, "equal_within": 0.0025, "racing": True}
    content["training"] |= {"batch_size": 25, "precision": "float32", "workers": 1}
    content["models"]["mlp"] = {"hidden": [16, 12, 8], "epochs": budget}
    content["baseline"]["optimizer"] = {"name": "sgd", "lr": 0.03}
    content["worth"]["repeats"] = repeats
    content["learning_rate_multiples"] = multiples or {}
    content["techniques"] |= techniques
    Path("params.yaml").write_text(to_yaml(content))
    return load_params()


@pytest.fixture
def params(toy_study: Path) -> Params:
    """With learning rates that learn well, slowly and not at all."""
    rates = [0.000001, 0.03, 0.01]
    optimizers = [{"name": "sgd", "lr": rates}, {"name": "adam", "lr": 0.01}]
    return write_params(repeats=REPEATS, optimizer=optimizers)


Entries = tuple[Entry, ...]


@pytest.fixture
def entries(params: Params) -> Entries:
    return list_entries(params, "mlp", "optimizer", params.baseline).entries


def run(params: Params, entries: Entries, repeats: list[Repeat], *, racing: bool) -> Results:
    contest = Contest(entries)
    return run_entries(make_runner(params), params, "mlp", contest, repeats, racing=racing)


def scores(results: Results) -> dict[str, list[float]]:
    return {setting: [result.score for result in runs] for setting, runs in results.items()}


def run_stage(*options: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    command = [*warm_python(str(ROOT / "stages/technique.py")), "--model", "mlp", *options]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(command, env=env, stdout=stdout, start_new_session=True)


def test_the_incumbent_comes_first_and_once(params: Params, entries: Entries) -> None:
    labels = [entry.setting for entry in entries]
    assert labels == ["sgd lr=0.03", "sgd lr=1e-06", "sgd lr=0.01", "adam lr=0.01"]
    assert entries[0].recipe == params.baseline


def test_an_incumbent_belongs_to_the_grid_that_contains_it(entries: Entries) -> None:
    places = [(entry.candidate, entry.learning_rate) for entry in entries]
    assert places == [("sgd", 0.03), ("sgd", 1e-06), ("sgd", 0.01), ("adam lr=0.01", None)]


def test_an_incumbent_outside_the_candidates_is_an_entry_of_its_own(params: Params) -> None:
    recipe = params.baseline.having("optimizer", Adam(name="adam", lr=0.5))
    first, *others = list_entries(params, "mlp", "optimizer", recipe).entries
    assert first == Entry("adam lr=0.5", "adam lr=0.5", recipe)
    assert len(others) == 4


def test_entries_differ_from_the_incumbent_in_one_technique(
    params: Params, entries: Entries
) -> None:
    for entry in entries:
        assert entry.recipe.having("optimizer", params.baseline.optimizer) == params.baseline
    assert len({entry.recipe for entry in entries}) == len(entries)


def test_the_sizes_under_models_are_the_incumbent(toy_study: Path) -> None:
    """Even if they are among the candidates."""
    sizes = [{"hidden": [9, 8, 7]}, {"hidden": [16, 12, 8]}]
    params = write_params(architecture={"mlp": sizes})
    entries = list_entries(params, "mlp", "architecture", params.baseline).entries
    assert [entry.setting for entry in entries] == ["16-12-8", "9-8-7"]
    first, other = (make_trial(params, "mlp", e.recipe, REPEAT) for e in entries)
    assert first == make_trial(params, "mlp", params.baseline, REPEAT)
    assert other.spec == MlpSpec(hidden=(9, 8, 7), epochs=2)
    assert other.recipe == first.recipe


def test_epochs_are_factors_of_those_under_models(toy_study: Path) -> None:
    params = write_params(epochs=[1, 3])
    entries = list_entries(params, "mlp", "epochs", params.baseline).entries
    assert [entry.setting for entry in entries] == ["1x", "3x"]
    first, other = (make_trial(params, "mlp", e.recipe, REPEAT) for e in entries)
    assert (first.spec.epochs, other.spec.epochs) == (2, 6)
    assert other.recipe == first.recipe


def test_a_grid_of_other_values_has_no_learning_rates(toy_study: Path) -> None:
    params = write_params(regularization=[{"l1": 0.0, "l2": [0.001, 0.01]}])
    entries = list_entries(params, "mlp", "regularization", params.baseline).entries
    assert [entry.learning_rate for entry in entries] == [None, None, None]


def test_a_setting_listed_twice_is_one_entry(toy_study: Path) -> None:
    grids = [{"name": "sgd", "lr": [0.1, 0.1]}, {"name": "sgd", "lr": 0.1}]
    params = write_params(optimizer=grids)
    entries = list_entries(params, "mlp", "optimizer", params.baseline).entries
    labels = [entry.setting for entry in entries]
    assert labels == ["sgd lr=0.03", "sgd lr=0.1"]


def test_repeats_of_different_purposes_share_no_seed(params: Params) -> None:
    families = (repeats_for(params), repeats_for(params, "leave-one-out"), fit_repeats(params))
    seeds = [repeat.init_seed for repeats in families for repeat in repeats]
    assert len(set(seeds)) == len(seeds) == 2 * REPEATS + params.fit.seeds


def test_racing_stops_losing_entries_and_changes_no_score(
    params: Params, entries: Entries, toy_study: Path
) -> None:
    repeats = repeats_for(params)
    raced = scores(run(params, entries, repeats, racing=True))
    written = {path: path.stat().st_mtime_ns for path in (toy_study / "cache").iterdir()}
    whole = scores(run(params, entries, repeats, racing=False))
    assert len(raced["sgd lr=1e-06"]) < len(repeats) == len(raced["sgd lr=0.03"])
    assert all(whole[setting][: len(part)] == part for setting, part in raced.items())
    assert {len(runs) for runs in whole.values()} == {len(repeats)}
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_an_impossible_split_is_an_error(params: Params, entries: Entries) -> None:
    tiny = make_repeats(1, "shuffle", 0.001, 3)
    with pytest.raises(UserError, match=r"params\.yaml: validation\.fraction: 0\.001 leaves the"):
        run(params, entries, tiny, racing=False)


def test_racing_never_stops_the_incumbent(params: Params) -> None:
    slow = params.baseline.having("optimizer", Sgd(name="sgd", lr=1e-6))
    entries = list_entries(params, "mlp", "optimizer", slow).entries
    raced = run(params, entries, repeats_for(params), racing=True)
    assert entries[0].setting == "sgd lr=1e-06"
    assert len(raced["sgd lr=1e-06"]) == len(raced["sgd lr=0.03"]) == REPEATS


def test_entries_with_equal_recipes_share_trials(params: Params, toy_study: Path) -> None:
    twins = tuple(Entry(name, name, params.baseline) for name in ("one", "other"))
    results = run(params, twins, repeats_for(params), racing=False)
    assert len(list((toy_study / "cache").iterdir())) == REPEATS
    assert results["one"] == results["other"]


def test_scores_are_nan_after_a_setting_was_stopped(params: Params, entries: Entries) -> None:
    results = run(params, entries, repeats_for(params), racing=True)
    first, slow, *_ = make_contenders(entries, results, REPEATS, 4)
    assert not np.isnan(first.scores).any()
    assert np.isnan(slow.scores[len(results[slow.setting]) :]).all()
    assert slow.scores[0] == results[slow.setting][0].score


def test_the_best_multiple_is_relative_to_the_first_learning_rate(entries: Entries) -> None:
    one_candidate = entries[:3]
    contenders = [
        Contender("sgd", entry.setting, np.array([score, score]))
        for entry, score in zip(one_candidate, (0.8, 0.7, 0.9), strict=True)
    ]
    assert best_multiple(Contest(one_candidate), contenders) == pytest.approx(0.01 / 0.03)
    failed = [replace(contender, diverged=True) for contender in contenders]
    assert best_multiple(Contest(one_candidate), failed) == 1.0


def test_the_tables_have_the_documented_columns(params: Params, entries: Entries) -> None:
    results = run(params, entries, repeats_for(params), racing=True)
    first, *others = make_contenders(entries, results, REPEATS, 4)
    verdict = judge_stage(first, others, val_to_train=0.25, risk=0.2, equal_within=0.0)
    trials = trials_table(verdict.evidence, results)
    curves = curves_table(results)
    assert list(trials.columns) == TRIALS
    assert list(curves.columns) == [*CURVES, "validation_accuracy"]
    stopped = trials.groupby("setting")["repeat"].transform("size") < REPEATS
    assert not (trials["raced_out"] & ~stopped).any()
    assert "sgd lr=1e-06" in trials.loc[stopped, "setting"].tolist()
    assert len(trials) == sum(len(runs) for runs in results.values())


def test_curves_are_means_over_repeats(params: Params, entries: Entries) -> None:
    results = run(params, entries[:1], repeats_for(params), racing=False)
    table = curves_table(results)
    assert table["epoch"].tolist() == [1, 2]
    assert set(table["setting"]) == {"sgd lr=0.03"}
    mean = np.mean([result.score for result in results["sgd lr=0.03"]])
    assert table["validation_accuracy"].iloc[-1] == pytest.approx(mean)


def test_a_stage_writes_the_documented_files(params: Params, toy_study: Path) -> None:
    slow = params.baseline.having("optimizer", Sgd(name="sgd", lr=1e-6))
    save_recipe(slow, toy_study / "before.yaml", "")
    columns = "stage,winner,verdict,accuracy,gain,low,high"
    (toy_study / "chain.csv").write_text(f"{columns}\nbaseline,baseline,kept,0.5,,,\n")
    start = ["--incumbent", "before.yaml", "--chain", "chain.csv"]
    assert run_stage("--stage", "optimizer", *start).wait() == 0
    plots = toy_study / "plots/mlp/optimizer"
    assert list(pd.read_csv(plots / "candidates.csv").columns) == CANDIDATES
    assert list(pd.read_csv(plots / "trials.csv").columns) == TRIALS
    assert pd.read_csv(plots / "chain.csv")["stage"].tolist() == ["baseline", "optimizer"]
    metrics = json.loads((toy_study / "metrics/mlp/optimizer.json").read_text())
    assert list(metrics) == METRICS


def test_parameters_and_seconds_are_printed(toy_study: Path) -> None:
    write_params()
    printed, _ = run_stage("--stage", "baseline", stdout=subprocess.PIPE).communicate()
    candidates = pd.read_csv(toy_study / "plots/mlp/baseline/candidates.csv")
    lines = [line.split() for line in printed.decode().splitlines()]
    head, row = (words for words in lines if words[:1] in (["setting"], ["baseline"]))
    assert head[-3:] == ["params", "s", "finding"]
    assert short(candidates["parameters"].item()) in " ".join(row)
    assert candidates["parameters"].item() > 28 * 28 * 16


def test_a_stage_whose_trials_are_all_cached_does_not_import_torch(
    toy_study: Path,
) -> None:
    write_params()
    chosen = Path("params.yaml").read_text()
    chosen = chosen.replace("precision: float32", "precision: auto")
    Path("params.yaml").write_text(chosen.replace("device: auto", "device: cpu"))
    command = [sys.executable, "-X", "importtime", str(ROOT / "stages/technique.py")]
    command += ["--model", "mlp", "--stage", "baseline"]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    assert run_stage("--stage", "baseline").wait() == 0
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert "pandas" in imported
    assert not {"torch", "sklearn"} & imported


def test_a_kept_incumbent_has_no_gain(toy_study: Path) -> None:
    write_params()
    assert run_stage("--stage", "baseline").wait() == 0
    metrics = json.loads((toy_study / "metrics/mlp/baseline.json").read_text())
    assert list(metrics) == ["accuracy", "verdict", "winner"]


def test_a_technique_without_candidates_is_not_explored(toy_study: Path) -> None:
    params = write_params(dropout=[])
    (only,) = list_entries(params, "mlp", "dropout", params.baseline).entries
    assert only.setting == "0.2"


def test_a_contest_of_one_setting_has_no_table(
    toy_study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = write_params(repeats=2, dropout=[])
    save_recipe(params.baseline, Path("before.yaml"), "")
    write_csv(pd.DataFrame([["baseline"] * 7], columns=CHAIN_COLUMNS), Path("chain.csv"))
    options = "--model mlp --stage dropout --incumbent before.yaml --chain chain.csv"
    monkeypatch.setattr(sys, "argv", ["technique.py", *options.split()])
    importlib.import_module("stages.technique").main()
    *_, last = capsys.readouterr().out.splitlines()[:-1]
    assert last == "kept: 0.2; no other setting to compare"
    assert len(pd.read_csv("plots/mlp/dropout/candidates.csv")) == 1


def test_times_name_the_hardware_and_precision(params: Params, entries: Entries) -> None:
    runner = make_runner(params)
    results = run(params, entries[:1], repeats_for(params), racing=False)
    times = times_table(results, runner.hardware)
    assert list(times.columns) == ["setting", "repeat", "train_seconds", "precision", "computer"]
    assert len(times) == REPEATS
    assert set(times["precision"]) == {"float32"}


def test_racing_gives_the_same_results_for_any_number_of_workers(
    params: Params, entries: Entries, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = run(params, entries, repeats_for(params), racing=True)
    monkeypatch.setenv("ABLATION_CACHE", str(tmp_path / "another"))
    two_workers = params.model_copy(
        update={"training": params.training.model_copy(update={"workers": 2})}
    )
    two = run(two_workers, entries, repeats_for(params), racing=True)
    assert scores(two) == scores(one)
    assert any(len(runs) < REPEATS for runs in one.values())


def test_a_setting_with_chance_accuracy_has_collapsed(params: Params, entries: Entries) -> None:
    results = run(params, entries[:2], repeats_for(params), racing=False)
    guessing = {setting: runs[:1] for setting, runs in results.items()}
    guessing[entries[1].setting] = [replace(results[entries[1].setting][0], score=0.25)]
    first, slow = make_contenders(entries[:2], guessing, REPEATS, classes=4)
    assert (first.collapsed, slow.collapsed) == (False, True)


@pytest.mark.parametrize(
    ("rates", "winner"), [([], None), ([{"name": "sgd", "lr": 0.03}], "sgd lr=0.03")]
)
def test_a_collapsed_setting_does_not_win_against_a_diverged_one(
    rates: list[dict[str, Any]],
    winner: str | None,
    toy_study: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At a rate of 50, Adam ends at exactly the chance accuracy of four classes; SGD diverges."""
    params = write_params(repeats=2, optimizer=[{"name": "adam", "lr": 50.0}, *rates])
    wild = params.baseline.having("optimizer", Sgd(name="sgd", lr=50.0)).having("batchnorm", False)
    save_recipe(wild, Path("before.yaml"), "")
    write_csv(pd.DataFrame([["baseline"] * 7], columns=CHAIN_COLUMNS), Path("chain.csv"))
    technique = importlib.import_module("stages.technique")
    options = "--model mlp --stage optimizer --incumbent before.yaml --chain chain.csv"
    monkeypatch.setattr(sys, "argv", ["technique.py", *options.split()])
    if winner is None:
        said = (
            "no setting of this stage trained to the end, so none can win: sgd lr=50 diverged, "
            "adam lr=50 collapsed; lower the learning rates in params.yaml"
        )
        with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
            technique.main()
        assert not Path("plots").exists() and not Path("metrics").exists()
        return
    technique.main()
    rows = pd.read_csv("plots/mlp/optimizer/candidates.csv").set_index("setting")
    assert list(rows.index[rows["role"] == "winner"]) == [winner]
    assert list(rows.index[rows["diverged"]]) == ["sgd lr=50"]
    assert list(rows.index[rows["collapsed"]]) == ["adam lr=50"]
    assert read_yaml(Path("data/recipes/mlp/optimizer.yaml"))["optimizer"]["lr"] == pytest.approx(
        0.03
    )


def test_a_single_repeat_gives_a_warning(
    toy_study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params(repeats=1)
    options = ["--model", "mlp", "--stage", "baseline"]
    monkeypatch.setattr(sys, "argv", ["technique.py", *options])
    importlib.import_module("stages.technique").main()
    said = " ".join(capsys.readouterr().out.split())
    assert "params.yaml: validation.repeats: 1: a single repeat does not show" in said
    assert "use at least 2, usually 5" in said
