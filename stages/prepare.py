"""Convert raw files to a training set and a test set."""

from pathlib import Path

import numpy as np
import pandas as pd

from ablation.base.console import announce, console
from ablation.base.files import repository, write_csv
from ablation.data.characters import LEAST_DEVIATION, Characters, DataError
from ablation.params import load_params
from ablation.processes.stage import stage_process
from ablation.raw.loading import load_dataset

PREPARED = Path("data/prepared")
CLASSES = Path("data/classes.csv")
CLASS_COUNTS = Path("plots/data/class_counts.csv")
SAMPLES = 10


def main() -> None:
    params = load_params()
    announce("prepare", params.dataset.note)
    train, test = load_dataset(params.data.dataset, params.dataset, repository() / params.data.raw)
    check_contrast(train, params.data.raw)
    params.check_batch_size(len(train))
    params.check_class_sizes(dict(zip(train.classes, train.counts().tolist(), strict=True)))
    train.save(PREPARED / "train.npz")
    test.save(PREPARED / "test.npz")
    samples_of_each_class(train).save(PREPARED / "samples.npz")
    write_tables(train, test)
    console.print(
        f"{params.data.title}: {len(train):,} training and {len(test):,} test "
        f"{params.dataset.things}, {len(train.classes):,} classes"
    )


def check_contrast(train: Characters, raw: Path) -> None:
    """Check that the images are not uniform; otherwise `fit` would write invalid models.

    Raises:
        DataError: the standard deviation of the pixels is too small.
    """
    if (deviation := train.deviation()) < LEAST_DEVIATION:
        raise DataError(
            f"{raw}: the training images are nearly uniform: their pixels, in 0..1, have a "
            f"standard deviation of {deviation:.2g}, but at least {LEAST_DEVIATION:g} is required; "
            "use pictures with more light or contrast"
        )


def samples_of_each_class(characters: Characters) -> Characters:
    """The first characters of each class, at most `SAMPLES`, in label order."""
    by_label = np.argsort(characters.labels, kind="stable")
    ends = np.cumsum(characters.counts())[:-1]
    kept = np.concatenate([each[:SAMPLES] for each in np.split(by_label, ends)])
    return Characters(characters.images[kept], characters.labels[kept], characters.classes)


def write_tables(train: Characters, test: Characters) -> None:
    """Write the index-to-character mapping and the class distribution."""
    names = pd.Series(train.classes, name="character")
    write_csv(names.rename_axis("index").reset_index(), CLASSES)
    counts = {"character": names, "train": train.counts(), "test": test.counts()}
    write_csv(pd.DataFrame(counts), CLASS_COUNTS)


if __name__ == "__main__":
    with stage_process():
        main()
