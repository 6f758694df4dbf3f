import pytest
import torch

from ablation.data.characters import Characters
from ablation.data.splits import Repeat, make_repeats
from ablation.trial.recipe import CnnSpec, Constant, MlpSpec, Recipe, Regularization, Sgd
from ablation.trial.training import Part

torch.set_num_threads(1)  # as the workers do: toys are too small to share between cores


@pytest.fixture
def recipe() -> Recipe:
    """A plain recipe that learns the toy."""
    return Recipe(
        scheduler=Constant(name="constant"),
        activation="relu",
        optimizer=Sgd(name="sgd", lr=0.03),
        batchnorm=True,
        regularization=Regularization(l1=0.0, l2=0.0),
        dropout=0.0,
    )


@pytest.fixture
def mlp() -> MlpSpec:
    return MlpSpec(hidden=(16, 12, 8), epochs=3)


@pytest.fixture
def cnn() -> CnnSpec:
    return CnnSpec(channels=(4, 6), dense=(16,), epochs=3)


@pytest.fixture(params=["mlp", "cnn"])
def spec(request: pytest.FixtureRequest) -> MlpSpec | CnnSpec:
    """Both families, one after the other."""
    family: MlpSpec | CnnSpec = request.getfixturevalue(request.param)
    return family


@pytest.fixture
def repeats() -> list[Repeat]:
    return make_repeats(1729, "shuffle", 0.25, 3)


@pytest.fixture
def parts(toy: Characters) -> tuple[Part, Part]:
    """The toy's first 300 characters to train on and its last 100 to validate."""
    images, labels = torch.from_numpy(toy.images), torch.from_numpy(toy.labels).long()
    return Part(images[:300], labels[:300]), Part(images[300:], labels[300:])
