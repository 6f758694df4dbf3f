"""Recognises the characters on pictures with one or more fitted models."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ablation.base.errors import UserError
from ablation.pictures.picture import Levels
from ablation.pictures.preprocessing import Preprocessed, preprocess

if TYPE_CHECKING:  # importing torch takes seconds
    from ablation.fitted.model import Fitted

GUESSES = 3
# Arguments of `preprocess`: the conversion and the levels.
Preprocessing = tuple[str, Levels | None]


@dataclass(frozen=True)
class Guess:
    """A character and its probability, in 0..1."""

    character: str
    probability: float


@dataclass(frozen=True)
class Answer:
    """The models' predictions for one picture.

    Attributes:
        image: its name.
        error: why there are no predictions, or None.
        warning: problems that affect the predictions, or None.
        guesses: model name to its predictions, the most probable first. A model whose
            preprocessing fails is missing, and `warning` says why.
        preprocessed: conversion name to the input of the models that use it.
    """

    image: str
    error: str | None = None
    warning: str | None = None
    guesses: Mapping[str, list[Guess]] | None = None
    preprocessed: Mapping[str, Preprocessed] | None = None

    @property
    def seen(self) -> Mapping[str, np.ndarray]:
        """Conversion name to (28, 28) uint8, all of the writing; empty if there is an error."""
        return {way: seen.images[0] for way, seen in (self.preprocessed or {}).items()}

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `image`, and either `error` or `warning` and the guesses of each model."""
        if self.error is not None:
            return {"image": self.image, "error": self.error}
        guesses = {
            name: [vars(guess) for guess in some] for name, some in (self.guesses or {}).items()
        }
        return {"image": self.image, "warning": self.warning, **guesses}


def answer(
    images: Iterable[Path | BinaryIO], models: Mapping[str, "Fitted"], guesses: int = GUESSES
) -> list[Answer]:
    """Run all models on all pictures; unreadable pictures do not affect the others.

    Args:
        images: paths or open files.
        models: name to fitted model.
        guesses: number of predictions per model.

    Returns:
        One answer per picture, in order.
    """
    preprocessed = {
        name: (each.about.conversion, each.about.levels) for name, each in models.items()
    }
    read = [_read(image, dict.fromkeys(preprocessed.values())) for image in images]
    said = {
        name: _ask(fitted, [each.images(preprocessed[name]) for each in read])
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
                Answer(picture.name, error="; ".join(dict.fromkeys(picture.errors.values())))
            )
            continue
        without = [
            f"{name}: {picture.errors[preprocessed[name]]}" for name in models if name not in best
        ]
        warnings = filter(None, [_several(best), *picture.warnings, *without])
        answers.append(
            Answer(
                picture.name,
                warning="; ".join(warnings) or None,
                guesses={name: each[0] for name, each in best.items()},
                preprocessed={
                    conversion: seen for (conversion, _), seen in picture.preprocessed.items()
                },
            )
        )
    return answers


@dataclass(frozen=True)
class _Picture:
    """A picture's preprocessed inputs, or the errors of preprocessing it."""

    name: str
    preprocessed: dict[Preprocessing, Preprocessed]
    errors: dict[Preprocessing, str]

    def images(self, way: Preprocessing) -> list[np.ndarray]:
        return self.preprocessed[way].images if way in self.preprocessed else []

    @property
    def warnings(self) -> list[str]:
        return list(dict.fromkeys(w for seen in self.preprocessed.values() for w in seen.warnings))


def _read(image: Path | BinaryIO, preprocessed: Iterable[Preprocessing]) -> _Picture:
    name = str(image) if isinstance(image, Path) else str(getattr(image, "name", ""))
    picture = _Picture(name, {}, {})
    for way in preprocessed:
        try:
            picture.preprocessed[way] = preprocess(image, *way)
        except UserError as error:
            picture.errors[way] = str(error)
    return picture


def _ask(fitted: "Fitted", pictures: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Predict in one batch; returns (images, classes) for each picture, which may have no image."""
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
    return f"{count} characters instead of one; from left to right: {each}"
