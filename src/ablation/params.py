"""The schema of params.yaml, and its only reader."""

import math
import os
from collections import Counter
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ablation.base.checked import MOST, Checked, Count, ParamsError, load, one_of
from ablation.data.datasets import DATASETS, FOLDER, Dataset, own_pictures
from ablation.labels import label
from ablation.trial.families import FAMILIES, SIZES, Spec, sizes_of
from ablation.trial.recipe import Recipe

Setting = TypeVar("Setting")

PARAMS = Path("params.yaml")

# Far more than anybody's study: 47 classes are told apart by 5 repeats. Beyond, a slip of the hand.
MOST_SEEDS = 1000
MOST_ORDER_PAIRS = 100
MOST_SETTINGS = 1000
MOST_WORKERS = 1024
MOST_NAMED = 10  # classes that a message lists
# 64 bits: more than any machine's dice keep of a seed.
LARGEST_SEED = 2**64 - 1


class Candidate(Checked, Generic[Setting]):
    """One entry of a technique's list: a single setting, or a small grid of them.

    Written in params.yaml as the setting itself; a list in place of a value makes a grid.
    """

    settings: tuple[Setting, ...]
    grid: tuple[str, ...]

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, entry: Any) -> dict[str, Any]:
        if not isinstance(entry, dict):
            return {"settings": (entry,), "grid": ()}
        axes = {key: v if isinstance(v, list) else [v] for key, v in entry.items()}
        for key, values in axes.items():
            if not values:
                raise PydanticCustomError("at", "an empty list; give a value", {"key": key})
            if key == "name" and len(values) > 1:
                raise PydanticCustomError(
                    "at", "one candidate has one name; make more candidates", {"key": key}
                )
        if (count := math.prod(map(len, axes.values()))) > MOST_SETTINGS:
            raise PydanticCustomError(
                "large",
                "a grid of {n} settings; give {most} or fewer",
                {"n": count, "most": MOST_SETTINGS},
            )
        points = tuple(dict(zip(axes, point, strict=True)) for point in product(*axes.values()))
        return {
            "settings": points,
            "grid": tuple(key for key, values in axes.items() if len(values) > 1),
        }

    @model_validator(mode="after")
    def _points_apart(self) -> "Candidate[Setting]":
        # Of two with one name the second would not be tried; of two that are equal it need not be.
        _named_apart(tuple(dict.fromkeys(self.settings)))
        return self

    @property
    def label(self) -> str:
        """What a person would call the entry: its setting, or what its grid has in common."""
        return label(self.settings[0], without=self.grid)


class Data(Checked):
    """Which characters to study, and the folder that holds their raw files.

    Of the data set `folder` alone: conversion, how a picture becomes an image; test_fraction, the
    share of each class that is the test set, where the pictures do not lie in two folders already;
    test_seed, of that split.
    """

    dataset: Literal[tuple(DATASETS)]  # type: ignore[valid-type]
    raw: Annotated[Path, Field(strict=False)]
    conversion: Literal["as-is", "emnist"] = "as-is"
    test_fraction: Annotated[float, Field(gt=0, le=0.5)] | None = None
    test_seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = 0

    @field_validator("raw")
    @classmethod
    def _is_the_same_to_dvc(cls, raw: Path) -> Path:
        if str(raw).startswith("~"):  # only a shell knows it, and DVC watches this folder too
            home = os.path.expanduser(raw)  # noqa: PTH111  (Path's fails for ~nobody)
            raise PydanticCustomError("home", "DVC does not know `~`; write {at}", {"at": home})
        if raw == Path() or "\0" in str(raw):
            raise PydanticCustomError("folder", "names no folder of its own; write data/raw")
        return raw

    @model_validator(mode="after")
    def _says_nothing_that_is_not_heeded(self) -> "Data":
        for key in ("conversion", "test_fraction", "test_seed"):
            default = Data.model_fields[key].default
            if self.dataset != FOLDER and getattr(self, key) != default:
                said = "is for the dataset {folder} alone; take it out"
                raise PydanticCustomError("at", said, {"key": key, "folder": FOLDER})
        return self


class Validation(Checked):
    """Repeats: `shuffle` draws as many stratified splits, `kfold` makes as many folds.

    fraction: up to one half. What trains on less than it is scored on says little of a training on
    all characters, which is what a winner is fitted with.
    """

    scheme: Literal["shuffle", "kfold"]
    fraction: Annotated[float, Field(gt=0, le=0.5)]
    repeats: Annotated[Count, Field(le=MOST_SEEDS)]

    @model_validator(mode="after")
    def _folds_need_two(self) -> "Validation":
        if self.scheme == "kfold" and self.repeats < 2:
            raise PydanticCustomError("at", "1 is no kfold; give 2 or more", {"key": "repeats"})
        return self


class Selection(Checked):
    """How a stage is decided.

    risk: how often a stage may leave an incumbent for candidates that all equal it; equal_within:
    the difference of accuracy, as a fraction, that nobody would pay for; racing: whether candidates
    that cannot win any more stop early.
    """

    risk: Annotated[float, Field(gt=0, le=0.5)]
    equal_within: Annotated[float, Field(ge=0, le=1)]
    racing: bool


class Training(Checked):
    """How trials are computed; `workers` changes the time they take and nothing else.

    machines: of a cluster's workers `alike` refuses those with another processor or GPU than this
    machine's; `mixed` takes them, and keeps each stage to one kind.
    """

    batch_size: Annotated[int, Field(ge=2, le=8192)]
    precision: Literal["auto", "bf16", "float32"]
    device: Literal["auto", "cpu", "cuda"]
    workers: Literal["auto"] | Count
    machines: Literal["alike", "mixed"] = "alike"

    @field_validator("workers", mode="before")
    @classmethod
    def _say_both_kinds(cls, workers: Any) -> Any:
        if workers != "auto" and not (type(workers) is int and 1 <= workers <= MOST_WORKERS):
            raise PydanticCustomError(
                "neither", "should be auto or a number from 1 to {most}", {"most": MOST_WORKERS}
            )
        return workers


class Worth(Checked):
    """How the gain is shared out between the techniques, where more than four changed.

    order_pairs: random orders that each repeat draws, each with its reverse.
    """

    order_pairs: Annotated[Count, Field(le=MOST_ORDER_PAIRS)]


class Fit(Checked):
    """How many seeds the final recipe is fitted with; the first one is released."""

    seeds: Annotated[Count, Field(le=MOST_SEEDS)]


Entries = TypeVar("Entries", bound=tuple[Any, ...])


def _named_apart(candidates: Entries) -> Entries:
    names = (each.label if isinstance(each, Candidate) else label(each) for each in candidates)
    for name, times in Counter(names).items():
        if times > 1:
            raise PydanticCustomError(
                "twice",
                "{times} candidates are called '{name}'; keep one, its values may be lists",
                {"times": times, "name": name},
            )
    return candidates


Models = create_model(  # type: ignore[call-overload]
    "Models",
    __base__=Checked,
    __doc__="The families to study, with their sizes; one that is not listed is not studied.",
    **{name: (spec, None) for name, spec in FAMILIES.items()},
)

Architectures = create_model(  # type: ignore[call-overload]
    "Architectures",
    __base__=Checked,
    __doc__="The sizes to try for each family; a list inside an entry is its sizes, and no grid.",
    **{
        name: (
            Annotated[tuple[sizes, ...], AfterValidator(_named_apart)],  # type: ignore[valid-type]
            Field(default=(), strict=False, max_length=MOST_SETTINGS),
        )
        for name, sizes in SIZES.items()
    },
)

Techniques = create_model(
    "Techniques",
    __base__=Checked,
    __doc__="The candidates of every technique; one that is not listed is not explored.",
    **{
        technique: (
            Annotated[tuple[Candidate[setting], ...], AfterValidator(_named_apart)],  # type: ignore[valid-type]
            Field(default=(), strict=False, max_length=MOST_SETTINGS),
        )
        for technique, setting in get_type_hints(Recipe, include_extras=True).items()
        if technique in Recipe.model_fields
    }
    | {
        "architecture": (
            Annotated[Architectures, BeforeValidator(lambda listed: listed or {})],  # [] is none
            Architectures(),
        )
    },
)


class Params(Checked):
    """Everything a user chooses."""

    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)]
    data: Data
    validation: Validation
    selection: Selection
    training: Training
    fit: Fit
    worth: Worth
    models: Models  # type: ignore[valid-type]
    baseline: Recipe
    techniques: Techniques  # type: ignore[valid-type]

    @field_validator("models")
    @classmethod
    def _has_a_family(cls, models: Any) -> Any:
        if not any(getattr(models, name) for name in FAMILIES):
            raise PydanticCustomError(
                "none", "lists no family; give the sizes of one of {n}", {"n": ", ".join(FAMILIES)}
            )
        return models

    @field_validator("baseline")
    @classmethod
    def _stands_under_models(cls, baseline: Recipe) -> Recipe:
        for key in ("architecture", "epochs"):
            if key in baseline.model_fields_set:
                raise PydanticCustomError("at", "stands under `models`; take it out", {"key": key})
        return baseline

    @model_validator(mode="after")
    def _trains_for_no_longer_than_models_may(self) -> "Params":
        times = [setting for each in self.candidates("epochs", "") for setting in each.settings]
        for model in self.families:
            epochs = self.spec(model).epochs
            if times and max(times) * epochs > MOST:
                raise PydanticCustomError(
                    "sum",
                    "techniques.epochs: {times} times the {epochs} epochs of models.{model} are "
                    "more than {most}; give fewer",
                    {"times": max(times), "epochs": epochs, "model": model, "most": MOST},
                )
        return self

    @property
    def unwise(self) -> tuple[str, ...]:
        """What can be done, but will disappoint: a line each."""
        found = {
            "validation.repeats: 1: winners will have no interval, since a single repeat does not "
            "show the noise; give 2 or more, 5 is usual": self.validation.repeats == 1,
            "selection.equal_within: every difference is called practically equal; give less, "
            "0.0025 is usual": self.selection.equal_within >= 0.5,
        }
        return tuple(f"{PARAMS}: {line}" for line, holds in found.items() if holds)

    def refuse_large_batches(self, images: int) -> None:
        """A batch of more images than a trial trains on is none.

        images: number of those that are split into a training and a validation part.

        Raises:
            ParamsError: the batch is larger than the training part.
        """
        rule = self.validation
        share = 1 / rule.repeats if rule.scheme == "kfold" else rule.fraction
        training = images - math.ceil(images * share)
        if self.training.batch_size > training:
            raise ParamsError(
                f"{PARAMS}: training.batch_size: {self.training.batch_size} is more than the "
                f"{training} {self.dataset.things} that a trial trains on; give {training} or less"
            )

    def refuse_small_classes(self, counts: Mapping[str, int]) -> None:
        """A class has to be in both parts of every split.

        counts: a class's name to the number of its images that are split.

        Raises:
            ParamsError: naming the classes that are too small.
        """
        rule = self.validation
        if rule.scheme == "kfold":
            needed, said, instead = rule.repeats, f"repeats: {rule.repeats}", "use fewer folds"
        else:
            needed, said = math.ceil(1 / rule.fraction), f"fraction: {rule.fraction}"
            instead = "use a fraction nearer to one half"
        small = [f"{name} ({count})" for name, count in counts.items() if count < needed]
        if small:
            more = f" and {len(small) - MOST_NAMED} more" if len(small) > MOST_NAMED else ""
            raise ParamsError(
                f"{PARAMS}: validation.{said} needs {needed} training {self.dataset.things} of "
                f"every class, and these have fewer: {', '.join(small[:MOST_NAMED])}{more}; add "
                f"some, or {instead}"
            )

    @property
    def dataset(self) -> Dataset:
        """What is known of the data set that is studied."""
        data = self.data
        if data.dataset == FOLDER:
            workers = self.training.workers
            return own_pictures(
                data.conversion,
                data.test_fraction,
                data.test_seed,
                None if workers == "auto" else int(workers),
            )
        return DATASETS[data.dataset]

    @property
    def families(self) -> tuple[str, ...]:
        """The families that are studied, in the order of the table of families."""
        return tuple(name for name in FAMILIES if getattr(self.models, name) is not None)

    def spec(self, model: str, recipe: Recipe | None = None) -> Spec:
        """The sizes of a family and for how long it trains: as `models` has it, or a recipe's.

        Raises:
            ParamsError: params.yaml does not list it, or the recipe is of another family.
        """
        spec: Spec | None = getattr(self.models, model, None)
        if spec is None:
            raise ParamsError(f"{PARAMS}: models: {one_of(model, self.families)}")
        if recipe is None:
            return spec
        sizes = self.full(model, recipe).architecture
        if not isinstance(sizes, SIZES[model]):
            raise ParamsError(
                f"architecture: {label(sizes)!r} are no sizes of a {model}; found in a recipe that "
                "was written for another family"
            )
        if (epochs := spec.epochs * recipe.epochs) > MOST:
            raise ParamsError(
                f"epochs: {recipe.epochs} times the {spec.epochs} of models.{model} in {PARAMS} "
                f"are more than {MOST}; give fewer"
            )
        return type(spec)(epochs=epochs, **dict(sizes))

    def full(self, model: str, recipe: Recipe) -> Recipe:
        """The recipe with the sizes of its network, also where they are those of `models`."""
        if recipe.architecture is not None:
            return recipe
        return recipe.having("architecture", sizes_of(model, self.spec(model)))

    def candidates(self, technique: str, model: str) -> tuple[Candidate[Any], ...]:
        """A technique's candidates for a family, simplest first; none if it is not explored."""
        candidates: tuple[Any, ...] | Any = getattr(self.techniques, technique)
        if technique == "architecture":
            candidates = tuple(map(Candidate.model_validate, getattr(candidates, model)))
        return candidates


def load_params(path: Path = PARAMS) -> Params:
    """The checked content of params.yaml.

    Raises:
        ParamsError: naming the file, the key, what was found and what is allowed.
    """
    return load(path, Params)
