"""Which stages of the chain a study tells of, and what became of a technique in the end."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ablation.base.errors import UserError
from ablation.show import tables
from ablation.show.answer import group_techniques
from ablation.show.report import write_charts
from ablation.show.story import write_report
from ablation.show.study import Study
from tests.show.conftest import add_round, reread

STAYS = [{"setting": "0.2", "role": "winner"}]
LEFT = {"setting": "l1=1e-06", "role": "incumbent"}
BACK = {"setting": "l2=0.0001", "role": "winner", "gain": -0.001, "low": -0.003, "high": 0.001}


@pytest.fixture
def other(reported: Study, tmp_path: Path) -> Study:
    """A copy to change."""
    shutil.copytree(reported.root, tmp_path / "other")
    return replace(reported, root=tmp_path / "other")


def of_each(study: Study, settings: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return dict.fromkeys(study.models, settings)


def test_a_later_round_in_which_no_family_tried_anything_is_left_out(other: Study) -> None:
    before = other.stages()
    add_round(other, "backward/dropout", of_each(other, STAYS))
    assert other.stages() == before
    assert set(other.chain()["stage"]) == set(before)


def test_a_chart_has_the_name_of_its_place_in_the_whole_chain(other: Study) -> None:
    tried = [{"setting": "0.2", "role": "winner"}, {"setting": "0.1", "role": "candidate"}]
    add_round(other, "backward/dropout", of_each(other, STAYS))
    add_round(other, "dropout_again", of_each(other, [s | {"gain": -0.01} for s in tried]))
    write_charts(other)
    written = {path.stem for path in (other.root / "plots/charts/gains").iterdir()}
    assert "8-dropout_again" in written
    assert "7-backward-dropout" not in written


def test_the_names_of_the_charts_of_a_long_chain_sort_in_its_order(other: Study) -> None:
    for round_ in range(4):
        add_round(other, f"dropout_again{round_ + 1}", of_each(other, STAYS))
    names = [*other.chart_names().values()]
    assert names == sorted(names)
    assert (names[2], names[10]) == ("02-activation", "10-dropout_again4")


def test_changes_are_the_stages_in_which_a_family_left_its_incumbent(other: Study) -> None:
    assert [*other.changes()["stage"].unique()] == [
        "baseline", "scheduler", "activation", "optimizer", "regularization"
    ]  # fmt: skip
    assert len(other.changes()) == 5 * len(other.models)


def test_a_first_round_without_other_settings_is_reported(other: Study) -> None:
    add_round(other, "epochs", of_each(other, [{"setting": "1x", "role": "winner"}]))
    assert other.stages()[-1] == "epochs"


def test_a_later_round_of_one_family_is_reported_for_all(other: Study) -> None:
    tried = [{"setting": "0.2", "role": "winner"}, {"setting": "0.1", "role": "candidate"}]
    add_round(other, "dropout_again", of_each(other, STAYS) | {"cnn": tried})
    assert other.stages()[-1] == "dropout_again"
    assert len(other.chain()) == len(other.models) * len(other.stages())


def test_a_table_is_read_once_and_protected_from_changes(other: Study) -> None:
    first = other.table("data/classes.csv")
    (other.root / "data/classes.csv").unlink()
    first["character"] = "?"
    assert "?" not in other.classes()


def test_a_copy_with_another_root_reads_its_own_files(study: Study, tmp_path: Path) -> None:
    assert len(study.table("data/classes.csv")) == len(study.classes())
    with pytest.raises(UserError, match=r"^data/classes\.csv: "):
        replace(study, root=tmp_path).classes()


def test_a_technique_explored_twice_is_listed_once(other: Study) -> None:
    before = reread(other).techniques()
    add_round(other, "regularization_again", of_each(other, [LEFT, BACK]))
    assert other.techniques() == before
    assert other.last_stage("mlp", "regularization") == "regularization_again"
    assert other.last_stage("mlp", "dropout") == "dropout"


def test_curves_of_the_final_recipe_are_those_of_the_last_stage(other: Study) -> None:
    add_round(other, "backward/dropout", of_each(other, STAYS))
    assert set(other.winner_curves("mlp")["epoch"]) == {1, 2}


def test_gains_of_the_others_are_over_the_winner_that_replaced_the_incumbent() -> None:
    plain = {"candidate": "step", "low": -0.01, "high": 0.01, "role": "candidate"}
    rows = [
        plain | {"setting": "step lr=0.1", "gain": 0.0, "role": "incumbent"},
        plain | {"setting": "constant lr=0.1", "gain": 0.02},
        plain | {"setting": "constant lr=0.3", "gain": 0.04, "low": 0.03, "high": 0.05}
        | {"role": "winner"},
        plain | {"setting": "onecycle lr=0.1", "gain": 0.03},
    ]  # fmt: skip
    scores = {"step lr=0.1": 0.8, "constant lr=0.1": 0.82, "constant lr=0.3": 0.84}
    trials = [
        {"setting": s, "repeat": r, "score": v + r / 10} for r in (0, 1) for s, v in scores.items()
    ]
    trials.append({"setting": "onecycle lr=0.1", "repeat": 1, "score": 0.93})
    others = tables.others_of(pd.DataFrame(rows), pd.DataFrame(trials)).set_index("setting")
    assert list(others.index) == ["step lr=0.1", "onecycle lr=0.1"]
    assert others.loc["step lr=0.1", ["gain", "low", "high"]].tolist() == [-0.04, -0.05, -0.03]
    assert others.loc["onecycle lr=0.1", "gain"] == pytest.approx(-0.01)
    assert others.loc["onecycle lr=0.1", ["low", "high"]].isna().all()


def test_gains_of_the_others_over_a_kept_incumbent_are_those_of_the_stage() -> None:
    rows = [
        {"setting": "0.2", "role": "winner", "gain": 0.0, "low": None, "high": None},
        {"setting": "0.4", "role": "candidate", "gain": -0.02, "low": -0.03, "high": -0.01},
    ]
    others = tables.others_of(pd.DataFrame(rows), pd.DataFrame()).set_index("setting")
    assert others.loc["0.4", ["gain", "low", "high"]].tolist() == [-0.02, -0.03, -0.01]


def test_a_winner_tried_at_other_learning_rates_alone_is_said_to_be(other: Study) -> None:
    for model in other.models:
        path = other.root / f"plots/{model}/dropout/candidates.csv"
        rows = pd.read_csv(path, dtype=str).head(2)
        rows["setting"], rows["role"] = ["0.2 lr=0.1", "0.2 lr=0.3"], ["winner", "candidate"]
        rows.to_csv(path, index=False)
    assert "kept; only other learning rates were tried" in tables.answer(other)
    assert "kept; nothing else was tried" not in tables.answer(other)


def test_a_technique_reset_by_a_later_round_counts_as_kept(other: Study) -> None:
    add_round(other, "backward/regularization", of_each(other, [LEFT, BACK]))
    path = other.root / "plots/mlp/leave_one_out/gains.csv"
    worth = pd.read_csv(path, dtype=str).set_index("technique", drop=False)
    settings = ["baseline_setting", "final_setting"]
    worth.loc["regularization", [*settings, "gain", "low", "high"]] = ["l2=0.0001"] * 2 + [""] * 3
    worth.to_csv(path, index=False)
    assert "regularization" in group_techniques(other, "mlp")["kept"]
    assert "`l2=0.0001` kept; `l1=1e-06`: +0.10 (-0.10 to +0.30)" in tables.answer(other)


def test_later_rounds_are_reported_as_such(other: Study) -> None:
    add_round(other, "backward/regularization", of_each(other, [LEFT, BACK]))
    stays = [{"setting": "0.2", "role": "winner"}, {"setting": "0.1", "role": "candidate"}]
    add_round(other, "dropout_again", of_each(other, [s | {"gain": -0.01} for s in stays]))
    add_round(other, "backward/activation", of_each(other, STAYS))
    write_charts(other)
    text = write_report(other)[0].read_text()
    assert "<summary>Backward: regularization</summary>" in text
    assert "<summary>Dropout again</summary>" in text
    assert "<summary>Backward: activation</summary>" not in text
    assert (
        "The MLP adopted `l2=0.0001` in place of `l1=1e-06`: -0.10 (-0.30 to +0.10) points, for "
        "an accuracy of 85.00 %. The 0.10 points more are within the noise, so the simplest wins."
    ) in text
    assert (
        "The CNN kept `0.2`: the simplest setting that is within the stage's tolerance of the best."
    ) in text
    assert "| dropout_again |" in text
