from pathlib import Path

import pytest

from ablation.data.characters import DataError
from ablation.data.datasets import DATASETS, load_dataset


def test_there_are_three_datasets() -> None:
    assert DATASETS == ("emnist-mini", "emnist-balanced", "glyphs")


def test_an_unknown_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.dataset: 'mnist' is not one of emnist-mini, emn"):
        load_dataset("mnist", tmp_path)
