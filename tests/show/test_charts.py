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
    assert scheduler["said"].startswith("adopted, +0.40 points [")


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
        "incumbent", "+1.00 points [-0.50, +2.50]", "+2.00 points [+1.00, +3.00]"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"collapsed": True, "gain": -0.8}, "collapsed"),
        ({"diverged": True, "gain": np.nan}, "diverged"),
        ({"gain": -0.8, "low": -0.9, "high": -0.7}, "-80.00 points [-90.00, -70.00]"),
    ],
)
def test_off_scale_marks_are_drawn_at_the_edge_with_a_label(
    changes: dict[str, object], said: str
) -> None:
    table = contenders(**changes).reset_index()
    assert table.loc[1, "said"] == said
    assert table.loc[1, "role"] == "outside"
    assert -0.01 < table.loc[1, "at"] < table.loc[[0, 2], "start"].min()


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


def test_an_untested_technique_is_unchanged_and_has_no_mark(study: Study) -> None:
    table = charts.leave_one_out(study.tables("leave_one_out/gains.csv"))
    rows = table[table["model"] == "CNN"].set_index("name")
    assert list(rows.index[[0, -1]]) == ["scheduler", "all changes"]
    assert rows.loc["batchnorm", "said"] == rows.loc["batchnorm", "role"] == "unchanged"
    assert rows.loc["activation", "detail"] == "relu → leaky_relu"


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
    assert len(written) == 7 + 6 + 3


def test_a_long_chain_keeps_its_order() -> None:
    names = charts.file_names([f"stage{place}" for place in range(12)])
    assert names == sorted(names)
    assert names[2] == "02-stage2"


def test_every_chart_carries_its_title_and_the_note(study: Study) -> None:
    for path in write_charts(study):
        table = pd.read_csv(path)
        assert set(table["note"]) == {study.note}
        assert table["title"].nunique() == 1
