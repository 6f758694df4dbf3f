"""The report of a search, from tables of a search that never ran."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ablation.base.errors import UserError
from ablation.base.files import write_csv, write_json
from ablation.data.datasets import DATASETS
from ablation.show.search import (
    ANSWERS,
    SearchFiles,
    answer,
    contest_table,
    cost_table,
    other_seeds,
    settings_table,
    write_search_report,
)
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
        "score": [0.80, np.nan, 0.86, 0.02, 0.81],
        "first_look": [0.5, 0.02, 0.6, 0.4, 0.5],
        "diverged": [False, False, False, True, False],
        "collapsed": [False, True, False, False, False],
        "learning_rate": [0.001, 1.0, 0.003, 0.01, 0.002],
        "cost": [0.4, 0.1, 0.4, 0.4, 0.4],
        "spent": [0.4, 0.5, 0.9, 1.3, 1.7],
        "best": [0.80, 0.80, 0.86, 0.86, 0.86],
    }
)


# The beginning of each answer, so that no finding gets that of another.
SAID = {
    "better": "the search is better. Its answer gains -1.00",
    "worse": "the chain is better. The search's answer gains -1.00",
    "practically equal": "both are equal. The search's answer gains -1.00",
    "within the noise": "undecided. The search's answer gains -1.00",
    "unsteady": "undecided. The search's answer gains -1.00",
    "unknown": "undecided. The search's answer gains -1.00",
    "diverged": "the chain is better. The search's answer diverged on a fresh repeat.",
    "collapsed": "the chain is better. The search's answer collapsed on fresh repeats.",
    "chain failed": "the search is better. The chain's final recipe failed on fresh repeats",
    "both failed": "undecided. Both final recipes failed on fresh repeats.",
}
LOST = {"diverged", "both failed"}


def searched(root: Path, finding: str, gain: float = -0.01) -> SearchFiles:
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
            "role": ["incumbent", "candidate", "winner"],
            "finding": ["", "worse", "diverged" if finding == "both failed" else finding],
            "diverged": [finding.endswith(" failed"), False, finding in LOST],
            "collapsed": [False, False, finding == "collapsed"],
        }
    )
    write_csv(contest, root / "search/plots/mlp/contest/contest.csv")
    write_csv(DRAWS, root / "search/plots/mlp/random/draws.csv")
    numbers = {"spent": 3.0, "finalists": 4, "finalists_paid": 2}
    write_json(numbers, root / "search/metrics/mlp/random.json")
    return SearchFiles(study, ("random",), {"mlp": CHAIN}, {"mlp": (72, 24)})


@pytest.mark.parametrize("finding", ANSWERS)
def test_the_answer_follows_the_finding(finding: str, tmp_path: Path) -> None:
    assert answer(searched(tmp_path, finding), "mlp").startswith(f"MLP: {SAID[finding]}")


def test_the_answer_says_what_was_spent_and_how_optimistic_each_score_was(tmp_path: Path) -> None:
    said = answer(searched(tmp_path, "worse"), "mlp")
    assert (
        "The search spent 1.50 times the chain's cost. On the first repeat, the best of its draws "
        "scores 86.00 %; the chain scored 85.00 % at the end, which the search reached at 0.45 "
        "times the chain's cost. The optimism, " in said
    )
    assert said.endswith(
        "The optimism, the score when chosen minus the fresh score, is +3.00 for the search's "
        "answer and +1.00 for the chain's final recipe."
    )


@pytest.mark.parametrize(
    ("spent", "said"),
    [
        (0.4, "85.00 % at the end"),
        (0.5, "80.00 % at that cost and 85.00 % at the end"),
        (1.9, "80.00 % at that cost and 85.00 % at the end"),
        (2.0, "85.00 % at the end"),
    ],
)
def test_the_answer_compares_scores_at_equal_cost(spent: float, said: str, tmp_path: Path) -> None:
    given = searched(tmp_path, "worse")
    numbers = {"spent": spent, "finalists": 4, "finalists_paid": 2}
    write_json(numbers, tmp_path / "search/metrics/mlp/random.json")
    assert f"scores 86.00 %; the chain scored {said}, which" in answer(given, "mlp")


@pytest.mark.parametrize(
    ("score", "reached"),
    [
        (0.85, "at 0.45 times the chain's cost"),
        (0.86, "at 0.45 times the chain's cost"),
        (0.87, ""),
    ],
)
def test_the_cost_at_which_the_search_caught_up(score: float, reached: str, tmp_path: Path) -> None:
    given = searched(tmp_path, "worse")
    given.costs["mlp"] = CHAIN.assign(score=[0.80, score])
    said = f"reached {reached}" if reached else "did not reach"
    assert f"{100 * score:.2f} % at the end, which the search {said}. " in answer(given, "mlp")
    spent = "3, 1.50 times the chain's cost"
    assert cost_table(given, "mlp").splitlines()[2:] == [
        f"| chain | 2 | 6 trainings |  | {100 * score:.2f} % |  |",
        f"| random | {spent} | 5 draws, 2 failed | 2 of 4 | 86.00 % | {reached or 'not reached'} |",
    ]


@pytest.mark.parametrize("finding", ["diverged", "collapsed"])
def test_a_winner_that_fails_on_fresh_repeats_has_no_gain(finding: str, tmp_path: Path) -> None:
    given = searched(tmp_path, finding)
    assert "is unknown for the search's answer and +1.00 for" in answer(given, "mlp")
    row = next(line for line in contest_table(given, "mlp").splitlines() if "random" in line)
    assert row == f"| **random** | 86.00 % | 83.00 % |  | {finding} |"


def test_there_is_no_gain_over_a_chain_that_failed(tmp_path: Path) -> None:
    table = contest_table(searched(tmp_path, "chain failed"), "mlp")
    rows = {line.split(" | ")[0]: line.split(" | ")[-1] for line in table.splitlines()}
    assert rows["| **random**"] == rows["| baseline"] == "not comparable |"
    assert rows["| chain"] == "diverged |"


def test_the_contest_is_told_with_gains_over_the_chain(tmp_path: Path) -> None:
    table = contest_table(searched(tmp_path, "worse"), "mlp").splitlines()
    assert table[2:] == [
        "| chain | 85.00 % | 84.00 % | +1.00 |  |",
        "| baseline | 80.00 % | 80.00 % | +0.00 | -4.00 (-6.00 to -2.00), worse |",
        "| **random** | 86.00 % | 83.00 % | +3.00 | -1.00 (-1.50 to -0.50), worse |",
    ]


def test_settings_are_counted_among_the_best_draws_and_among_all(tmp_path: Path) -> None:
    """The best fifth of 25 draws is five times the best draw."""
    given = searched(tmp_path, "worse")
    write_csv(pd.concat([DRAWS] * 5), tmp_path / "search/plots/mlp/random/draws.csv")
    table = settings_table(given, "mlp")
    assert "| dropout | `0.4` 100 % (60 %), `0.2` 0 % (40 %) |" in table
    rates = "median 0.003, quartiles 0.003 and 0.003 (median 0.003, quartiles 0.002 and 0.01)"
    assert f"| learning rate | {rates} |" in table


def test_few_draws_are_not_compared(tmp_path: Path) -> None:
    assert settings_table(searched(tmp_path, "worse"), "mlp") == "5 draws are too few to compare."


def test_other_seeds_may_miss_the_best_draw() -> None:
    """Of five draws with replacement, a third of the searches lacks the best one."""
    costs, low, high = other_seeds(DRAWS)
    assert costs[-1] == pytest.approx(DRAWS["cost"].sum())
    assert (low <= high).all()
    assert (np.diff(low) >= 0).all()
    assert 0.80 <= low[-1] < high[-1] == 0.86
    assert low[0] == high[0] == 0


def test_the_report_has_its_pictures_and_the_chain_beside_the_search(
    reported: Study, tmp_path: Path
) -> None:
    """The search's leave-one-out and test are those of the study here."""
    for name in ("plots", "metrics", ".dvc"):
        shutil.copytree(reported.root / name, tmp_path / name)
    for name in ("plots/mlp/leave_one_out", "plots/mlp/test", "metrics/mlp"):
        shutil.copytree(reported.root / name, tmp_path / "search" / name)
    correct = pd.DataFrame({f"final {seed}": np.arange(20) > seed for seed in (1, 2)})
    for root in (tmp_path, tmp_path / "search"):
        write_csv(correct, root / "plots/mlp/test/correct.csv")
    report, page = write_search_report(searched(tmp_path, "worse"))
    text = report.read_text()
    assert text.count("| technique | MLP: search | MLP: chain |") == 2
    assert text.count("\n| all changes |") == 2
    assert {path.name for path in (report.parent / "plots/pictures").iterdir()} == {
        "cost.png", "leave_one_out.png",
    }  # fmt: skip
    assert page.read_text().count("data:image/png") == 2


def test_a_missing_file_of_the_search_names_its_pipeline(tmp_path: Path) -> None:
    given = searched(tmp_path, "worse")
    (tmp_path / "search/plots/mlp/contest/contest.csv").unlink()
    with pytest.raises(UserError, match=r"`dvc repro search/dvc\.yaml:contest@mlp` creates it"):
        given.contest("mlp")


@pytest.mark.parametrize("suffix", ["md", "html"])
def test_the_report_of_the_study_links_to_that_of_the_search(suffix: str, reported: Study) -> None:
    assert f"../search/report.{suffix}" in (reported.root / f"plots/report.{suffix}").read_text()
