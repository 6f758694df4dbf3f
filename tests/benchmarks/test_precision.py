from pathlib import Path

import numpy as np
import pytest
from precision import compare, scores

from ablation.base.checked import read_yaml, to_yaml
from ablation.data.splits import make_repeats
from ablation.params import load_params


def test_the_difference_is_bf16_minus_float32_with_the_widened_interval() -> None:
    bf16, float32 = np.array([0.80, 0.82, 0.81]), np.array([0.80, 0.80, 0.80])
    row = compare(bf16, float32, val_to_train=0.25)
    assert (row["bf16"], row["float32"], row["difference"]) == (0.81, 0.8, 0.01)
    reach = 4.302653 * 0.01 * (1 / 3 + 0.25) ** 0.5  # t of 2 degrees of freedom, 95 %
    assert row["difference_low"] == pytest.approx(0.01 - reach, abs=1e-6)
    assert row["difference_high"] == pytest.approx(0.01 + reach, abs=1e-6)


def test_each_precision_is_trained_separately(toy_study: Path) -> None:
    content = read_yaml(Path(__file__).parents[2] / "params.yaml")
    content["models"]["mlp"] = {"hidden": [16, 12, 8], "epochs": 2}
    content["training"] |= {"batch_size": 25, "device": "cpu", "workers": 1}
    Path("params.yaml").write_text(to_yaml(content))
    params = load_params()
    repeats = make_repeats(1, "shuffle", 0.25, 2)
    characters = Path("data/prepared/train.npz")
    for trainings, precision in ((2, "bf16"), (4, "float32"), (4, "bf16")):
        assert scores(params, "mlp", characters, precision, repeats).shape == (2,)
        assert len(list((toy_study / "cache").iterdir())) == trainings
