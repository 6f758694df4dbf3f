from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from ablation.data.characters import Characters
from ablation.trial.fitted import Fitted, ModelError
from ablation.trial.models import build
from ablation.trial.recipe import CnnSpec, Recipe
from ablation.trial.training import Normalisation


@pytest.fixture
def fitted(cnn: CnnSpec, recipe: Recipe) -> Fitted:
    network = build(cnn, recipe, 4, seed=3)
    return Fitted("cnn", cnn, recipe, ("0", "1", "A", "B"), Normalisation(0.17, 0.33), network)


@pytest.fixture
def file(fitted: Fitted, tmp_path: Path) -> Path:
    path = tmp_path / "cnn.safetensors"
    path.write_bytes(fitted.to_bytes())
    return path


def test_the_file_alone_is_enough_to_predict(fitted: Fitted, file: Path, toy: Characters) -> None:
    again = Fitted.load(file)
    assert (again.model, again.spec, again.recipe) == (fitted.model, fitted.spec, fitted.recipe)
    assert (again.classes, again.normalisation) == (fitted.classes, fitted.normalisation)
    assert np.array_equal(again.probabilities(toy.images), fitted.probabilities(toy.images))


def test_equal_models_are_equal_files(fitted: Fitted, file: Path) -> None:
    contents = {fitted.to_bytes() for _ in range(5)} | {Fitted.load(file).to_bytes()}
    assert contents == {file.read_bytes()}


def test_probabilities_add_up_to_one(fitted: Fitted, toy: Characters) -> None:
    probabilities = fitted.probabilities(toy.images)
    assert probabilities.shape == (400, 4)
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_a_single_image_can_be_predicted(fitted: Fitted, toy: Characters) -> None:
    alone, among = fitted.probabilities(toy.images[:1]), fitted.probabilities(toy.images)
    assert np.allclose(alone[0], among[0], atol=1e-6)


def test_parameters_counts_trained_values(fitted: Fitted) -> None:
    convolutions, norms = 4 * 9 + 6 * 4 * 9, 2 * (4 + 6 + 16)
    assert fitted.parameters == convolutions + norms + 16 * 6 * 7 * 7 + 4 * 16 + 4


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.safetensors: no such file; `dvc repro fit`"):
        Fitted.load(tmp_path / "gone.safetensors")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no model",
        lambda content: content[:200],
        lambda content: content[:-1],
        lambda content: content.replace(b"cnn", b"rnn"),
        lambda content: content.replace(b"sgd", b"xyz"),
        lambda content: safetensors.torch.save({"weights": torch.zeros(3)}),
    ],
)
def test_a_damaged_file_is_said(damage: Callable[[bytes], bytes], file: Path) -> None:
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ModelError, match=r"cnn\.safetensors: not a model that `dvc repro fit`"):
        Fitted.load(file)


def test_weights_of_other_sizes_are_said(fitted: Fitted, file: Path) -> None:
    content = fitted.to_bytes().replace(b"[4, 6]", b"[4, 7]")
    file.write_bytes(content)
    assert content != fitted.to_bytes()
    with pytest.raises(ModelError, match=r"cnn\.safetensors: not a model"):
        Fitted.load(file)
