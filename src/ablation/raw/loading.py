"""Loads a data set by name, and looks up its size without reading it."""

import pkgutil
from pathlib import Path

from ablation.base.files import repository
from ablation.data.characters import Characters
from ablation.data.datasets import Dataset, Size
from ablation.params import Params
from ablation.raw.folder import count_folder
from ablation.raw.tracked import check_tracked


def load_dataset(name: str, dataset: Dataset, raw: Path) -> tuple[Characters, Characters]:
    """Load the training and test sets of a data set.

    Args:
        name: as in params.yaml.
        dataset: its entry in `DATASETS`.
        raw: the folder of raw files.

    Raises:
        DataError: names the raw files that are missing or invalid.
    """
    loader = pkgutil.resolve_name(f"ablation.raw.{dataset.loader}")
    train, test = loader(name, raw, **dataset.options)
    return train, test


def expected_size(params: Params) -> Size | None:
    """The size of a study's training set, or None if it is only known after reading the data.

    Raises:
        DataError: names the raw files that DVC cannot read or track, and folders of pictures whose
            names are not valid class names.
    """
    raw = repository() / params.data.raw
    check_tracked(raw)
    if params.dataset.options:
        return count_folder(raw, params.data.test_fraction)
    return params.dataset.size
