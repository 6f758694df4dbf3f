"""What `evaluate` prints, and the predictions that it saves for figures."""

from pathlib import Path

import evaluate
import numpy as np
import pandas as pd
import pytest

from ablation.data.characters import Characters

PREDICTIONS = pd.DataFrame(
    {
        "actual": [*"01AB"],
        "predicted": [*"0BBA"],
        "confidence": [0.99, 0.6, 0.9, 0.7],
    }
)


def test_a_long_list_of_classes_is_truncated_and_counted() -> None:
    assert evaluate.class_list(["a b", "c"]) == "a b c"
    said = evaluate.class_list([str(number) for number in range(1000)])
    assert said.endswith(" 60 61 ... (1000 classes)")


def test_markup_in_a_name_is_printed_literally(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ["[/b]", "[red]"]
    guesses = pd.DataFrame({"actual": names, "predicted": names[::-1], "confidence": 0.9})
    guesses["second"] = guesses["actual"]
    tables = evaluate.test_tables(guesses, tuple(names))
    details = dict.fromkeys(["seeds_mean", "seeds_spread", "baseline_mean", "baseline_spread"], 0.5)
    details |= {"top2": 1.0, "temperature": 2.0, "parameters": 9}
    for score in ("calibration_error", "brier_score", "log_likelihood"):
        details |= {score: 0.1, f"{score}_before": 0.2}
    tables["details"] = pd.DataFrame([details])
    numbers = dict.fromkeys(["accuracy", "low", "high", "precision", "recall", "f1"], 0.0)
    times = pd.DataFrame([{"train_seconds": 1.0, "images_per_second": 1.0}])
    gain = {"gain": 0.0, "low": 0.0, "high": 0.0}
    evaluate.show(numbers, gain, tables, times, guesses, "pictures")
    printed = capsys.readouterr().out
    assert "with the number of errors: [/b]/[red] 2" in printed
    assert "the first 2 test pictures, actual as predicted: [/b] as [red], [red] as [/b]" in printed


def test_mistakes_are_ordered_by_confidence() -> None:
    assert [*evaluate.worst(PREDICTIONS).index] == [2, 3, 1]


def test_the_number_of_saved_mistakes_is_limited() -> None:
    many = pd.concat([PREDICTIONS] * 9, ignore_index=True)
    assert len(evaluate.worst(many)) == evaluate.WORST == 12


def test_predictions_are_saved_with_their_images(toy: Characters, tmp_path: Path) -> None:
    evaluate.save_predictions(toy, evaluate.worst(PREDICTIONS), tmp_path / "worst.npz")
    with np.load(tmp_path / "worst.npz") as saved:
        assert (saved["images"] == toy.images[[2, 3, 1]]).all()
        assert saved["actual"].tolist() == ["A", "B", "1"]
        assert saved["confidence"].tolist() == [0.9, 0.7, 0.6]
