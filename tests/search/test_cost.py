import pytest

from ablation.params import Params
from ablation.search.cost import PETA, Cost, operations
from ablation.study.inputs import make_trial, repeats_for
from ablation.trial.families import CnnSpec, MlpSpec


def test_a_linear_layer_takes_two_operations_a_weight_forward_and_four_backward(
    params: Params,
) -> None:
    """But for the first one, whose input needs no gradient."""
    spec = MlpSpec(hidden=(9, 8, 7), epochs=1)
    later = 9 * 8 + 8 * 7 + 7 * 47
    assert operations(spec, params.baseline, 47) == 784 * 9 * 4 + later * 6


def test_more_convolutions_cost_more(params: Params) -> None:
    one, two = (
        operations(
            CnnSpec(channels=(4, 6), dense=(16,), convolutions=count, epochs=1), params.baseline, 10
        )
        for count in (1, 2)
    )
    assert two > 1.5 * one


def test_a_training_costs_its_images_times_its_epochs(params: Params) -> None:
    trial = make_trial(params, "mlp", params.baseline, repeats_for(params)[0])
    an_image = operations(trial.spec.model_copy(update={"epochs": 1}), trial.recipe, 4)
    expected = an_image * 300 * 2 / PETA
    assert Cost(images=400, classes=4)(trial) == pytest.approx(expected)
