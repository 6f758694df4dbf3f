"""The datasets that `data.dataset` in params.yaml can name."""

from collections.abc import Callable
from pathlib import Path

from ablation.data.characters import Characters, DataError
from ablation.data.emnist import load_emnist
from ablation.data.glyphs import load_glyphs

LOADERS: dict[str, Callable[[Path], tuple[Characters, Characters]]] = {
    "emnist-mini": lambda raw: load_emnist("emnist-mini", raw),
    "emnist-balanced": lambda raw: load_emnist("emnist-balanced", raw),
    "glyphs": lambda raw: load_glyphs(),
}
DATASETS = tuple(LOADERS)


def load_dataset(dataset: str, raw: Path) -> tuple[Characters, Characters]:
    """Training and test set of a dataset.

    Args:
        dataset: one of `DATASETS`.
        raw: folder with NIST's files, which `glyphs` does without; where they are missing they
            are downloaded into it.

    Raises:
        DataError: for an unknown dataset, or raw files that are missing or wrong.
    """
    if dataset not in LOADERS:
        raise DataError(f"data.dataset: {dataset!r} is not one of {', '.join(DATASETS)}")
    return LOADERS[dataset](raw)
