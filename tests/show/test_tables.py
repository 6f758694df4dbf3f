"""Tables say what the study's tables say, in Markdown."""

import pandas as pd
import pytest

from ablation.show import tables
from ablation.show.study import Study


def rows(table: str) -> list[list[str]]:
    """The cells of each row below the heads."""
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def test_a_ranking_is_by_gain_with_failed_settings_last(study: Study) -> None:
    ranking = rows(tables.every_setting(study, "activation", "mlp"))
    assert ranking[0][0] == "`leaky_relu`"
    assert ranking[0][-1] == "winner"
    assert ranking[-1][:1] + ranking[-1][2:3] == ["`tanh`", "collapsed"]
    assert len(ranking) == 5


def test_a_ranking_shows_the_cost_of_each_setting(study: Study) -> None:
    head, *_ = tables.every_setting(study, "activation", "mlp").splitlines()
    heads = head.strip("| ").split(" | ")
    for row in rows(tables.every_setting(study, "activation", "mlp")):
        said = dict(zip(heads, row, strict=False))
        assert said["parameters"].endswith("k") and said["seconds"] == "90.0"


def test_shares_come_first_then_the_total_then_pairs(study: Study) -> None:
    names = [row[0] for row in rows(tables.shares(study))]
    whole = names.index("all changes")
    assert whole > 0 and not any(" x " in name for name in names[:whole])
    assert names[whole + 1 :] and all(" x " in name for name in names[whole + 1 :])


def test_agreement_uses_display_names(study: Study) -> None:
    said = {row[0] for row in rows(tables.agreement(study))}
    assert "only CNN and RNN right" in said
    assert not any("cnn" in outcome for outcome in said)


def test_only_the_best_setting_of_each_candidate_is_ranked(study: Study) -> None:
    best, every = (
        [row[0] for row in rows(ranking(study, "optimizer", "mlp"))]
        for ranking in (tables.best_of_each, tables.every_setting)
    )
    assert set(best) < set(every)
    assert {"`adam lr=0.001`", "`rmsprop lr=0.0003 alpha=0.99`"} <= set(best)
    assert "`adam lr=0.003`" not in best  # the incumbent speaks for adam
    assert len([name for name in best if name.startswith("`sgd")]) == 1


@pytest.mark.parametrize(
    ("low", "said"), [(0.001, "**+1.00 (+0.10 to +3.00)**"), (-0.001, "+1.00 (-0.10 to +3.00)")]
)
def test_a_gain_is_bold_if_its_interval_is_above_zero(low: float, said: str) -> None:
    row = pd.Series({"gain": 0.01, "low": low, "high": 0.03})
    assert tables.gain_with_interval(row) == said
