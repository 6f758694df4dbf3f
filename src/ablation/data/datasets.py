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
        training: how many images it trains on, where this is known before they are read.
        things: what a study calls its images.
    """

    load: Callable[[Path], tuple[Characters, Characters]]
    conversion: str
    look_alikes: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    training: int | None = None
    things: str = "characters"


def own_pictures(
    conversion: str = "as-is", test_fraction: float | None = None, test_seed: int = 0
) -> Dataset:
    """The data set of a person's own pictures, as `data` in params.yaml describes it.

    Args:
        conversion: one of `conversion.CONVERSIONS`.
        test_fraction: of each class's pictures, for the test; None where folders say which.
        test_seed: of this split.
    """

    def load(raw: Path) -> tuple[Characters, Characters]:
        from ablation.data.folder import load_folder

        return load_folder(raw, conversion, test_fraction, test_seed)

    return Dataset(load, conversion, things="pictures")


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


def _glyphs(_raw: Path) -> tuple[Characters, Characters]:
    from ablation.data.glyphs import load_glyphs

    return load_glyphs()


FOLDER = "folder"
DATASETS = {
    "emnist-mini": Dataset(_emnist("emnist-mini"), "emnist", LOOK_ALIKES, training=28_200),
    "emnist-balanced": Dataset(_emnist("emnist-balanced"), "emnist", LOOK_ALIKES, training=112_800),
    "emnist-byclass": Dataset(
        _emnist("emnist-byclass"), "emnist", BYCLASS_LOOK_ALIKES, training=697_932
    ),
    "emnist-bymerge": Dataset(_emnist("emnist-bymerge"), "emnist", LOOK_ALIKES, training=697_932),
    "emnist-letters": Dataset(
        _emnist("emnist-letters"), "emnist", LETTERS_LOOK_ALIKES, training=124_800
    ),
    "emnist-digits": Dataset(_emnist("emnist-digits"), "emnist", training=240_000),
    "emnist-mnist": Dataset(_emnist("emnist-mnist"), "emnist", training=60_000),
    "mnist": Dataset(_mnist("mnist"), "mnist", training=60_000),
    "fashion-mnist": Dataset(_mnist("fashion-mnist"), "as-is", training=60_000, things="pictures"),
    "kmnist": Dataset(_mnist("kmnist"), "as-is", training=60_000),
    "glyphs": Dataset(
        _glyphs,
        "emnist",
        LOOK_ALIKES,
        note="Made from the glyphs dataset: characters drawn from fonts, a stand-in for real "
        "handwriting.",
        training=5_640,
    ),
    FOLDER: own_pictures(),
}
