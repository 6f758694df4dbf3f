"""The table of a contest, on numbers by hand."""

import importlib

import pandas as pd
import pytest

EVIDENCE = pd.DataFrame(
    {
        "setting": ["chain", "baseline", "random", "tpe"],
        "role": ["winner", "candidate", "candidate", "candidate"],  # of the verdict
        "accuracy": [0.84, 0.80, 0.83, 0.82],
        "finding": ["", "worse", "within the noise", "worse"],
    }
).reindex(
    columns=[
        *("setting", "role", "accuracy", "gain", "low", "high", "p_worse", "p_equal", "p_better"),
        *("finding", "diverged", "collapsed"),
    ]
)
CHOSEN = {"baseline": 0.81, "chain": 0.85, "tpe": 0.87, "random": 0.83}


@pytest.fixture
def table() -> pd.DataFrame:
    contest = importlib.import_module("stages.contest")
    made: pd.DataFrame = contest.contest_table(EVIDENCE, CHOSEN, "tpe")
    return made.set_index("entry")


def test_the_answer_was_declared_and_is_not_the_best(table: pd.DataFrame) -> None:
    assert table["role"].to_dict() == {
        "chain": "candidate", "baseline": "candidate", "random": "candidate", "tpe": "winner",
    }  # fmt: skip


def test_optimism_is_the_score_when_chosen_minus_the_fresh_one(table: pd.DataFrame) -> None:
    assert table["chosen"].to_dict() == CHOSEN
    assert table["optimism"].tolist() == pytest.approx([0.01, 0.01, 0.0, 0.05])
