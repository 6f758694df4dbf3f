import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from ablation.data.characters import Characters
from ablation.data.splits import Repeat
from ablation.fitted.model import Fitted
from ablation.fitted.model_file import METADATA, STEP, ModelError, pack, unpack
from ablation.trial.families import CnnSpec, MlpSpec
from ablation.trial.models import build
from ablation.trial.recipe import Recipe
from ablation.trial.trials import Learnt, Trial

CLASSES = ("0", "1", "A", "B")


@pytest.fixture
def trial(cnn: CnnSpec, recipe: Recipe, repeats: list[Repeat]) -> Trial:
    return Trial("cnn", cnn, recipe, repeats[0])


@pytest.fixture
def learnt(trial: Trial) -> Learnt:
    state = build(trial.spec, trial.recipe, 4, seed=3).state_dict()
    return Learnt(0.17, 0.33, {name: tensor.contiguous().numpy() for name, tensor in state.items()})


@pytest.fixture
def file(trial: Trial, learnt: Learnt, tmp_path: Path) -> Path:
    path = tmp_path / "cnn.safetensors"
    path.write_bytes(pack(trial, learnt, CLASSES, "emnist"))
    return path


def test_the_file_alone_is_enough_to_predict(trial: Trial, file: Path, toy: Characters) -> None:
    metadata = Fitted.load(file).metadata
    assert (metadata.model, metadata.spec, metadata.recipe) == ("cnn", trial.spec, trial.recipe)
    assert (metadata.classes, metadata.conversion) == (CLASSES, "emnist")
    assert (metadata.mean, metadata.deviation) == (0.17, 0.33)
    first, again = (Fitted.load(file).probabilities(toy.images) for _ in range(2))
    assert np.array_equal(first, again)


def test_only_models_of_more_than_8_bits_have_levels_in_their_file(
    trial: Trial, learnt: Learnt, file: Path
) -> None:
    assert Fitted.load(file).metadata.levels is None
    assert b"levels" not in file.read_bytes()
    file.write_bytes(pack(trial, learnt, CLASSES, "as-is", (0.0, 4095.0)))
    assert Fitted.load(file).metadata.levels == (0, 4095)


def test_levels_must_be_ascending(trial: Trial, learnt: Learnt, file: Path) -> None:
    file.write_bytes(pack(trial, learnt, CLASSES, "as-is", (5.0, 5.0)))
    with pytest.raises(ModelError, match="levels: the first should be less than the second"):
        Fitted.load(file)


def test_equal_models_give_equal_files(trial: Trial, learnt: Learnt, file: Path) -> None:
    contents = {pack(trial, learnt, CLASSES, "emnist") for _ in range(5)}
    assert contents == {file.read_bytes()}


def test_kernels_are_stored_in_half_precision_and_other_weights_in_full(
    learnt: Learnt, file: Path
) -> None:
    _, kept = unpack(file)
    for name, values in learnt.tensors.items():
        if values.ndim > 1:
            assert kept[name].dtype == np.float16
            assert np.allclose(kept[name], values, rtol=2**-11, atol=1e-7)
        else:
            assert np.array_equal(kept[name], values)
            assert kept[name].dtype == values.dtype
    network = Fitted.load(file).network
    assert {str(values.dtype) for values in network.parameters()} == {"torch.float32"}


def test_a_kernel_that_overflows_half_precision_is_not_rounded(
    trial: Trial, learnt: Learnt, file: Path
) -> None:
    name = next(name for name, values in learnt.tensors.items() if values.ndim > 1)
    large = Learnt(0.17, 0.33, learnt.tensors | {name: learnt.tensors[name] + np.float32(1e6)})
    file.write_bytes(pack(trial, large, CLASSES, "emnist"))
    assert np.array_equal(unpack(file)[1][name], large.tensors[name])


def test_a_large_model_is_stored_in_8_bits(
    recipe: Recipe, repeats: list[Repeat], file: Path
) -> None:
    spec = MlpSpec(hidden=(1024, 1024, 512), epochs=1)
    state = build(spec, recipe, 4, seed=3).state_dict()
    whole = Learnt(0.17, 0.33, {name: tensor.numpy() for name, tensor in state.items()})
    file.write_bytes(pack(Trial("mlp", spec, recipe, repeats[0]), whole, CLASSES, "emnist"))
    assert file.stat().st_size < 2.5e6
    kept = Fitted.load(file).network.state_dict()
    assert kept.keys() == state.keys()
    for name, values in state.items():
        if values.ndim > 1:
            largest = values.abs().amax(1, keepdim=True)
            assert ((kept[name] - values).abs() <= largest / 250).all(), "half a step of 127"
        else:
            assert kept[name].equal(values)


@pytest.mark.parametrize("steps", [np.ones(3, np.float32), np.ones((4, 1), np.float32)])
def test_steps_without_a_matching_kernel_are_refused(
    file: Path, learnt: Learnt, steps: Any
) -> None:
    metadata, tensors = unpack(file)
    name = next(name for name, values in learnt.tensors.items() if values.ndim > 1)
    damaged = {name + STEP: steps} | tensors
    file.write_bytes(safetensors.numpy.save(damaged, {METADATA: metadata.to_json()}))
    with pytest.raises(ModelError, match=r"step: shape .*no such weight"):
        Fitted.load(file)


def test_weights_survive_a_round_trip_through_the_cache(learnt: Learnt) -> None:
    again = Learnt.from_bytes(learnt.to_bytes())
    assert (again.mean, again.deviation) == (learnt.mean, learnt.deviation)
    assert again.tensors.keys() == learnt.tensors.keys()
    assert all(np.array_equal(again.tensors[name], learnt.tensors[name]) for name in again.tensors)


def test_a_model_from_before_a_new_field_still_loads(file: Path, learnt: Learnt) -> None:
    metadata, _ = unpack(file)
    old = json.loads(metadata.to_json())
    del old["conversion"]
    file.write_bytes(safetensors.numpy.save(learnt.tensors, {METADATA: json.dumps(old)}))
    assert Fitted.load(file).metadata == metadata


def test_a_temperature_changes_confidences_but_no_prediction(
    trial: Trial, learnt: Learnt, file: Path, toy: Characters
) -> None:
    """Even if logits differ only in their last bit, or are far apart."""
    plain = Fitted.load(file).probabilities(toy.images)
    for temperature in (0.1, 0.7, 100.0):
        file.write_bytes(pack(trial, learnt, CLASSES, "emnist", None, temperature))
        fitted = Fitted.load(file)
        assert fitted.metadata.temperature == temperature
        probabilities = fitted.probabilities(toy.images)
        assert np.allclose(probabilities.sum(axis=1), 1)
        assert (probabilities.argsort(axis=1) == plain.argsort(axis=1)).all()
        odds = np.log(probabilities[:, 1:] / probabilities[:, :1])
        assert np.allclose(odds, np.log(plain[:, 1:] / plain[:, :1]) / temperature)
        assert np.array_equal(fitted.probabilities(toy.images, calibrated=False), plain)


def test_close_logits_keep_their_order_at_any_temperature(
    trial: Trial, learnt: Learnt, file: Path, toy: Characters
) -> None:
    *_, name, bias = learnt.tensors  # the last layer's
    close = np.array([1, 1 + 2**-23, 1, 1 - 2**-24], np.float32)
    last: dict[str, np.ndarray] = {name: np.zeros_like(learnt.tensors[name]), bias: close}
    narrow = Learnt(0.17, 0.33, learnt.tensors | last)
    file.write_bytes(pack(trial, narrow, CLASSES, "emnist", None, 100.0))
    (probabilities,) = Fitted.load(file).probabilities(toy.images[:1])
    assert probabilities.argmax() == 1
    assert probabilities.argmin() == 3


def test_a_model_without_a_temperature_has_one_of_1(file: Path) -> None:
    metadata, tensors = unpack(file)
    old = json.loads(metadata.to_json())
    del old["temperature"]
    file.write_bytes(safetensors.numpy.save(tensors, {METADATA: json.dumps(old)}))
    assert Fitted.load(file).metadata.temperature == 1


@pytest.mark.parametrize("found", [0.0, -1.0, float("nan"), float("inf"), "warm", None, True, 0.09])
def test_an_invalid_temperature_is_reported(found: Any, file: Path) -> None:
    metadata, tensors = unpack(file)
    content = json.loads(metadata.to_json()) | {"temperature": found}
    file.write_bytes(safetensors.numpy.save(tensors, {METADATA: json.dumps(content)}))
    with pytest.raises(ModelError, match=r"not a valid model file; .*\(temperature: .+ should be"):
        Fitted.load(file)


def test_probabilities_add_up_to_one(file: Path, toy: Characters) -> None:
    probabilities = Fitted.load(file).probabilities(toy.images)
    assert probabilities.shape == (400, 4)
    assert probabilities.dtype == np.float64
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_a_single_image_can_be_predicted(file: Path, toy: Characters) -> None:
    fitted = Fitted.load(file)
    alone, among = fitted.probabilities(toy.images[:1]), fitted.probabilities(toy.images)
    assert np.allclose(alone[0], among[0], atol=1e-6)


def test_parameters_counts_trained_values(file: Path) -> None:
    convolutions, norms = 4 * 9 + 6 * 4 * 9, 2 * (4 + 6 + 16)
    assert Fitted.load(file).parameters == convolutions + norms + 16 * 6 * 7 * 7 + 4 * 16 + 4


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
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
        lambda content: safetensors.numpy.save({"weights": np.zeros(3)}),
    ],
)
def test_a_corrupt_file_is_reported(damage: Callable[[bytes], bytes], file: Path) -> None:
    file.write_bytes(damage(file.read_bytes()))
    said = r"cnn\.safetensors: not a valid model file; recreate it with `dvc repro fit` \(.+\)$"
    with pytest.raises(ModelError, match=said):
        Fitted.load(file)


def test_weights_of_the_wrong_shape_are_reported(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content.replace(b"[4, 6]", b"[4, 7]"))
    assert file.read_bytes() != content
    said = (
        r"cnn\.safetensors: not a valid model file; .* shape \(6, 4, 3, 3\), but .* \(7, 4, 3, 3\)"
    )
    with pytest.raises(ModelError, match=said):
        Fitted.load(file)


def test_a_git_lfs_pointer_names_the_command_that_fetches_the_model(tmp_path: Path) -> None:
    (tmp_path / "cnn").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0")
    with pytest.raises(ModelError, match=r"cnn: a Git LFS pointer .* `git lfs pull`"):
        Fitted.load(tmp_path / "cnn")
