"""Which character is on a picture: what every model answers, and why where none can."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ablation.base.errors import UserError
from ablation.data.characters import SIDE
from ablation.data.conversion import CONVERSIONS
from ablation.page import EmptyPageError, pages
from ablation.picture import brightness_of

if TYPE_CHECKING:  # torch takes seconds, and a picture that cannot be read needs none
    from ablation.fitted import Fitted

GUESSES = 3


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
        guesses: a model's name to its guesses, the most probable first.
        seen: a conversion's name to (28, 28) uint8, what the models that it belongs to saw.
    """

    image: str
    error: str | None = None
    warning: str | None = None
    guesses: Mapping[str, list[Guess]] | None = None
    seen: Mapping[str, np.ndarray] | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `image`, and `error` or else `warning` and the guesses of every model."""
        if self.error is not None:
            return {"image": self.image, "error": self.error}
        guesses = {
            name: [vars(guess) for guess in some] for name, some in (self.guesses or {}).items()
        }
        return {"image": self.image, "warning": self.warning, **guesses}


@dataclass(frozen=True)
class _Drawing:
    """Pages of (128, 128): the whole, then each character where there are several.

    Or one image of (28, 28) that is in EMNIST's form already.
    """

    pages: list[np.ndarray]

    def seen(self, conversion: str) -> list[np.ndarray]:
        return [
            page if page.shape == (SIDE, SIDE) else CONVERSIONS[conversion](page)
            for page in self.pages
        ]


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
    read = [_read(image) for image in images]
    drawings = [drawing for _, drawing in read if drawing]
    conversions = {fitted.about.conversion for fitted in models.values()}
    seen = {way: [drawing.seen(way) for drawing in drawings] for way in conversions}
    said = {name: _ask(fitted, seen[fitted.about.conversion]) for name, fitted in models.items()}
    answers = []
    places = iter(range(len(drawings)))
    for blank, drawing in read:
        if drawing is None:
            answers.append(blank)
            continue
        place = next(places)
        best = {
            name: [_best(row, models[name].about.classes, guesses) for row in rows[place]]
            for name, rows in said.items()
        }
        answers.append(
            replace(
                blank,
                warning=_warning(best),
                guesses={name: each[0] for name, each in best.items()},
                seen={way: images[place][0] for way, images in seen.items()},
            )
        )
    return answers


def _read(image: Path | BinaryIO) -> tuple[Answer, _Drawing | None]:
    blank = Answer(str(image) if isinstance(image, Path) else str(getattr(image, "name", "")))
    try:
        return blank, _drawing(image)
    except UserError as error:
        return replace(blank, error=str(error)), None


def _drawing(image: Path | BinaryIO) -> _Drawing:
    """What is on the first frame that is not empty."""
    empty = EmptyPageError("")
    for brightness in brightness_of(image):
        if _is_emnists(brightness):
            return _Drawing([np.asarray(np.rint(brightness * 255), dtype=np.uint8)])
        try:
            return _Drawing(pages(brightness))
        except EmptyPageError as error:
            empty = error
    raise empty


def _is_emnists(brightness: np.ndarray) -> bool:
    """28 x 28 and white on black, as in EMNIST's own files."""
    if brightness.shape != (SIDE, SIDE) or brightness.max() < 0.3:
        return False
    border = np.concatenate([brightness[[0, -1]].ravel(), brightness[:, [0, -1]].ravel()])
    return bool(np.median(border) < 0.1)


def _ask(fitted: "Fitted", seen: list[list[np.ndarray]]) -> list[np.ndarray]:
    """(characters, classes) for every picture, all in one batch."""
    if not seen:
        return []
    probabilities = fitted.probabilities(np.stack([one for some in seen for one in some]))
    return np.split(probabilities, np.cumsum([len(some) for some in seen])[:-1])


def _best(probabilities: np.ndarray, classes: tuple[str, ...], guesses: int) -> list[Guess]:
    order = np.argsort(-probabilities, kind="stable")[:guesses]
    return [Guess(classes[place], float(probabilities[place])) for place in order]


def _warning(best: Mapping[str, list[list[Guess]]]) -> str | None:
    count = len(next(iter(best.values()))) - 1 if best else 0
    if count < 1:
        return None
    each = "; ".join(
        f"{name}: {' '.join(some[0].character for some in rows[1:])}" for name, rows in best.items()
    )
    return f"{count} characters rather than one; from left to right, {each}"
