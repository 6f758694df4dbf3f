"""What a recipe file says about its origin, by which later stages depend on it."""

from pathlib import Path
from typing import Any

import pytest

from ablation.base.checked import read_yaml
from ablation.params import Params
from ablation.run.precision import RECORD
from ablation.study.inputs import provenance

ROOT = Path(__file__).parents[2]
CHARACTERS = "ab" * 32


def of_mlp(*place: str, value: Any = None) -> str:
    """The provenance of the MLP's recipes, in a study with one other parameter."""
    content = at = read_yaml(ROOT / "params.yaml")
    for key in place[:-1]:
        at = at[key]
    if place:
        assert at[place[-1]] != value
        at[place[-1]] = value
    return provenance(Params.model_validate(content), "mlp", CHARACTERS)


def test_a_recipe_names_the_characters_it_was_chosen_on() -> None:
    assert CHARACTERS in of_mlp()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("seed",), 1),
        (("validation", "fraction"), 0.3),
        (("validation", "repeats"), 5),
        (("training", "batch_size"), 32),
        (("training", "precision"), "float32"),
        (("training", "device"), "cpu"),
        (("models", "mlp", "epochs"), 1),
        (("baseline", "dropout"), 0.9),
        (("selection", "risk"), 0.1),
        (("learning_rate_multiples", "batchnorm"), [1.0]),
    ],
)
def test_it_changes_with_every_parameter_of_the_whole_study(
    place: tuple[str, ...], value: Any
) -> None:
    assert of_mlp(*place, value=value) != of_mlp()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("training", "workers"), 7),
        (("models", "cnn", "epochs"), 1),
        (("techniques", "dropout"), []),
        (("worth", "repeats"), 3),
        (("fit", "seeds"), 2),
    ],
)
def test_it_does_not_change_with_other_parameters(place: tuple[str, ...], value: Any) -> None:
    assert of_mlp(*place, value=value) == of_mlp()


def test_it_changes_with_the_precision_of_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unknown = of_mlp()
    RECORD.parent.mkdir()
    RECORD.write_text("asked: auto\nprecision: bf16\ndecided_on: a processor\n")
    assert of_mlp() != unknown
