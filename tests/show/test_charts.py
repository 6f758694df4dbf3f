"""The charts' tables match those of the study, and outliers do not compress the rest."""

import numpy as np
import pandas as pd
import pytest

from ablation.show import charts
from ablation.show.report import write_charts
from ablation.show.study import Study
from ablation.show.style import FAMILIES, family_colours

CANDIDATES = pd.DataFrame(
    {
        "candidate": ["relu", "tanh", "gelu"],
        "setting": ["relu", "tanh", "gelu"],
        "role": ["incumbent", "candidate", "winner"],
        "accuracy": [0.80, 0.81, 0.82],
        "parameters": 160_799,
        "gain": [np.nan, 0.01, 0.02],
        "low": [np.nan, -0.005, 0.01],
        "high": [np.nan, 0.025, 0.03],
        "repeats": 5,
        "diverged": False,
        "won_grid": True,
        "grid_edge": False,
        "raced_out": False,
    }
)


def contenders(**changes: object) -> pd.DataFrame:
    """The chart of CANDIDATES, with changes to the second one."""
    table = CANDIDATES.assign(**{name: "" for name in changes if name not in CANDIDATES})
    rows = table.to_dict("records")
    rows[1] |= changes
    return charts.gains({"mlp": pd.DataFrame(rows)})


def lines(study: Study, technique: str, model: str) -> pd.DataFrame:
    table = charts.curves(
        study.tables(f"{technique}/candidates.csv"), study.tables(f"{technique}/curves.csv")
    )
    return table[table["model"] == model]


def test_a_family_has_the_colour_of_its_position() -> None:
    assert family_colours(["a", "b"]) == {"a": FAMILIES[0], "b": FAMILIES[1]}
    assert len(set(family_colours(f"family{place}" for place in range(6)).values())) == 6


def test_the_intervals_of_the_chain_are_relative_to_the_start_of_the_stage(study: Study) -> None:
    table = charts.chain(study.table("plots/comparison/chain.csv"))
    scheduler = table[table["name"] == "scheduler"].iloc[0]
    stage = study.table("plots/mlp/scheduler/candidates.csv").set_index("role").loc["winner"]
    assert scheduler["before"] == pytest.approx(0.84)
    assert scheduler["low"] == pytest.approx(0.84 + stage["low"])
    assert scheduler["said"].startswith("adopted, +0.40 [")


def test_a_stage_that_tested_nothing_has_a_bar_of_length_0(study: Study) -> None:
    table = charts.chain(study.table("plots/comparison/chain.csv"))
    kept = table[table["said"] == "kept"]
    assert list(kept["name"].unique()) == ["batchnorm", "dropout"]
    assert (kept["low"] == kept["high"]).all()


def test_the_incumbent_comes_first_and_the_rest_as_listed() -> None:
    table = contenders()
    assert list(table["name"]) == ["relu", "tanh", "gelu"]
    assert list(table["row"]) == [0, 1, 2]
    assert list(table["said"]) == [
        "incumbent", "+1.00 [-0.50, +2.50]", "+2.00 [+1.00, +3.00]"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"collapsed": True, "gain": -0.8}, "collapsed"),
        ({"diverged": True, "gain": np.nan}, "diverged"),
        ({"gain": -0.8, "low": -0.9, "high": -0.7}, "-80.00 [-90.00, -70.00]"),
    ],
)
def test_off_scale_marks_are_drawn_at_the_edge_with_a_label(
    changes: dict[str, object], said: str
) -> None:
    table = contenders(**changes).reset_index()
    assert table.loc[1, "said"] == said
    assert table.loc[1, "role"] == "outside"
    assert -0.01 < table.loc[1, "at"] < table.loc[1, "left"] <= table.loc[[0, 2], "start"].min()


def test_the_intervals_of_marks_on_scale_are_not_clipped() -> None:
    table = contenders(gain=-0.012, low=-0.045, high=0.021).reset_index()
    assert table.loc[1, "role"] == "candidate"
    assert list(table.loc[1, ["start", "at", "end"]]) == [-0.045, -0.012, 0.021]


def test_a_stopped_candidate_and_its_finding_are_labelled() -> None:
    reported = contenders(raced_out=True, repeats=3, finding="worse").iloc[1]["detail"]
    assert reported == "only 3 repeats, worse"


def test_parameters_are_shown_if_networks_differ_in_size() -> None:
    details = contenders(parameters=573_103)["detail"]
    assert list(details) == ["161 k parameters", "573 k parameters", "winner, 161 k parameters"]
    assert list(contenders()["detail"]) == ["", "", "winner"]


def worth(**changes: list[object]) -> pd.DataFrame:
    """leave_one_out/gains.csv of three techniques, of which only the last did not change."""
    columns: dict[str, list[object]] = {
        "technique": ["scheduler", "optimizer", "dropout", "all"],
        "baseline_setting": ["constant", "adam", "0.2", "baseline recipe"],
        "final_setting": ["cosine", "sgd", "0.2", "final recipe"],
        "gain": [-0.001, 0.02, np.nan, 0.03],
        "low": [-0.002, 0.01, np.nan, 0.02],
        "high": [0.0, 0.03, np.nan, 0.04],
        "failed": [False] * 4,
    }
    return pd.DataFrame(columns | changes)


def test_techniques_that_no_family_changed_are_omitted_in_the_order_of_the_chain() -> None:
    kept = worth(final_setting=["constant", "sgd", "0.2", "final recipe"], gain=[np.nan] * 4)
    rows = charts.worth_rows({"mlp": kept, "cnn": worth()})
    names = ["scheduler", "optimizer", "all changes"]
    assert [list(table["name"]) for table in rows.values()] == [names, names]
    assert list(rows["mlp"].loc[0, ["said", "detail", "role"]]) == [
        "unchanged", "constant", "unchanged"
    ]  # fmt: skip
    assert list(rows["cnn"]["said"])[:2] == ["-0.10 [-0.20, +0.00]", "+2.00 [+1.00, +3.00]"]
    assert list(rows["cnn"]["detail"])[1] == "adam → sgd"


def test_a_technique_without_which_training_fails_says_so() -> None:
    failed = worth(gain=[np.nan, 0.02, np.nan, 0.03], failed=[True, False, False, False])
    assert charts.worth_rows({"mlp": failed})["mlp"]["said"][0] == "fails without it"
    nothing = pd.DataFrame({"technique": [], "gain": [], "low": [], "high": []})
    pairs = nothing.assign(first="", second="")
    shares = charts.share_rows({"mlp": failed}, {"mlp": nothing}, {"mlp": pairs})["mlp"]
    assert shares["said"][0] == "unknown: a recipe failed"


def test_shares_come_before_the_total_and_interactions_after_it() -> None:
    parts = pd.DataFrame(
        {"technique": ["scheduler", "optimizer"], "gain": [-0.004, 0.034], "low": 0, "high": 0.05}
    )
    pairs = {"first": ["scheduler"], "second": ["optimizer"], "gain": [0.002]}
    pair = pd.DataFrame(pairs | {"low": [-0.001], "high": [0.005]})
    shares = {"mlp": parts, "cnn": parts}
    tables = charts.share_rows(
        {"mlp": worth(), "cnn": worth()}, shares, {"mlp": pair, "cnn": pair[:0]}
    )
    assert list(tables["mlp"]["name"]) == [
        "scheduler", "optimizer", "all changes", "scheduler x optimizer"
    ]  # fmt: skip
    assert list(tables["mlp"]["gain"]) == [-0.004, 0.034, 0.03, 0.002]
    assert list(tables["cnn"]["said"])[3] == ""


def test_a_family_without_a_learning_curve_has_no_panel(study: Study) -> None:
    candidates = study.tables("dropout/candidates.csv")
    epochs = study.tables("dropout/curves.csv")
    epochs["cnn"] = epochs["cnn"][epochs["cnn"]["epoch"] == 1]
    assert set(charts.curves(candidates, epochs)["model"]) == {"MLP", "RNN"}


def test_most_of_the_winners_epochs_are_in_the_panel(study: Study) -> None:
    table = lines(study, "dropout", "MLP")
    winner = table[table["role"] == "winner"]
    assert len(winner) >= 0.75 * 12


def test_the_ranks_of_classes_are_those_of_all_models_together() -> None:
    predictions = {
        "mlp": pd.DataFrame({"actual": [*"ABBC"], "predicted": [*"AACC"]}),
        "cnn": pd.DataFrame({"actual": [*"ABC"], "predicted": [*"ABB"]}),
    }
    table = charts.confusion(predictions)
    alone = table[table["actual"] == table["predicted"]].set_index(["model", "actual"])["rank"]
    assert dict(alone["MLP"]) == {"A": 2, "C": 1}
    assert dict(alone["CNN"]) == {"A": 2, "B": 0}


def test_the_number_of_lines_is_limited(study: Study) -> None:
    table = lines(study, "optimizer", "MLP")
    assert table["name"].nunique() == 8
    assert {"winner", "incumbent"} <= set(table["role"])
    assert table.groupby("name")["colour"].nunique().eq(1).all()


def test_only_the_best_of_a_candidates_grid_has_a_line() -> None:
    table = pd.concat([CANDIDATES, CANDIDATES[1:2].assign(setting="tanh 2", won_grid=False)])
    epochs = pd.DataFrame(
        {"setting": np.repeat(table["setting"], 2), "epoch": [1, 2] * 4, "validation_accuracy": 0.8}
    )
    shown = charts.curves({"mlp": table.reset_index(drop=True)}, {"mlp": epochs})
    assert list(shown["name"].unique()) == ["relu", "tanh", "gelu"]


def test_each_models_lines_end_at_its_own_last_epoch(study: Study) -> None:
    ends = {model: lines(study, "activation", model)["epoch"].max() for model in ("MLP", "CNN")}
    assert ends == {"MLP": 12, "CNN": 8}


def test_a_collapsed_line_does_not_stretch_its_panel(study: Study) -> None:
    table = lines(study, "activation", "MLP")
    collapsed = table[table["name"] == "tanh"]
    assert table["at"].min() > 0.7
    assert (collapsed["at"] == table["at"].min()).all()
    assert collapsed["label"].iloc[-1] == "tanh collapsed"


def test_a_diverged_setting_is_named_without_a_line(study: Study) -> None:
    assert "off diverged" in set(lines(study, "batchnorm", "CNN")["label"])


def test_the_labels_of_lines_do_not_overlap(study: Study) -> None:
    table = lines(study, "optimizer", "CNN")
    places = table.loc[table["label"] != "", "label_at"].sort_values()
    panel = table["at"].max() - table["at"].min()
    assert places.diff().min() > 0.05 * panel


def test_shares_of_a_true_class_add_up_to_one(study: Study) -> None:
    table = charts.confusion(study.tables("test/predictions.csv"))
    assert np.allclose(table.groupby(["model", "actual"])["share"].sum(), 1)


def test_every_stage_has_its_charts_in_the_order_of_the_chain(study: Study) -> None:
    written = [path.relative_to(study.root).as_posix() for path in write_charts(study)]
    curves = sorted(name for name in written if "/curves/" in name)
    gains = sorted(name for name in written if "/gains/" in name)
    assert curves[:2] == [
        "plots/charts/curves/0-baseline.csv",
        "plots/charts/curves/1-scheduler.csv",
    ]
    assert gains[-1] == "plots/charts/gains/6-dropout.csv"
    assert len(written) == 7 + 6 + 4


def test_every_chart_carries_its_title_and_the_note(study: Study) -> None:
    for path in write_charts(study):
        table = pd.read_csv(path)
        assert set(table["note"]) == {study.note}
        assert table["title"].nunique() == 1
