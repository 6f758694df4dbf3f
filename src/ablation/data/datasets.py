"""The data sets that `data.dataset` in params.yaml can name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OF_WHOLE_PICTURES = frozenset({"as-is"})  # conversions that do not search for writing
# Characters that are written alike and can only be told apart in context. Chosen by shape, before
# any model's errors were seen. EMNIST's 47 classes merge i, l, o, s and z into I, L, O, S and Z. No
# character is in two groups.
LOOK_ALIKES = {
    "0/O": "0O",
    "1/I/L": "1IL",
    "2/Z": "2Z",
    "5/S": "5S",
    "9/g/q": "9gq",
    "F/f": "Ff",
}
# ByClass merges no classes, so the 15 letters whose cases EMNIST's authors found alike are added.
BYCLASS_LOOK_ALIKES = {
    "0/O/o": "0Oo",
    "1/I/L/i/l": "1ILil",
    "2/Z/z": "2Zz",
    "5/S/s": "5Ss",
    "9/g/q": "9gq",
    "F/f": "Ff",
    **{f"{letter.upper()}/{letter}": letter.upper() + letter for letter in "cjkmpuvwxy"},
}
# Letters has no digits, and merges both cases of each letter.
LETTERS_LOOK_ALIKES = {"G/Q": "GQ", "I/L": "IL"}


@dataclass(frozen=True)
class Size:
    """The number of training images and classes of a study.

    at_most: class name to an upper bound on its number of images, if known.
    """

    training: int
    classes: int
    at_most: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        loader: `module:function` below `ablation.raw`, as in entry points: every stage imports
            this table, but only `prepare` needs the loaders.
        conversion: key of `conversion.CONVERSIONS` that its images were made with; also applied to
            pictures at prediction time.
        look_alikes: group name to its characters, which cannot be told apart without context; no
            character is in two groups.
        note: a disclaimer shown with all results, for synthetic data; otherwise empty.
        things: what the report calls its images.
        about: description and source, for the report.
        size: None if it is only known after reading the raw files.
        options: keyword arguments of the loader.
    """

    loader: str
    conversion: str
    look_alikes: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    things: str = "characters"
    about: str = ""
    size: Size | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def of_whole_pictures(self) -> bool:
        """Whether its images are whole pictures, not the writing found on them."""
        return self.conversion in OF_WHOLE_PICTURES


def own_pictures(
    conversion: str = "as-is",
    test_fraction: float | None = None,
    test_seed: int = 0,
    workers: int | None = None,
) -> Dataset:
    """The data set of a folder of pictures, as configured by `data` in params.yaml.

    Args:
        conversion: one of `conversion.CONVERSIONS`.
        test_fraction: fraction of each class to use as the test set; None if the test set has its
            own folder.
        test_seed: seed of the split.
        workers: number of processes; None for one per core.
    """
    tested = (
        f"About {test_fraction:.0%} of each class form the test set."
        if test_fraction
        else "The test set has its own folder."
    )
    return Dataset(
        "folder:load_folder",
        conversion,
        things="pictures",
        about=f"Pictures from a local folder, with the conversion `{conversion}`. {tested}",
        options={
            "conversion": conversion,
            "test_fraction": test_fraction,
            "test_seed": test_seed,
            "workers": workers,
        },
    )


NIST = "Handwriting collected in the United States, from NIST's Special Database 19."
FOLDED = "Upper and lower case of 15 letters are merged."
FOLDER = "folder"
DATASETS = {
    "emnist-mini": Dataset(
        "emnist:load_emnist",
        "emnist",
        LOOK_ALIKES,
        about=f"{NIST} EMNIST Mini combines the official test partitions of ByMerge and ByClass, "
        "without duplicate images. The first 150 images of each class form the test set, the next "
        f"600 the training set. {FOLDED}",
        size=Size(28_200, 47),
    ),
    "emnist-balanced": Dataset(
        "emnist:load_emnist",
        "emnist",
        LOOK_ALIKES,
        about=f"{NIST} All classes have the same size. {FOLDED}",
        size=Size(112_800, 47),
    ),
    "emnist-byclass": Dataset(
        "emnist:load_emnist",
        "emnist",
        BYCLASS_LOOK_ALIKES,
        about=f"{NIST} Some classes are much larger than others.",
        size=Size(697_932, 62),
    ),
    "emnist-bymerge": Dataset(
        "emnist:load_emnist",
        "emnist",
        LOOK_ALIKES,
        about=f"{NIST} Some classes are much larger than others. {FOLDED}",
        size=Size(697_932, 47),
    ),
    "emnist-letters": Dataset(
        "emnist:load_emnist",
        "emnist",
        LETTERS_LOOK_ALIKES,
        about=f"{NIST} Upper and lower case are merged.",
        size=Size(124_800, 26),
    ),
    "emnist-digits": Dataset("emnist:load_emnist", "emnist", about=NIST, size=Size(240_000, 10)),
    "emnist-mnist": Dataset("emnist:load_emnist", "emnist", about=NIST, size=Size(60_000, 10)),
    "mnist": Dataset(
        "mnist:load_mnist",
        "mnist",
        about="Handwritten digits, from NIST's Special Databases 1 and 3.",
        size=Size(60_000, 10),
    ),
    "fashion-mnist": Dataset(
        "mnist:load_mnist",
        "as-is",
        things="pictures",
        about="Photographs of clothes, from the shop Zalando.",
        size=Size(60_000, 10),
    ),
    "kmnist": Dataset(
        "mnist:load_mnist",
        "as-is",
        about="Ten Hiragana characters from classical Japanese books.",
        size=Size(60_000, 10),
    ),
    "glyphs": Dataset(
        "glyphs:load_glyphs",
        "emnist",
        LOOK_ALIKES,
        note="Made from the glyphs dataset: synthetic characters drawn from fonts, not real "
        "handwriting.",
        size=Size(2_820, 47),
    ),
    FOLDER: own_pictures(),
}
