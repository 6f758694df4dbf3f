"""Which character is on a picture: what every model answers, and why where none can."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ablation.base.errors import UserError
from ablation.pictures.picture import Levels
from ablation.pictures.seen import Seen, seen

if TYPE_CHECKING:  # torch takes seconds, and a picture that cannot be read needs none
    from ablation.fitted.model import Fitted

GUESSES = 3
# How a picture becomes an image: by which conversion, and what is black and white of many bits.
Way = tuple[str, Levels | None]


@dataclass(frozen=True)
class Guess:
    """A character and its probability, in 0..1."""

    character: str
    probability: float


@dataclass(frozen=True)
class Answer:
    """What is said of one picture.

    Attributes:
        image: its name.
        error: why there is no answer, or None.
        warning: what a person has to know of the answer, or None.
        guesses: a model's name to its guesses, the most probable first; a model is left out whose
            way finds nothing on the picture, and `warning` says so.
        ways: a conversion's name to what the models that it belongs to saw.
    """

    image: str
    error: str | None = None
    warning: str | None = None
    guesses: Mapping[str, list[Guess]] | None = None
    ways: Mapping[str, Seen] | None = None

    @property
    def seen(self) -> Mapping[str, np.ndarray]:
        """A conversion's name to (28, 28) uint8, of all that is written; none without an answer."""
        return {way: seen.images[0] for way, seen in (self.ways or {}).items()}

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `image`, and `error` or else `warning` and the guesses of every model."""
        if self.error is not None:
            return {"image": self.image, "error": self.error}
        guesses = {
            name: [vars(guess) for guess in some] for name, some in (self.guesses or {}).items()
        }
        return {"image": self.image, "warning": self.warning, **guesses}


def answer(
    images: Iterable[Path | BinaryIO], models: Mapping[str, "Fitted"], guesses: int = GUESSES
) -> list[Answer]:
    """Ask every model about every picture; one that cannot be read does not lose the others.

    Args:
        images: files, or open ones.
        models: fitted models, by the names that the answers give them.
        guesses: how many characters each model names.

    Returns:
        an answer for each picture, in their order.
    """
    ways = {name: (each.about.conversion, each.about.levels) for name, each in models.items()}
    read = [_read(image, dict.fromkeys(ways.values())) for image in images]
    said = {
        name: _ask(fitted, [each.images(ways[name]) for each in read])
        for name, fitted in models.items()
    }
    answers = []
    for place, picture in enumerate(read):
        best = {
            name: [_best(row, models[name].about.classes, guesses) for row in rows[place]]
            for name, rows in said.items()
            if len(rows[place])
        }
        if not best:
            answers.append(
                Answer(picture.name, error="; ".join(dict.fromkeys(picture.faults.values())))
            )
            continue
        without = [f"{name}: {picture.faults[ways[name]]}" for name in models if name not in best]
        warnings = filter(None, [_several(best), *picture.warnings, *without])
        answers.append(
            Answer(
                picture.name,
                warning="; ".join(warnings) or None,
                guesses={name: each[0] for name, each in best.items()},
                ways={conversion: seen for (conversion, _), seen in picture.ways.items()},
            )
        )
    return answers


@dataclass(frozen=True)
class _Picture:
    """What a picture becomes on each way, or why it becomes nothing there."""

    name: str
    ways: dict[Way, Seen]
    faults: dict[Way, str]

    def images(self, way: Way) -> list[np.ndarray]:
        return self.ways[way].images if way in self.ways else []

    @property
    def warnings(self) -> list[str]:
        return list(dict.fromkeys(w for seen in self.ways.values() for w in seen.warnings))


def _read(image: Path | BinaryIO, ways: Iterable[Way]) -> _Picture:
    name = str(image) if isinstance(image, Path) else str(getattr(image, "name", ""))
    picture = _Picture(name, {}, {})
    for way in ways:
        try:
            picture.ways[way] = seen(image, *way)
        except UserError as error:
            picture.faults[way] = str(error)
    return picture


def _ask(fitted: "Fitted", pictures: list[list[np.ndarray]]) -> list[np.ndarray]:
    """(images, classes) for every picture, all in one batch; a picture may be of no image."""
    images = [one for each in pictures for one in each]
    if not images:
        return [np.empty(0)] * len(pictures)
    probabilities = fitted.probabilities(np.stack(images))
    return np.split(probabilities, np.cumsum([len(each) for each in pictures])[:-1])


def _best(probabilities: np.ndarray, classes: tuple[str, ...], guesses: int) -> list[Guess]:
    order = np.argsort(-probabilities, kind="stable")[:guesses]
    return [Guess(classes[place], float(probabilities[place])) for place in order]


def _several(best: Mapping[str, list[list[Guess]]]) -> str | None:
    several = {name: rows[1:] for name, rows in best.items() if len(rows) > 1}
    if not several:
        return None
    count = len(next(iter(several.values())))
    each = "; ".join(
        f"{name}: {' '.join(some[0].character for some in rows)}" for name, rows in several.items()
    )
    return f"{count} characters rather than one; from left to right, {each}"
