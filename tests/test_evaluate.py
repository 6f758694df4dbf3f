"""What `evaluate` keeps for pictures."""

from pathlib import Path

import evaluate
import numpy as np
import pandas as pd

from ablation.data.characters import Characters

PREDICTIONS = pd.DataFrame(
    {
        "actual": [*"01AB"],
        "predicted": [*"0BBA"],
        "confidence": [0.99, 0.6, 0.9, 0.7],
    }
)


def test_the_worst_mistake_is_the_surest_one() -> None:
    assert [*evaluate.worst(PREDICTIONS).index] == [2, 3, 1]


def test_no_more_mistakes_are_kept_than_fit_into_the_picture() -> None:
    many = pd.concat([PREDICTIONS] * 9, ignore_index=True)
    assert len(evaluate.worst(many)) == evaluate.WORST == 12


def test_predictions_are_kept_with_their_own_images(toy: Characters, tmp_path: Path) -> None:
    evaluate.save_shown(toy, evaluate.worst(PREDICTIONS), tmp_path / "worst.npz")
    with np.load(tmp_path / "worst.npz") as kept:
        assert (kept["images"] == toy.images[[2, 3, 1]]).all()
        assert kept["actual"].tolist() == ["A", "B", "1"]
        assert kept["confidence"].tolist() == [0.9, 0.7, 0.6]
