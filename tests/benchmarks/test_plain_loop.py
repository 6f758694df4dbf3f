from typing import Any

import pytest
import torch
from plain_loop import CharacterDataset, plain_layers, train

from ablation.data.characters import Characters
from ablation.params import load_params
from ablation.trial.families import CnnSpec, MlpSpec
from ablation.trial.models import build


def test_sample_is_a_normalised_image_and_its_label(toy: Characters) -> None:
    image, label = CharacterDataset(toy)[1]
    assert image.shape == (1, 28, 28) and image.dtype == torch.float32
    assert label == toy.labels[1]
    assert image.max().item() == pytest.approx((toy.images[1].max() / 255 - 0.1736) / 0.3317)


def test_plain_loop_learns_an_easy_task_and_reports_its_seconds(toy: Characters) -> None:
    recipe = load_params().baseline
    network = build(MlpSpec(hidden=(16, 16, 16), epochs=1), recipe, len(toy.classes), seed=0)
    assert train(network, toy, recipe, 20, epochs=8, device="cpu", cores=1) > 0
    dataset = CharacterDataset(toy)
    images = torch.stack([dataset[index][0] for index in range(len(dataset))])
    with torch.no_grad():
        correct = network.eval()(images).argmax(1).numpy() == toy.labels
    assert correct.mean() > 0.9


def test_timing_starts_with_the_first_batch_of_each_epoch(
    toy: Characters, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0

    class Counted(CharacterDataset):
        def __getitem__(self, index: int) -> Any:
            nonlocal read
            read += 1
            return super().__getitem__(index)

    monkeypatch.setattr("plain_loop.CharacterDataset", Counted)
    monkeypatch.setattr(
        "plain_loop.time.perf_counter", lambda: float(read)
    )  # counts images instead of time
    recipe = load_params().baseline
    network = build(MlpSpec(hidden=(16, 16, 16), epochs=1), recipe, len(toy.classes), seed=0)
    assert train(network, toy, recipe, 100, epochs=2, device="cpu", cores=0) == 2 * (400 - 100)


def test_plain_layers_are_torchs_own_and_compute_the_same(toy: Characters) -> None:
    spec = CnnSpec(channels=(2, 3), dense=(8,), epochs=1)
    network = build(spec, load_params().baseline, len(toy.classes), seed=0).eval()
    images = torch.stack([CharacterDataset(toy)[index][0] for index in range(9)])
    expected = network(images)
    plain = plain_layers(network).eval()
    assert all(type(layer).__module__.startswith("torch.nn") for layer in plain)
    assert all(parameter.is_contiguous() for parameter in plain.parameters())
    first_dense = next(layer for layer in plain if isinstance(layer, torch.nn.Linear))
    channels_last = first_dense.weight.data.view(8, 7, 7, 3)
    first_dense.weight.data = channels_last.permute(0, 3, 1, 2).flatten(1)
    assert torch.allclose(plain(images), expected, atol=1e-5)
