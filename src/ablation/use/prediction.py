"""Recognises the characters in pictures with one or more fitted models."""

import io
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ablation.base.errors import UserError
from ablation.pictures.picture import Levels
from ablation.pictures.preprocessing import Preprocessed, preprocess

if TYPE_CHECKING:  # importing torch takes seconds
    from ablation.fitted.model import Fitted

GUESSES = 3
STANDARD_INPUT = Path("-")
MOST_BYTES = 2**30  # maximum size of a picture from a pipe
MOST_READ = 12  # of more characters, only their number is said
# Arguments of `preprocess`: the conversion and the levels.
Preprocessing = tuple[str, Levels | None]


@dataclass(frozen=True)
class Guess:
    """A character and its probability, in 0..1."""

    character: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The models' predictions for one picture.

    Attributes:
        image: its name.
        error: why there are no predictions, or None.
        warning: problems that affect the predictions, or None.
        guesses: model name to its predictions, the most probable first. A model whose
            preprocessing fails is missing, and `warning` says why.
        several: model name to the number of characters found, if more than one: its predictions
            are then of all of them together, and not to be trusted.
        preprocessed: conversion name to the input of the models that use it.
    """

    image: str
    error: str | None = None
    warning: str | None = None
    guesses: Mapping[str, list[Guess]] | None = None
    several: Mapping[str, int] = field(default_factory=dict)
    preprocessed: Mapping[str, Preprocessed] | None = None

    @property
    def seen(self) -> Mapping[str, np.ndarray]:
        """Conversion name to (28, 28) uint8, with all of the writing; empty on an error."""
        return {name: seen.images[0] for name, seen in (self.preprocessed or {}).items()}

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `image`, and either `error` or `warning` and the guesses of each model."""
        if self.error is not None:
            return {"image": self.image, "error": self.error}
        guesses = {
            name: [vars(guess) for guess in some] for name, some in (self.guesses or {}).items()
        }
        return {"image": self.image, "warning": self.warning, **guesses}


def open_pictures(images: Iterable[Path]) -> Iterator[Path | BinaryIO]:
    """Paths, and the buffered content of pipes, which can be read only once.

    Raises:
        UserError: standard input is named, but closed.
    """
    for path in images:
        if path == STANDARD_INPUT:
            if sys.stdin is None:
                raise UserError("-: standard input is closed; name a picture, or pipe one in")
            yield _named(sys.stdin.buffer, path)
        elif path.exists() and stat.S_ISFIFO(path.stat().st_mode):
            with path.open("rb") as pipe:
                yield _named(pipe, path)
        else:
            yield path


def predict_pictures(
    images: Iterable[Path | BinaryIO], models: Mapping[str, "Fitted"], guesses: int = GUESSES
) -> list[Prediction]:
    """Run all models on all pictures; unreadable pictures do not affect the others.

    Args:
        images: paths or open files.
        models: name to fitted model.
        guesses: number of predictions per model.

    Returns:
        One prediction per picture, in order.
    """
    preprocessings = {
        name: (each.metadata.conversion, each.metadata.levels) for name, each in models.items()
    }
    read = [_read(image, dict.fromkeys(preprocessings.values())) for image in images]
    probabilities = {
        name: _predict(fitted, [each.images(preprocessings[name]) for each in read])
        for name, fitted in models.items()
    }
    predictions = []
    for place, picture in enumerate(read):
        best = {
            name: [_best(row, models[name].metadata.classes, guesses) for row in rows[place]]
            for name, rows in probabilities.items()
            if len(rows[place])
        }
        if not best:
            predictions.append(
                Prediction(picture.name, error="; ".join(dict.fromkeys(picture.errors.values())))
            )
            continue
        without = [
            f"{name}: {picture.errors[preprocessings[name]]}" for name in models if name not in best
        ]
        warnings = filter(None, [_several_warning(best), *picture.warnings, *without])
        predictions.append(
            Prediction(
                picture.name,
                warning="; ".join(warnings) or None,
                guesses={name: each[0] for name, each in best.items()},
                several={name: len(each) - 1 for name, each in best.items() if len(each) > 1},
                preprocessed={
                    conversion: seen for (conversion, _), seen in picture.preprocessed.items()
                },
            )
        )
    return predictions


def _named(pipe: BinaryIO, path: Path) -> BinaryIO:
    content = io.BytesIO(pipe.read(MOST_BYTES))
    content.name = str(path)
    return content


@dataclass(frozen=True)
class _Picture:
    """A picture's preprocessed inputs, or the errors of preprocessing it."""

    name: str
    preprocessed: dict[Preprocessing, Preprocessed]
    errors: dict[Preprocessing, str]

    def images(self, preprocessing: Preprocessing) -> list[np.ndarray]:
        found = self.preprocessed.get(preprocessing)
        return found.images if found else []

    @property
    def warnings(self) -> list[str]:
        return list(dict.fromkeys(w for seen in self.preprocessed.values() for w in seen.warnings))


def _read(image: Path | BinaryIO, preprocessings: Iterable[Preprocessing]) -> _Picture:
    name = str(image) if isinstance(image, Path) else str(getattr(image, "name", ""))
    picture = _Picture(name, {}, {})
    for each in preprocessings:
        try:
            picture.preprocessed[each] = preprocess(image, *each)
        except UserError as error:
            picture.errors[each] = str(error)
    return picture


def _predict(fitted: "Fitted", pictures: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Predict in one batch; returns (images, classes) for each picture, which may have no image."""
    images = [one for each in pictures for one in each]
    if not images:
        return [np.empty(0)] * len(pictures)
    probabilities = fitted.probabilities(np.stack(images))
    return np.split(probabilities, np.cumsum([len(each) for each in pictures])[:-1])


def _best(probabilities: np.ndarray, classes: tuple[str, ...], guesses: int) -> list[Guess]:
    order = np.argsort(-probabilities, kind="stable")[:guesses]
    return [Guess(classes[place], float(probabilities[place])) for place in order]


def _several_warning(best: Mapping[str, list[list[Guess]]]) -> str | None:
    """A warning about several characters, with what each model reads, or all of them alike."""
    read = {
        name: " ".join(some[0].character for some in rows[1:])
        for name, rows in best.items()
        if len(rows) > 1
    }
    if not read:
        return None
    count = max(map(len, best.values())) - 1
    said = " or ".join(f"{what} ({name})" for name, what in read.items())
    if len({*read.values()}) == 1:
        said = next(iter(read.values()))
    as_what = f", read as {said}" if count <= MOST_READ else ""
    return f"{count} characters instead of one{as_what}: write one, or crop the picture to one"
