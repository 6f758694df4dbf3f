from pathlib import Path
from typing import Any

import pytest

from ablation.base.checked import read_yaml
from ablation.params import Params
from ablation.run.hardware import Hardware
from ablation.run.runner import TrialRunner
from ablation.search.draws import SearchResult, search
from ablation.search.space import Space
from ablation.trial.recipe import TECHNIQUES
from ablation.trial.trials import Trial

ROOT = Path(__file__).parents[2]
AN_EPOCH = 0.01  # of the budget of 1: a training of ten epochs takes a tenth of it
# What a training of an MLP of these sizes costs, in 10^15 operations, is a matter of test_cost.py.
SMALL: dict[str, Any] = {
    "models": {"mlp": {"hidden": [9, 8, 7], "epochs": 2}},
    "validation": {"scheme": "shuffle", "fraction": 0.25, "repeats": 2},
    "worth": {"order_pairs": 1, "repeats": 2},
    "training": {
        "batch_size": 32, "precision": "float32", "device": "cpu", "workers": 1,
    },
    "techniques": {
        **{technique: [] for technique in TECHNIQUES},
        "activation": ["tanh"],
        "optimizer": [{"name": "adam", "lr": 0.001}, {"name": "sgd", "lr": [0.1, 100.0]}],
        "dropout": [0.2, 0.4],
    },
    "learning_rate_multiples": {"dropout": [0.5, 1.0], "batchnorm": [1.0, 10.0]},
    "search": {
        "epochs": {"mlp": 10}, "budget": {"mlp": 1.0}, "first_look": 0.1, "finalists": 2,
        "finalists_share": 0.3, "generation": 3, "strategies": ["random", "tpe"],
    },
}  # fmt: skip


@pytest.fixture
def params() -> Params:
    """Those of the project, for an MLP of a few units."""
    return Params.model_validate(read_yaml(ROOT / "params.yaml") | SMALL)


@pytest.fixture
def space(params: Params) -> Space:
    return Space.of(params, "mlp")


def cost(trial: Trial) -> float:
    """In place of the operations of a training."""
    return AN_EPOCH * trial.spec.epochs


@pytest.fixture
def runner(toy_study: Path) -> TrialRunner:
    one_worker = Hardware("cpu", bf16=False, workers=1)
    return TrialRunner(toy_study / "data/prepared/train.npz", 32, one_worker)


@pytest.fixture
def found(runner: TrialRunner, params: Params) -> SearchResult:
    return search(runner, params, "mlp", "random", cost)
