"""The data sets that `data.dataset` in params.yaml can name, and all that is known of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OF_WHOLE_PICTURES = frozenset({"as-is"})  # conversions; the others are of what is written on them
# Characters that people write with the same strokes, so that only the text around them tells which
# is meant. Drawn up from the shapes, before any model's errors were seen. EMNIST's 47 classes fold
# i, l, o, s and z into I, L, O, S and Z. No character is in two groups.
LOOK_ALIKES = {
    "0/O": "0O",
    "1/I/L": "1IL",
    "2/Z": "2Z",
    "5/S": "5S",
    "9/g/q": "9gq",
    "F/f": "Ff",
}
# ByClass folds nothing: the letters whose two cases EMNIST's makers found to be alike join in.
BYCLASS_LOOK_ALIKES = {
    "0/O/o": "0Oo",
    "1/I/L/i/l": "1ILil",
    "2/Z/z": "2Zz",
    "5/S/s": "5Ss",
    "9/g/q": "9gq",
    "F/f": "Ff",
    **{f"{letter.upper()}/{letter}": letter.upper() + letter for letter in "cjkmpuvwxy"},
}
# Letters has no digits, and both cases of a letter in one class.
LETTERS_LOOK_ALIKES = {"G/Q": "GQ", "I/L": "IL"}


@dataclass(frozen=True)
class Size:
    """How many images a study trains on, and of how many classes.

    at_most: of each class no more than so many, where that is known.
    """

    training: int
    classes: int
    at_most: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        loader: `module:function` below `ablation.raw`, named as entry points are: every stage reads
            this table, but only `prepare` loads raw files.
        conversion: how its images were made, as in `conversion.CONVERSIONS`: a picture that a model
            is shown later goes the same way.
        look_alikes: name of a group to its characters, which nobody could tell apart out of
            context; none is in two groups.
        note: what has to be said beside every number and picture made from it; empty for the data
            that the study is about, a sentence for a stand-in.
        things: what a study calls its images.
        about: what they are and where they come from, for the report.
        size: where it is known before the raw files are read.
        options: passed on to the loader.
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
        """Whether its images are whole pictures, and not what is written on them."""
        return self.conversion in OF_WHOLE_PICTURES


def own_pictures(
    conversion: str = "as-is",
    test_fraction: float | None = None,
    test_seed: int = 0,
    workers: int | None = None,
) -> Dataset:
    """The data set of a person's own pictures, as `data` in params.yaml describes it.

    Args:
        conversion: one of `conversion.CONVERSIONS`.
        test_fraction: of each class's pictures, for the test; None where folders say which.
        test_seed: of this split.
        workers: processes that convert at a time; None for one on each core.
    """
    tested = (
        f"About {test_fraction:.0%} of each class are for the test."
        if test_fraction
        else "A folder of their own says which ones are for the test."
    )
    return Dataset(
        "folder:load_folder",
        conversion,
        things="pictures",
        about=f"Pictures of one's own, from a folder, by the conversion `{conversion}`. {tested}",
        options={
            "conversion": conversion,
            "test_fraction": test_fraction,
            "test_seed": test_seed,
            "workers": workers,
        },
    )


NIST = "Handwriting of people in the United States, from NIST's Special Database 19."
FOLDED = "Of 15 letters, capital and small letter are one class."
FOLDER = "folder"
DATASETS = {
    "emnist-mini": Dataset(
        "emnist:load_emnist",
        "emnist",
        LOOK_ALIKES,
        about=f"{NIST} EMNIST Mini is made of the two official test partitions, ByMerge's and "
        "ByClass's, with every image once. Of each class the first 150 are for the test, and the "
        f"next 600 for training. {FOLDED}",
        size=Size(28_200, 47),
    ),
    "emnist-balanced": Dataset(
        "emnist:load_emnist",
        "emnist",
        LOOK_ALIKES,
        about=f"{NIST} There are as many of each class. {FOLDED}",
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
        about=f"{NIST} Capital and small letter are one class.",
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
        about="Ten Hiragana characters, as they stand in old Japanese books.",
        size=Size(60_000, 10),
    ),
    "glyphs": Dataset(
        "glyphs:load_glyphs",
        "emnist",
        LOOK_ALIKES,
        note="Made from the glyphs dataset: characters drawn from fonts, a stand-in for real "
        "handwriting.",
        size=Size(5_640, 47),
    ),
    FOLDER: own_pictures(),
}
