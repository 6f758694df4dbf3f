import pkgutil
from pathlib import Path

import pytest

from ablation.data.characters import CLASSES, MERGED
from ablation.data.datasets import (
    BYCLASS_LOOK_ALIKES,
    DATASETS,
    LETTERS_LOOK_ALIKES,
    LOOK_ALIKES,
    OF_WHOLE_PICTURES,
    Size,
    own_pictures,
)
from ablation.params import Data
from ablation.pictures.conversion import CONVERSIONS
from ablation.raw import emnist, glyphs
from ablation.raw.mnist import COUNTS, TORCHVISION

HANDWRITING = [*emnist.SPLITS, emnist.MINI]
OTHERS = [name for name in DATASETS if name not in HANDWRITING and name != "glyphs"]


@pytest.mark.parametrize("name", DATASETS)
def test_every_conversion_is_known(name: str) -> None:
    assert DATASETS[name].conversion in CONVERSIONS
    assert CONVERSIONS.keys() > OF_WHOLE_PICTURES


def test_every_split_of_emnist_has_a_name() -> None:
    names = ("balanced", "byclass", "bymerge", "letters", "digits", "mnist", "mini")
    assert {*HANDWRITING} == {f"emnist-{name}" for name in names}
    assert DATASETS.keys() == {*HANDWRITING, *TORCHVISION, "glyphs", "folder"}


def test_only_synthetic_data_has_a_note() -> None:
    assert "drawn from fonts" in DATASETS["glyphs"].note
    assert {DATASETS[name].note for name in (*HANDWRITING, *OTHERS)} == {""}


@pytest.mark.parametrize(
    ("alike", "classes"),
    [
        (LOOK_ALIKES, CLASSES),
        (BYCLASS_LOOK_ALIKES, emnist.BYCLASS),
        (LETTERS_LOOK_ALIKES, emnist.SPLITS["emnist-letters"]),
    ],
)
def test_look_alikes_are_classes_and_in_one_group_each(
    alike: dict[str, str], classes: tuple[str, ...]
) -> None:
    members = "".join(alike.values())
    assert set(members) <= set(classes)
    assert len(set(members)) == len(members)
    assert all("/".join(group) == name for name, group in alike.items())


def test_letters_that_emnist_merges_are_look_alikes_in_byclass() -> None:
    groups = BYCLASS_LOOK_ALIKES.values()
    assert all(any({c, c.upper()} <= {*group} for group in groups) for c in MERGED)


@pytest.mark.parametrize("name", OTHERS)
def test_only_emnist_has_look_alikes(name: str) -> None:
    assert not DATASETS[name].look_alikes


def test_the_known_size_is_that_of_the_data_set() -> None:
    sizes = {name: dataset.size for name, dataset in DATASETS.items()}
    for name, classes in emnist.SPLITS.items():
        images = emnist.PARTITIONS[emnist.NEEDED[name][0]].characters
        assert sizes[name] == Size(images, len(classes))
    for name in TORCHVISION:
        assert sizes[name] == Size(COUNTS["train"], 10)
    assert sizes["emnist-mini"] == Size(47 * emnist.MINI_TRAIN_PER_CLASS, 47)
    assert sizes["glyphs"] == Size(47 * glyphs.TRAIN_PER_CLASS, 47)
    assert sizes["folder"] is None


@pytest.mark.parametrize("name", DATASETS)
def test_every_loader_exists(name: str) -> None:
    assert callable(pkgutil.resolve_name(f"ablation.raw.{DATASETS[name].loader}"))


def test_own_pictures_use_the_configured_conversion() -> None:
    assert own_pictures("emnist").conversion == "emnist"
    data = Data(dataset="folder", raw=Path("mine"))
    assert own_pictures().conversion == data.conversion == "as-is"
