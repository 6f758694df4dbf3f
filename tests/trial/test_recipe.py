from typing import Any

import pytest
from pydantic import ValidationError

from ablation.base.checked import one_of
from ablation.labels import label
from ablation.trial.families import SIZES, CnnSpec, MlpSpec, sizes_of
from ablation.trial.recipe import (
    AdamW,
    Affine,
    Cosine,
    Elastic,
    Ema,
    NoAugmentation,
    NoAveraging,
    OneCycle,
    Plateau,
    Recipe,
    Regularization,
    Sgd,
    Step,
    plain,
)

MlpSizes: Any = SIZES["mlp"]
CnnSizes: Any = SIZES["cnn"]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (Cosine(name="cosine"), "cosine"),
        (Step(name="step"), "step"),
        (Step(name="step", every=0.5), "step every=0.5"),
        (OneCycle(name="onecycle", peak=5.0), "onecycle peak=5"),
        (Sgd(name="sgd", lr=0.1), "sgd lr=0.1"),
        (Sgd(name="sgd", lr=0.1, momentum=0.0), "sgd lr=0.1 momentum=0"),
        (AdamW(name="adamw", lr=0.001), "adamw lr=0.001"),
        (Regularization(l1=0.0, l2=0.0), "none"),
        (Regularization(l1=1e-6, l2=0.0), "l1=1e-06"),
        (Regularization(l1=1e-5, l2=1e-4), "l1=1e-05 l2=0.0001"),
        (True, "on"),
        (False, "off"),
        (MlpSizes(hidden=(512, 256, 128)), "512-256-128"),
        (CnnSizes(channels=(16, 32), dense=(64,)), "16-32+64"),
        (CnnSizes(channels=(16, 32), dense=(), convolutions=2), "16-32 x2"),
        (Plateau(name="plateau", patience=3), "plateau patience=3"),
        (NoAugmentation(), "none"),
        (Affine(name="affine"), "affine"),
        (Elastic(name="elastic", push=0.5, shift=1.0), "elastic shift=1 push=0.5"),
        (NoAveraging(), "none"),
        (Ema(name="ema", horizon=2.0), "ema horizon=2"),
        (4, "4x"),
        (0.0, "none"),
        (0.2, "0.2"),
        ("leaky_relu", "leaky_relu"),
    ],
)
def test_a_label_is_short_and_omits_defaults(setting: Any, expected: str) -> None:
    assert label(setting) == expected


def test_the_label_of_a_grid_omits_its_axes() -> None:
    assert label(Sgd(name="sgd", lr=0.1, momentum=0.5), without=["lr"]) == "sgd momentum=0.5"
    assert label(Regularization(l1=1e-6, l2=0.0), without=["l1"]) == "l1"


def test_having_changes_one_technique_of_a_copy(recipe: Recipe) -> None:
    other = recipe.having("dropout", 0.4)
    assert other.setting("dropout") == 0.4
    assert other.having("dropout", recipe.dropout) == recipe
    assert recipe.dropout == 0.0


def test_a_recipe_without_a_new_field_is_valid(recipe: Recipe) -> None:
    class Newer(Recipe):
        noise: float = 0.0

    assert Newer.model_validate(recipe.model_dump()).noise == 0.0


def test_fields_equal_to_their_default_are_omitted(recipe: Recipe) -> None:
    required = {"scheduler", "activation", "optimizer", "batchnorm", "regularization", "dropout"}
    assert recipe.model_dump().keys() == required
    other = recipe.having("smoothing", 0.1).having("averaging", Ema(name="ema"))
    assert other.model_dump().keys() == required | {"smoothing", "averaging"}
    assert Recipe.model_validate(other.model_dump()) == other


@pytest.mark.parametrize("sizes", [MlpSizes(hidden=(9, 8, 7)), CnnSizes(channels=(4, 5), dense=())])
def test_sizes_of_every_family_survive_a_round_trip(sizes: Any, recipe: Recipe) -> None:
    other = recipe.having("architecture", sizes)
    assert Recipe.model_validate(other.model_dump()) == other
    assert hash(other) != hash(recipe)


def test_a_plain_recipe_has_neither_architecture_nor_epochs(recipe: Recipe) -> None:
    longer = recipe.having("architecture", MlpSizes(hidden=(9, 8, 7))).having("epochs", 4)
    assert plain(longer) == recipe


def test_the_sizes_of_a_spec_exclude_its_epochs() -> None:
    assert sizes_of("mlp", MlpSpec(hidden=(9, 8, 7), epochs=5)) == MlpSizes(hidden=(9, 8, 7))
    cnn = CnnSpec(channels=(4, 5), dense=(6,), convolutions=2, epochs=5)
    assert sizes_of("cnn", cnn) == CnnSizes(channels=(4, 5), dense=(6,), convolutions=2)


def test_one_of_suggests_the_closest_name() -> None:
    assert one_of("adamm", ["sgd", "adam"]) == (
        "'adamm' is not one of sgd, adam (did you mean 'adam'?)"
    )
    assert one_of("xyz", ["sgd", "adam"]) == "'xyz' is not one of sgd, adam"


def test_an_mlp_needs_three_hidden_layers() -> None:
    with pytest.raises(ValidationError, match="at least 3"):
        MlpSpec(hidden=(512, 256), epochs=1)


def test_a_cnn_needs_two_blocks() -> None:
    with pytest.raises(ValidationError, match="at least 2"):
        CnnSpec(channels=(32,), dense=(), epochs=1)
