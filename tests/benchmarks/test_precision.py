from pathlib import Path

import pytest
from precision import compare

from ablation.data.splits import make_repeats
from ablation.params import load_params
from ablation.trial.recipe import MlpSpec

ROOT = Path(__file__).parents[2]


def test_difference_is_paired_with_its_interval(toy_study: Path) -> None:
    params = load_params(ROOT / "params.yaml")
    small = MlpSpec(hidden=(8, 8, 8), epochs=2)
    models = params.models.model_copy(update={"mlp": small})
    training = params.training.model_copy(update={"batch_size": 20, "workers": 1})
    params = params.model_copy(update={"models": models, "training": training})
    repeats = make_repeats(0, "shuffle", 0.25, 3)
    row = compare(params, "mlp", toy_study / "data/prepared/train.npz", repeats)
    assert row["difference"] == pytest.approx(row["bf16"] - row["float32"], abs=1e-5)
    assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    assert row["repeats"] == 3
