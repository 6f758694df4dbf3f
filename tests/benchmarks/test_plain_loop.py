import pytest
import torch
from plain_loop import CharacterDataset, train

from ablation.data.characters import Characters
from ablation.params import load_params
from ablation.trial.models import build
from ablation.trial.recipe import MlpSpec


def test_sample_is_a_normalised_image_and_its_label(toy: Characters) -> None:
    image, label = CharacterDataset(toy)[1]
    assert image.shape == (1, 28, 28) and image.dtype == torch.float32
    assert label == toy.labels[1]
    assert image.max().item() == pytest.approx((toy.images[1].max() / 255 - 0.1736) / 0.3317)


def test_plain_loop_learns_what_is_easy_and_reports_its_seconds(toy: Characters) -> None:
    recipe = load_params().baseline
    network = build(MlpSpec(hidden=(16, 16, 16), epochs=1), recipe, len(toy.classes), seed=0)
    assert train(network, toy, recipe, 20, epochs=8, device="cpu", cores=1) > 0
    dataset = CharacterDataset(toy)
    images = torch.stack([dataset[index][0] for index in range(len(dataset))])
    with torch.no_grad():
        right = network.eval()(images).argmax(1).numpy() == toy.labels
    assert right.mean() > 0.9
