"""The data sets that `data.dataset` in params.yaml can name, and all that is known of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

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


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        load: from the folder of raw files to the training and the test set.
        conversion: how its images were made from pages, as in `conversion.CONVERSIONS`: a picture
            that a model is shown later goes the same way.
        look_alikes: name of a group to its characters, which nobody could tell apart out of
            context; none is in two groups.
        note: what has to be said beside every number and picture made from it; empty for the data
            that the study is about, a sentence for a stand-in.
    """

    load: Callable[[Path], tuple[Characters, Characters]]
    conversion: str
    look_alikes: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


def _emnist(
    dataset: Literal["emnist-mini", "emnist-balanced"],
) -> Callable[[Path], tuple[Characters, Characters]]:
    def load(raw: Path) -> tuple[Characters, Characters]:
        from ablation.data.emnist import load_emnist  # here: every stage reads this table

        return load_emnist(dataset, raw)

    return load


def _glyphs(_raw: Path) -> tuple[Characters, Characters]:
    from ablation.data.glyphs import load_glyphs

    return load_glyphs()


DATASETS = {
    "emnist-mini": Dataset(_emnist("emnist-mini"), "emnist", LOOK_ALIKES),
    "emnist-balanced": Dataset(_emnist("emnist-balanced"), "emnist", LOOK_ALIKES),
    "glyphs": Dataset(
        _glyphs,
        "emnist",
        LOOK_ALIKES,
        note="Made from the glyphs dataset: characters drawn from fonts, a stand-in for real "
        "handwriting.",
    ),
}
