import os
from pathlib import Path

import pytest

from ablation.base.checked import read_yaml
from ablation.base.errors import UserError
from ablation.params import Params
from ablation.plan.cost import TrainingCost, check_memory
from ablation.plan.plan import duration
from ablation.run.hardware import Hardware
from ablation.study.inputs import make_trial, repeats_for
from ablation.trial.trials import Trial

ROOT = Path(__file__).parents[2]


@pytest.fixture
def params() -> Params:
    content = read_yaml(ROOT / "params.yaml")
    content["training"]["batch_size"] = 16
    content["models"] = {"mlp": {"hidden": [9, 8, 7], "epochs": 1}}
    content["techniques"] = {}
    return Params.model_validate(content)


def trial(params: Params, **settings: object) -> Trial:
    recipe = params.baseline.model_copy(update=settings)
    return make_trial(params, "mlp", recipe, repeats_for(params)[0])


def test_a_network_is_timed_once_and_its_time_is_proportional_to_epochs(params: Params) -> None:
    cost = TrainingCost(params, Hardware("cpu", False, 1), images=10_000, classes=47)
    one, three, six = (cost.seconds(trial(params, epochs=epochs)) for epochs in (1, 3, 6))
    assert 0 < one < three
    assert (six - three) / 3 == pytest.approx((three - one) / 2)


def test_networks_too_large_for_any_machine_are_refused(params: Params) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory > 150e9:
        pytest.skip("this machine has memory for the largest network that params.yaml may ask for")
    wide = {"mlp": {"hidden": [10_000] * 100, "epochs": 1}}
    params = Params.model_validate(params.model_dump(exclude={"models"}) | {"models": wide})
    with pytest.raises(
        UserError, match=r"^params\.yaml: mlp of 10000-.*: 9\.9 billion weights need"
    ):
        check_memory(params, "mlp", classes=47)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3.2, "4 s"), (12, "20 s"), (119, "120 s"), (150, "2 min"), (7300, "2 h"), (1e6, "12 days")],
)
def test_durations_are_readable(seconds: float, said: str) -> None:
    assert duration(seconds) == said
