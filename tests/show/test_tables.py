"""Tables say what the study's tables say, in Markdown."""

import pandas as pd
import pytest

from ablation.show import tables
from ablation.show.study import Study
from tests.show.conftest import reread


def rows(table: str) -> list[list[str]]:
    """The cells of each row below the heads."""
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def test_a_ranking_is_by_gain_with_failed_settings_last(study: Study) -> None:
    ranking = rows(tables.every_setting(study, "activation", "mlp"))
    assert ranking[0][0] == "`leaky_relu`, winner"
    assert ranking[-1][:1] + ranking[-1][2:3] == ["`tanh`", "collapsed"]
    assert len(ranking) == 5


def test_a_ranking_shows_the_cost_of_each_setting(study: Study) -> None:
    assert {row[-1] for row in rows(tables.every_setting(study, "activation", "mlp"))} == {"90.0"}


def test_a_ranking_shows_parameters_if_networks_differ_in_size(reported: Study) -> None:
    path = reported.root / "plots/mlp/dropout/candidates.csv"
    before = path.read_text()
    ranking = tables.every_setting(reported, "dropout", "mlp")
    path.write_text(before.replace("575663", "575664", 1))
    sized = tables.every_setting(reread(reported), "dropout", "mlp")
    path.write_text(before)
    assert "| parameters |" not in ranking
    assert "| parameters |" in sized and "576 k" in sized


def test_shares_come_first_then_the_total_then_pairs(study: Study) -> None:
    names = [row[0] for row in rows(tables.shares(study))]
    whole = names.index("all changes")
    assert whole > 0 and not any(" x " in name for name in names[:whole])
    assert names[whole + 1 :] and all(" x " in name for name in names[whole + 1 :])


def test_agreement_uses_display_names(study: Study) -> None:
    said = {row[0] for row in rows(tables.agreement(study))}
    assert "only CNN and RNN correct" in said
    assert not any("cnn" in outcome for outcome in said)


@pytest.mark.parametrize(
    ("low", "said"), [(0.001, "**+1.00 (+0.10 to +3.00)**"), (-0.001, "+1.00 (-0.10 to +3.00)")]
)
def test_a_gain_is_bold_if_its_interval_is_above_zero(low: float, said: str) -> None:
    row = pd.Series({"gain": 0.01, "low": low, "high": 0.03})
    assert tables.gain_with_interval(row) == said
