"""A data set's loader, found and called; what is known of its size before that."""

import pkgutil
from pathlib import Path

from ablation.base.files import repository
from ablation.data.characters import Characters
from ablation.data.datasets import Dataset, Size
from ablation.params import Params
from ablation.raw.folder import count_folder
from ablation.raw.watched import refuse_unwatched


def load_dataset(name: str, dataset: Dataset, raw: Path) -> tuple[Characters, Characters]:
    """The training and the test set of a data set.

    Args:
        name: what params.yaml calls it.
        dataset: its entry in the table.
        raw: the folder of raw files.

    Raises:
        DataError: raw files are missing or wrong; names them.
    """
    loader = pkgutil.resolve_name(f"ablation.raw.{dataset.loader}")
    train, test = loader(name, raw, **dataset.options)
    return train, test


def expected_size(params: Params) -> Size | None:
    """How many images a study trains on, where that is known before they are read.

    Raises:
        DataError: naming what DVC cannot read or does not watch among the raw files, and names
            that no class can have among people's own pictures.
    """
    raw = repository() / params.data.raw
    refuse_unwatched(raw)
    if params.dataset.options:
        return count_folder(raw, params.data.test_fraction)
    return params.dataset.size
