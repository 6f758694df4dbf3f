import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, settings

from ablation.data.characters import Characters
from ablation.data.splits import Repeat, make_repeats
from ablation.plan.code import modules_of
from ablation.trial.families import CnnSpec, MlpSpec
from ablation.trial.recipe import Constant, Recipe, Regularization, Sgd
from ablation.trial.training import Part
from tests.clones import Clone, MakeOnce, copy_project, make_tiny

# Who is started in the background ignores Ctrl-C, and so would all that the tests start and stop.
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # as the workers do: toys are too small to share between cores

# How many random inputs a test tries: the same ones each time, but for `long`, which looks longer
# and elsewhere: `pytest --hypothesis-profile long tests/raw/test_any_bytes.py`. No clock: a hang is
# a test that does not end. A fixture's folder serves all inputs, one after the other.
for profile, inputs in {"quick": 20, "deep": 200, "long": 20_000}.items():
    settings.register_profile(
        profile,
        max_examples=inputs,
        derandomize=profile != "long",
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )

# These take longest. They start first, so that no process is left with one at the end.
LONGEST = ("test_pipeline.py", "test_extending.py", "test_own_pictures.py", "test_machines.py")

ROOT = Path(__file__).parents[1]


@pytest.fixture
def import_closure(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], set[Path]]:
    """All files of the project that a file imports, directly or indirectly, and itself."""
    monkeypatch.chdir(ROOT)
    return lambda path: {ROOT / each for each in modules_of(path.relative_to(ROOT))}


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless browser; skips the test if there is none."""
    browser = pytest.importorskip(
        "browser", reason="pages are tested with playwright, which is not installed"
    )
    if browser.CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with browser.chromium() as started:
        yield started


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> MakeOnce:
    """A read-only folder shared by pytest's processes, filled by the first one that needs it.

    The others wait for a lock, as in pytest-xdist's documentation.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def once(name: str, make: Callable[[Path], object]) -> Path:
        folder, made = shared / name, shared / f"{name}.made"
        with FileLock(shared / f"{name}.lock"):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # where another process failed
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def prepared(make_once: MakeOnce) -> Clone:
    """A tiny study with its characters, before any training; tests use a duplicate.

    Tag `before` is the project without results. `prepare.log` next to it is the stage's output.
    """

    def make(folder: Path) -> None:
        study = copy_project(folder / "study")
        make_tiny(study)
        study.commit("A tiny study")
        study.run("git", "tag", "before")
        (folder / "prepare.log").write_text(study.run("dvc", "repro", "prepare"))

    folder = make_once("prepared", make)
    return Clone(folder / "study", folder / "study-memory")


@pytest.fixture(scope="session")
def study(prepared: Clone, make_once: MakeOnce) -> Clone:
    """The tiny study, run with two workers, with its results in git.

    Read-only; tests that run DVC or change something use a clone or a duplicate.
    """

    def make(folder: Path) -> None:
        study = Clone(prepared.duplicate(folder / "study").path, folder / "memory")
        study.repro()
        study.commit("Its results")

    folder = make_once("study", make)
    return Clone(folder / "study", folder / "memory")


@pytest.fixture(scope="session")
def toy() -> Characters:
    """Four classes that are easy to learn: which quarter of the image is bright."""
    generator = np.random.default_rng(0)
    labels = np.tile(np.arange(4, dtype=np.uint8), 100)
    images = generator.integers(0, 100, (len(labels), 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        top, left = 14 * (label // 2), 14 * (label % 2)
        image[top : top + 14, left : left + 14] += 120
    return Characters(images, labels, ("0", "1", "A", "B"))


@pytest.fixture
def toy_study(toy: Characters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the toy as prepared characters, and a cache of its own."""
    toy.save(tmp_path / "data/prepared/train.npz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATION_CACHE", str(tmp_path / "memory"))
    return tmp_path


@pytest.fixture
def recipe() -> Recipe:
    """A simple recipe that learns the toy."""
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
    """The toy's first 300 characters for training and its last 100 for validation."""
    images, labels = torch.from_numpy(toy.images), torch.from_numpy(toy.labels).long()
    return Part(images[:300], labels[:300]), Part(images[300:], labels[300:])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)
