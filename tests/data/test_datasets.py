import pytest

from ablation.data.characters import CLASSES
from ablation.data.conversion import CONVERSIONS
from ablation.data.datasets import DATASETS, LOOK_ALIKES


@pytest.mark.parametrize("name", DATASETS)
def test_every_conversion_is_known(name: str) -> None:
    assert DATASETS[name].conversion in CONVERSIONS


def test_what_is_drawn_from_fonts_says_so_and_handwriting_says_nothing() -> None:
    assert "drawn from fonts" in DATASETS["glyphs"].note
    assert DATASETS["emnist-mini"].note == DATASETS["emnist-balanced"].note == ""


def test_look_alikes_are_classes_and_in_one_group_each() -> None:
    members = "".join(LOOK_ALIKES.values())
    assert set(members) <= set(CLASSES)
    assert len(set(members)) == len(members)
    assert all("/".join(alike) == group for group, alike in LOOK_ALIKES.items())
