"""The data sets that `data.dataset` in params.yaml can name, and all that is known of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ablation.data.characters import Characters

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
        load: from the folder of raw files to the training and the test set.
        conversion: how its images were made, as in `conversion.CONVERSIONS`: a picture that a model
            is shown later goes the same way.
        look_alikes: name of a group to its characters, which nobody could tell apart out of
            context; none is in two groups.
        note: what has to be said beside every number and picture made from it; empty for the data
            that the study is about, a sentence for a stand-in.
        things: what a study calls its images.
        about: what they are and where they come from, for the report.
        size: from the folder of raw files to what is known of the size before they are read, or
            None.
    """

    load: Callable[[Path], tuple[Characters, Characters]]
    conversion: str
    look_alikes: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    things: str = "characters"
    about: str = ""
    size: Callable[[Path], Size | None] = lambda _raw: None


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

    def load(raw: Path) -> tuple[Characters, Characters]:
        from ablation.data.folder import load_folder

        return load_folder(raw, conversion, test_fraction, test_seed, workers)

    def size(raw: Path) -> Size | None:
        from ablation.data.folder import count_folder

        counted = count_folder(raw, test_fraction)
        if not counted:
            return None
        total = sum(counted.values())
        at_most = {name: count - bool(test_fraction) for name, count in counted.items()}
        return Size(total - round(total * (test_fraction or 0)), len(counted), at_most)

    tested = (
        f"About {test_fraction:.0%} of each class are for the test."
        if test_fraction
        else "A folder of their own says which ones are for the test."
    )
    return Dataset(
        load,
        conversion,
        things="pictures",
        about=f"Pictures of one's own, from a folder, by the conversion `{conversion}`. {tested}",
        size=size,
    )


def _emnist(dataset: str) -> Callable[[Path], tuple[Characters, Characters]]:
    def load(raw: Path) -> tuple[Characters, Characters]:
        from ablation.data.emnist import load_emnist  # here: every stage reads this table

        return load_emnist(dataset, raw)

    return load


def _mnist(dataset: str) -> Callable[[Path], tuple[Characters, Characters]]:
    def load(raw: Path) -> tuple[Characters, Characters]:
        from ablation.data.mnist import load_mnist

        return load_mnist(dataset, raw)

    return load


def _known(training: int, classes: int) -> Callable[[Path], Size]:
    return lambda _raw: Size(training, classes)


def _glyphs(_raw: Path) -> tuple[Characters, Characters]:
    from ablation.data.glyphs import load_glyphs

    return load_glyphs()


NIST = "Handwriting of people in the United States, from NIST's Special Database 19."
FOLDED = "Of 15 letters, capital and small letter are one class."
FOLDER = "folder"
DATASETS = {
    "emnist-mini": Dataset(
        _emnist("emnist-mini"),
        "emnist",
        LOOK_ALIKES,
        about=f"{NIST} EMNIST Mini is made of the two official test partitions, ByMerge's and "
        "ByClass's, with every image once. Of each class the first 150 are for the test, and the "
        f"next 600 for training. {FOLDED}",
        size=_known(28_200, 47),
    ),
    "emnist-balanced": Dataset(
        _emnist("emnist-balanced"),
        "emnist",
        LOOK_ALIKES,
        about=f"{NIST} There are as many of each class. {FOLDED}",
        size=_known(112_800, 47),
    ),
    "emnist-byclass": Dataset(
        _emnist("emnist-byclass"),
        "emnist",
        BYCLASS_LOOK_ALIKES,
        about=f"{NIST} Some classes are much larger than others.",
        size=_known(697_932, 62),
    ),
    "emnist-bymerge": Dataset(
        _emnist("emnist-bymerge"),
        "emnist",
        LOOK_ALIKES,
        about=f"{NIST} Some classes are much larger than others. {FOLDED}",
        size=_known(697_932, 47),
    ),
    "emnist-letters": Dataset(
        _emnist("emnist-letters"),
        "emnist",
        LETTERS_LOOK_ALIKES,
        about=f"{NIST} Capital and small letter are one class.",
        size=_known(124_800, 26),
    ),
    "emnist-digits": Dataset(
        _emnist("emnist-digits"), "emnist", about=NIST, size=_known(240_000, 10)
    ),
    "emnist-mnist": Dataset(_emnist("emnist-mnist"), "emnist", about=NIST, size=_known(60_000, 10)),
    "mnist": Dataset(
        _mnist("mnist"),
        "mnist",
        about="Handwritten digits, from NIST's Special Databases 1 and 3.",
        size=_known(60_000, 10),
    ),
    "fashion-mnist": Dataset(
        _mnist("fashion-mnist"),
        "as-is",
        things="pictures",
        about="Photographs of clothes, from the shop Zalando.",
        size=_known(60_000, 10),
    ),
    "kmnist": Dataset(
        _mnist("kmnist"),
        "as-is",
        about="Ten Hiragana characters, as they stand in old Japanese books.",
        size=_known(60_000, 10),
    ),
    "glyphs": Dataset(
        _glyphs,
        "emnist",
        LOOK_ALIKES,
        note="Made from the glyphs dataset: characters drawn from fonts, a stand-in for real "
        "handwriting.",
        size=_known(5_640, 47),
    ),
    FOLDER: own_pictures(),
}
