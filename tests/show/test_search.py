"""The report of a search, from tables of a search that never ran."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ablation.base.files import write_csv, write_json
from ablation.data.datasets import DATASETS
from ablation.show.search import ANSWERS, Searched, answer, other_orders, settings_table
from ablation.show.study import Study

CHAIN = pd.DataFrame(
    {
        "stage": ["baseline", "dropout"],
        "accuracy": [0.80, 0.85],
        "score": [0.80, 0.85],
        "trainings": [2, 4],
        "spent": [0.5, 2.0],
    }
)
DRAWS = pd.DataFrame(
    {
        "dropout": ["0.2", "0.4", "0.4", "0.2", "0.4"],
        "score": [0.80, np.nan, 0.86, 0.70, 0.81],
        "first_look": [0.5, 0.02, 0.6, 0.4, 0.5],
        "diverged": False,
        "collapsed": [False, True, False, False, False],
        "cost": [0.4, 0.1, 0.4, 0.4, 0.4],
        "spent": [0.4, 0.5, 0.9, 1.3, 1.7],
        "best": [0.80, 0.80, 0.86, 0.86, 0.86],
    }
)


def searched(root: Path, finding: str, gain: float = -0.01) -> Searched:
    study = Study(root, ("mlp",), "emnist-mini", DATASETS["emnist-mini"])
    contest = pd.DataFrame(
        {
            "entry": ["chain", "baseline", "random"],
            "chosen": [0.85, 0.80, 0.86],
            "accuracy": [0.84, 0.80, 0.84 + gain],
            "optimism": [0.01, 0.0, 0.02 - gain],
            "gain": [0.0, -0.04, gain],
            "low": [np.nan, -0.06, gain - 0.005],
            "high": [np.nan, -0.02, gain + 0.005],
            "finding": ["", "worse", finding],
        }
    )
    write_csv(contest, root / "search/plots/mlp/contest/contest.csv")
    write_csv(DRAWS, root / "search/plots/mlp/random/draws.csv")
    write_json({"spent": 3.0}, root / "search/metrics/mlp/random.json")
    return Searched(study, ("random",), {"mlp": CHAIN})


@pytest.mark.parametrize("finding", ANSWERS)
def test_the_answer_follows_the_finding(finding: str, tmp_path: Path) -> None:
    first, *_ = answer(searched(tmp_path, finding), "mlp")
    said = ANSWERS[finding].partition(", {}")[0]
    assert first.startswith(f"For the MLP, {said}")
    failed = finding in ("diverged", "collapsed")
    assert ("-1.00 (-1.50 to -0.50)" in first) is not failed


def test_the_answer_says_what_was_spent_and_how_flattered_each_is(tmp_path: Path) -> None:
    _, costs, _, optimism = answer(searched(tmp_path, "worse"), "mlp")
    assert "The chain spent 2 PFLOP on 6 trainings" in costs
    assert "random 1.50 times as much (5 draws, 1 of them no better than guessing)" in costs
    assert "+1.00 for the chain's final recipe and +3.00 for the winner of random" in optimism
    assert "+0.00" in optimism.partition("baseline")[2]


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (0.85, "random reached it at 0.9 PFLOP (0.45 times the chain's cost)."),
        (0.86, "random reached it at 0.9 PFLOP (0.45 times the chain's cost)."),
        (0.87, "random did not within its budget, and ended 1.00 percentage points below."),
    ],
)
def test_the_answer_says_at_which_cost_the_search_caught_up(
    score: float, said: str, tmp_path: Path
) -> None:
    given = searched(tmp_path, "worse")
    given.costs["mlp"] = CHAIN.assign(score=[0.80, score])
    _, _, caught_up, _ = answer(given, "mlp")
    assert f"final recipe scores {100 * score:.2f} %: {said}" in caught_up
    assert caught_up.endswith("on fresh repeats, that of random gains -1.00.")


def test_settings_are_counted_among_the_best_draws_and_among_all(tmp_path: Path) -> None:
    """The best fifth of five draws is one."""
    table = settings_table(searched(tmp_path, "worse"), "mlp")
    assert "| dropout | `0.4` 100 % (60 %), `0.2` 0 % (40 %) |" in table


def test_other_orders_of_the_same_draws_end_at_the_same_best_score() -> None:
    costs, low, high = other_orders(DRAWS)
    assert costs[-1] == pytest.approx(DRAWS["cost"].sum())
    assert (low <= high).all()
    assert (np.diff(low) >= 0).all()
    assert low[-1] == high[-1] == 0.86
    assert low[0] == high[0] == 0


@pytest.mark.parametrize("suffix", ["md", "html"])
def test_the_report_of_the_study_links_to_that_of_the_search(suffix: str, reported: Study) -> None:
    assert f"../search/report.{suffix}" in (reported.root / f"plots/report.{suffix}").read_text()
