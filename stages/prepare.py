"""Stage `prepare`: from raw files, or fonts, to the training and the test set."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from ablation.data.characters import Characters, DataError
from ablation.data.datasets import load_dataset
from ablation.params import ParamsError, load_params

PREPARED = Path("data/prepared")
CLASSES = Path("data/classes.csv")
METRICS = Path("metrics/data.json")
CLASS_COUNTS = Path("plots/data/class_counts.csv")


def main() -> None:
    """Load the dataset that params.yaml names and write everything that is known about it."""
    try:
        data = load_params().data
        train, test = load_dataset(data.dataset, data.raw)
    except (DataError, ParamsError) as error:
        sys.exit(f"prepare: {error}")
    train.save(PREPARED / "train.npz")
    test.save(PREPARED / "test.npz")
    first_of_each_class(train).save(PREPARED / "samples.npz")
    write_tables(train, test)
    print(
        f"{data.dataset}: {len(train):,} training and {len(test):,} test characters, "
        f"{len(train.classes)} classes"
    )
    if data.dataset == "glyphs":
        print(
            "These are not handwriting: glyphs is a stand-in drawn from matplotlib's fonts, "
            "to try the pipeline with."
        )


def first_of_each_class(characters: Characters) -> Characters:
    """One character of every class, in label order."""
    first = np.unique(characters.labels, return_index=True)[1]
    return Characters(characters.images[first], characters.labels[first], characters.classes)


def write_tables(train: Characters, test: Characters) -> None:
    """Write the index-to-character mapping, the counts and the class distribution."""
    for path in (CLASSES, METRICS, CLASS_COUNTS):
        path.parent.mkdir(parents=True, exist_ok=True)
    names = pd.Series(train.classes, name="character")
    names.to_csv(CLASSES, index_label="index")
    counts = {"character": names, "train": train.counts(), "test": test.counts()}
    pd.DataFrame(counts).to_csv(CLASS_COUNTS, index=False)
    sizes = {"train": len(train), "test": len(test), "classes": len(train.classes)}
    METRICS.write_text(json.dumps(sizes, indent=2) + "\n")


if __name__ == "__main__":
    main()
