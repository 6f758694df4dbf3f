"""A small study with made-up numbers: every file that the report reads."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablation.show.report import Study, write_pictures

MODELS = ("mlp", "cnn")
WINNERS = {
    "baseline": "baseline",
    "scheduler": "plateau factor=0.3 patience=2",
    "activation": "leaky_relu",
    "optimizer": "rmsprop lr=0.0003 alpha=0.99",
    "batchnorm": "true",
    "regularization": "l1=1e-06 l2=0",
    "dropout": "0.2",
}
BASELINE = {
    "scheduler": "constant", "activation": "relu", "optimizer": "adam lr=0.001",
    "batchnorm": "true", "regularization": "l1=0 l2=0.0001", "dropout": "0.3",
}  # fmt: skip
OTHERS = {
    "baseline": [],
    "scheduler": ["constant", "step every=0.33 gamma=0.3", "cosine", "onecycle"],
    "activation": ["relu", "elu", "gelu", "tanh"],
    "optimizer": ["sgd lr=0.1 momentum=0.9", "adam lr=0.001", "adamw lr=0.003", "adagrad lr=0.01",
                  "rmsprop lr=0.001 alpha=0.99", "asgd lr=0.1", "sgd lr=0.03 momentum=0.9"],
    "batchnorm": ["false"],
    "regularization": ["none", "l1=1e-05 l2=0", "l1=0 l2=1e-05", "l1=0 l2=0.0001"],
    "dropout": ["0.0", "0.4"],
}  # fmt: skip


def _csv(path: Path, rows: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


def _json(path: Path, numbers: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(numbers, indent=2) + "\n")


def _stages(root: Path, model: str, dice: np.random.Generator) -> list[dict[str, Any]]:
    score, chain = (0.83 if model == "mlp" else 0.88), []
    for technique, winner in WINNERS.items():
        first, kept = technique == "baseline", technique in ("batchnorm", "dropout")
        candidates: list[dict[str, Any]] = []
        for setting in [winner, *OTHERS[technique]]:
            mean = score + (0 if kept else 0.004) - (setting != winner) * dice.uniform(0.001, 0.02)
            gain = None if first else mean - score
            reach = dice.uniform(0.001, 0.004)
            role = "winner" if setting == winner else "candidate"
            candidates.append({
                "candidate": setting.split()[0], "setting": setting, "role": role, "mean": mean,
                "spread": 0.003, "gain": gain,
                "gain_low": None if gain is None else gain - reach,
                "gain_high": None if gain is None else gain + reach,
                "repeats": 5, "diverged": 0, "won_grid": True, "grid_edge": False,
                "raced_out": False, "train_seconds": 12.5,
            })  # fmt: skip
        _csv(root / f"plots/{model}/{technique}/candidates.csv", candidates)
        curves = [
            {
                "candidate": row["setting"], "epoch": epoch,
                "train_loss": 2.4 * epoch**-0.9, "validation_loss": 0.35 + 2.1 * epoch**-0.9,
                "train_accuracy": row["mean"] + 0.06 - 0.5 / epoch,
                "validation_accuracy": row["mean"] - 0.45 / epoch + 0.45 / 12,
            }
            for row in candidates for epoch in range(1, 13)
        ]  # fmt: skip
        _csv(root / f"plots/{model}/{technique}/curves.csv", curves)
        won = candidates[0]
        score = won["mean"]
        chain.append({
            "model": model, "technique": technique, "winner": winner,
            "verdict": "kept" if kept or first else "adopted", "val_accuracy": score,
            "gain": 0.0 if kept else won["gain"],
            "gain_low": None if kept else won["gain_low"],
            "gain_high": None if kept else won["gain_high"],
        })  # fmt: skip
    return chain


def _leave_one_out(root: Path, model: str, dice: np.random.Generator) -> None:
    rows: list[dict[str, Any]] = [
        {
            "technique": technique, "baseline_setting": BASELINE[technique],
            "final_setting": winner,
            "gain": 0.0 if technique == "batchnorm" else dice.normal(0.003, 0.004),
        }
        for technique, winner in WINNERS.items() if technique != "baseline"
    ]  # fmt: skip
    rows.append(
        {
            "technique": "all",
            "baseline_setting": "baseline",
            "final_setting": "final",
            "gain": 0.014,
        }
    )
    for row in rows:
        row |= {
            "gain_low": row["gain"] - 0.003,
            "gain_high": row["gain"] + 0.003,
        }
    _csv(root / f"plots/{model}/leave_one_out/gains.csv", [row | {"repeats": 5} for row in rows])


def _test_results(
    root: Path,
    model: str,
    classes: Sequence[str],
    images: np.ndarray,
    each: int,
    dice: np.random.Generator,
) -> dict[str, Any]:
    right = 0.84 if model == "mlp" else 0.89
    actual = np.repeat(np.array(classes), each)
    actual = actual[np.random.default_rng(5).permutation(len(actual))]
    places = np.array([list(classes).index(name) for name in actual])
    slips = (places + dice.choice([1, 2, len(classes) - 3], len(places))) % len(classes)
    predicted = np.where(dice.random(len(places)) < right, actual, np.array(classes)[slips])
    _csv(root / f"plots/{model}/test/predictions.csv", {
        "actual": actual, "predicted": predicted, "second": actual,
        "confidence": dice.uniform(0.3, 1, len(actual)).round(4),
    })  # fmt: skip
    bins = np.linspace(0.15, 0.95, 9)
    _csv(root / f"plots/{model}/test/reliability.csv", {
        "confidence": bins, "accuracy": bins - 0.05 + dice.normal(0, 0.01, 9),
        "count": (len(actual) * bins**6 / (bins**6).sum()).astype(int) + 3,
    })  # fmt: skip
    folder = root / f"data/evaluated/{model}"
    folder.mkdir(parents=True, exist_ok=True)
    answers = actual[:6].copy()
    answers[2] = next(name for name in classes if name != answers[2])
    np.savez(folder / "first_six.npz", images=images[:6], actual=actual[:6], predicted=answers)
    accuracy = float((actual == predicted).mean())
    result = {
        "accuracy": accuracy, "accuracy_low": accuracy - 0.0085, "accuracy_high": accuracy + 0.008,
        "top2": accuracy + 0.06, "precision": accuracy, "recall": accuracy, "f1": accuracy - 0.001,
        "seeds_mean": accuracy, "seeds_spread": 0.002, "calibration_error": 0.0321,
        "parameters": 575_663 if model == "mlp" else 421_167,
        "train_seconds": 31.2 if model == "mlp" else 402.7,
    }  # fmt: skip
    _json(root / f"metrics/{model}/test.json", result | {"predict_seconds": 1.2})
    return {"model": model} | result | {"images_per_second": 310_000 if model == "mlp" else 9_700}


def write_study(root: Path, classes: Sequence[str], each: int, seed: int = 0) -> None:
    """Every file the report reads, for `classes` with `each` test characters of every one."""
    dice = np.random.default_rng(seed)
    images = dice.integers(0, 256, (max(6, len(classes)), 28, 28), dtype=np.uint8)
    _csv(root / "data/classes.csv", {"index": range(len(classes)), "character": classes})
    _csv(
        root / "plots/data/class_counts.csv",
        {"character": classes, "train": 4 * each, "test": each},
    )
    (root / "data/prepared").mkdir(parents=True, exist_ok=True)
    np.savez(
        root / "data/prepared/samples.npz", images=images[: len(classes)],
        labels=np.arange(len(classes), dtype=np.uint8), classes=np.array(classes),
    )  # fmt: skip
    chain, models = [], []
    for model in MODELS:
        chain += _stages(root, model, dice)
        _leave_one_out(root, model, dice)
        models.append(_test_results(root, model, classes, images, each, dice))
    _csv(root / "plots/comparison/chain.csv", chain)
    _csv(root / "plots/comparison/models.csv", models)
    recall = dice.uniform(0.6, 0.98, len(classes))
    gains = dice.normal(0.05, 0.05, len(classes))
    _csv(root / "plots/comparison/classes.csv", {
        "class": classes, "mlp_recall": recall, "cnn_recall": recall + gains, "difference": gains,
    })  # fmt: skip
    _json(root / "metrics/comparison.json", {
        "mlp_accuracy": 0.84, "cnn_accuracy": 0.89, "difference": 0.0502, "difference_low": 0.0412,
        "difference_high": 0.0589, "mcnemar_p": 3e-12,
    })  # fmt: skip


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, classes=["0", "1", "A", "N", "b", "t", "q"], each=20)
    return folder


@pytest.fixture(scope="session")
def pictures(root: Path) -> list[Path]:
    return write_pictures(Study(root, dataset="glyphs"))
