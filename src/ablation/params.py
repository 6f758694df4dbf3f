"""Schema of params.yaml, and the only code that reads it."""

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
    Discriminator,
    Field,
    Tag,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ablation.base.checked import MOST, Checked, Count, ParamsError, Share, load, one_of
from ablation.base.formatting import counted
from ablation.data.datasets import DATASETS, FOLDER, Dataset, own_pictures
from ablation.labels import LongerTraining, label
from ablation.trial.families import FAMILIES, SIZES, Spec, sizes_of
from ablation.trial.recipe import Recipe

Setting = TypeVar("Setting")

PARAMS = Path("params.yaml")

# Far more than any study needs (5 repeats suffice for 47 classes); larger values are typos.
MOST_SEEDS = 1000
MOST_ORDER_PAIRS = 100
MOST_SETTINGS = 1000
MOST_MULTIPLES = 20
LARGEST_MULTIPLE = 1000
MOST_WORKERS = 1024
MOST_NAMED = 10  # classes listed in a message
MOST_PFLOP = 1e9
LARGEST_SEED = 2**64 - 1  # PyTorch's generators take 64 bits


class Candidate(Checked, Generic[Setting]):
    """An entry of a technique's list: a setting, or a grid of settings.

    In params.yaml it is written as the setting itself; a list in place of a value makes a grid.

    Attributes:
        settings: the setting, or the points of the grid.
        grid: names of the fields whose values vary.
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
                    "at", "a candidate has one name; list one candidate per name", {"key": key}
                )
        if (count := math.prod(map(len, axes.values()))) > MOST_SETTINGS:
            raise PydanticCustomError(
                "large",
                "a grid of {n} settings; at most {most} are allowed",
                {"n": count, "most": MOST_SETTINGS},
            )
        points = tuple(dict(zip(axes, point, strict=True)) for point in product(*axes.values()))
        return {
            "settings": points,
            "grid": tuple(key for key, values in axes.items() if len(values) > 1),
        }

    @model_validator(mode="after")
    def _labels_differ(self) -> "Candidate[Setting]":
        # Labels identify settings: of two settings with the same label, the second would be lost.
        _with_distinct_labels(tuple(dict.fromkeys(self.settings)))
        return self

    @property
    def label(self) -> str:
        """The label of its setting; for a grid, of the fields that do not vary."""
        return label(self.settings[0], without=self.grid)


class Data(Checked):
    """The data set to study.

    Attributes:
        dataset: its name.
        raw: folder of the raw files.
        conversion: how a picture becomes an image of 28 x 28 pixels. Like the fields below, for the
            data set `folder` only.
        test_fraction: share of each class in the test set, if training and test pictures are not in
            separate folders.
        test_seed: seed of that split.
    """

    dataset: Literal[tuple(DATASETS)]  # type: ignore[valid-type]
    raw: Annotated[Path, Field(strict=False)]
    conversion: Literal["as-is", "emnist"] = "as-is"
    test_fraction: Annotated[float, Field(gt=0, le=0.5)] | None = None
    test_seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = 0

    @property
    def title(self) -> str:
        """The data set in messages: its name, or the folder of the user's own pictures."""
        return f"your pictures in {self.raw}" if self.dataset == FOLDER else str(self.dataset)

    @field_validator("raw")
    @classmethod
    def _is_a_folder_to_dvc(cls, raw: Path) -> Path:
        if str(raw).startswith("~"):  # only shells expand it, and DVC tracks this folder too
            home = os.path.expanduser(raw)  # noqa: PTH111  (Path's fails for ~nobody)
            raise PydanticCustomError("home", "DVC does not expand `~`; write {at}", {"at": home})
        if raw == Path() or "\0" in str(raw):
            raise PydanticCustomError("folder", "should be a folder of its own, such as data/raw")
        return raw

    @model_validator(mode="after")
    def _has_no_unused_key(self) -> "Data":
        for key in ("conversion", "test_fraction", "test_seed"):
            default = Data.model_fields[key].default
            if self.dataset != FOLDER and getattr(self, key) != default:
                message = "applies only to the dataset {folder}; remove it"
                raise PydanticCustomError("at", message, {"key": key, "folder": FOLDER})
        return self


class Validation(Checked):
    """How trials are validated.

    Attributes:
        scheme: `shuffle` for independent stratified splits, `kfold` for stratified k-fold.
        fraction: share of the characters to validate on, for `shuffle`. At most one half: trials
            should resemble the final fit, which trains on all characters.
        repeats: number of splits or folds.
    """

    scheme: Literal["shuffle", "kfold"]
    fraction: Annotated[float, Field(gt=0, le=0.5)]
    repeats: Annotated[Count, Field(le=MOST_SEEDS)]

    @model_validator(mode="after")
    def _folds_need_two(self) -> "Validation":
        if self.scheme == "kfold" and self.repeats < 2:
            message = "{n}: k-fold needs at least 2 repeats"
            raise PydanticCustomError("at", message, {"key": "repeats", "n": self.repeats})
        return self


class Selection(Checked):
    """How a stage is decided.

    Attributes:
        risk: probability of replacing the incumbent when all candidates are equally good.
        equal_within: largest difference of accuracy, as a fraction, that counts as equal.
        racing: whether candidates that can no longer win are stopped early.
    """

    risk: Annotated[float, Field(gt=0, le=0.5)]
    equal_within: Annotated[float, Field(ge=0, le=1)]
    racing: bool


class Training(Checked):
    """How trials are computed.

    Attributes:
        batch_size: number of images per optimizer step.
        precision: arithmetic of the layers; `auto` for the fastest one.
        device: `auto` for a GPU if there is one.
        workers: number of parallel processes. It does not affect the results.
        machines: `alike` refuses cluster workers whose processor or GPU differs from this
            machine's; `mixed` accepts them, but computes each stage on one kind.
    """

    batch_size: Annotated[int, Field(ge=2, le=8192)]
    precision: Literal["auto", "bf16", "float32"]
    device: Literal["auto", "cpu", "cuda"]
    workers: Literal["auto"] | Count
    machines: Literal["alike", "mixed"] = "alike"

    @field_validator("workers", mode="before")
    @classmethod
    def _is_auto_or_a_count(cls, workers: Any) -> Any:
        if workers != "auto" and not (type(workers) is int and 1 <= workers <= MOST_WORKERS):
            raise PydanticCustomError(
                "neither", "should be auto or an integer from 1 to {most}", {"most": MOST_WORKERS}
            )
        return workers


class Worth(Checked):
    """How leave-one-out is computed.

    Attributes:
        order_pairs: number of random orders per repeat, each with its reverse, if more than four
            techniques changed.
        repeats: number of fresh repeats, at most `validation.repeats`, which is the default.
    """

    order_pairs: Annotated[Count, Field(le=MOST_ORDER_PAIRS)]
    repeats: Annotated[Count, Field(le=MOST_SEEDS)] | None = None


class Fit(Checked):
    """How the final recipe is fitted.

    Attributes:
        seeds: number of fits, each with its own seed; the first one is the released model.
    """

    seeds: Annotated[Count, Field(le=MOST_SEEDS)]


Epochs = create_model(  # type: ignore[call-overload]
    "Epochs",
    __base__=Checked,
    __doc__="Number of epochs of each family.",
    **{name: (Count | None, None) for name in FAMILIES},
)

Budget = create_model(  # type: ignore[call-overload]
    "Budget",
    __base__=Checked,
    __doc__="What a strategy may spend on each family: 10^15 floating-point operations.",
    **{name: (Annotated[float, Field(gt=0, le=MOST_PFLOP)] | None, None) for name in FAMILIES},
)


def _with_strategies_once(strategies: tuple[str, ...]) -> tuple[str, ...]:
    if len({*strategies}) < len(strategies):
        raise PydanticCustomError("twice", "a strategy is given twice; keep one")
    return strategies


class Search(Checked):
    """How all techniques are searched at once, at a cost such as the chain's.

    strategies: what draws recipes; the winner of the last one is the search's answer. epochs: of
    every draw, a multiple of those of `models`. budget: of each strategy. first_look: the share of
    the epochs after which a draw that is no better than guessing is given up. finalists: number of
    draws that run on all repeats. finalists_share: the share of the budget reserved for them.
    generation: number of draws that a strategy makes before it gets their scores.
    """

    strategies: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        Field(strict=False, min_length=1),
        AfterValidator(_with_strategies_once),
    ] = ("random", "tpe")
    epochs: Epochs = Epochs()  # type: ignore[valid-type]
    budget: Budget = Budget()  # type: ignore[valid-type]
    first_look: Share = 0.1
    finalists: Annotated[Count, Field(le=MOST_SEEDS)] = 4
    finalists_share: Share = 0.3
    generation: Annotated[Count, Field(le=MOST_SEEDS)] = 8


Entries = TypeVar("Entries", bound=tuple[Any, ...])


def _with_distinct_labels(candidates: Entries) -> Entries:
    names = (each.label if isinstance(each, Candidate) else label(each) for each in candidates)
    for name, times in Counter(names).items():
        if times > 1:
            raise PydanticCustomError(
                "twice",
                "{times} candidates have the label '{name}'; keep one (its values may be lists)",
                {"times": times, "name": name},
            )
    return candidates


def _with_own_rate_once(multiples: tuple[float, ...]) -> tuple[float, ...]:
    if len({*multiples}) < len(multiples):
        raise PydanticCustomError("twice", "a multiple is given twice; keep one")
    if 1.0 not in multiples:
        raise PydanticCustomError("none", "should include 1.0, the incumbent's own rate; add it")
    return multiples


Models = create_model(  # type: ignore[call-overload]
    "Models",
    __base__=Checked,
    __doc__="The families to study, with their sizes; others are left out.",
    **{name: (spec, None) for name, spec in FAMILIES.items()},
)

Architectures = create_model(  # type: ignore[call-overload]
    "Architectures",
    __base__=Checked,
    __doc__="The sizes to try for each family; a list inside an entry is one setting, not a grid.",
    **{
        name: (
            Annotated[tuple[sizes, ...], AfterValidator(_with_distinct_labels)],  # type: ignore[valid-type]
            Field(default=(), strict=False, max_length=MOST_SETTINGS),
        )
        for name, sizes in SIZES.items()
    },
)

EpochsSetting = Annotated[
    Annotated[Count, Tag("times")] | Annotated[LongerTraining, Tag("longer")],
    Discriminator(lambda value: "longer" if isinstance(value, dict | LongerTraining) else "times"),
]
Techniques = create_model(
    "Techniques",
    __base__=Checked,
    __doc__="The candidates of each technique; a technique without any is not explored.",
    **{
        technique: (
            Annotated[tuple[Candidate[setting], ...], AfterValidator(_with_distinct_labels)],  # type: ignore[valid-type]
            Field(default=(), strict=False, max_length=MOST_SETTINGS),
        )
        for technique, setting in get_type_hints(Recipe, include_extras=True).items()
        if technique in Recipe.model_fields
    }
    | {
        "architecture": (
            Annotated[Architectures, BeforeValidator(lambda listed: listed or {})],  # [] is none
            Architectures(),
        ),
        "epochs": (
            Annotated[tuple[Candidate[EpochsSetting], ...], AfterValidator(_with_distinct_labels)],
            Field(default=(), strict=False, max_length=MOST_SETTINGS),
        ),
    },
)


Multiples = Annotated[
    tuple[Annotated[float, Field(ge=1 / LARGEST_MULTIPLE, le=LARGEST_MULTIPLE)], ...],
    Field(strict=False, min_length=1, max_length=MOST_MULTIPLES),
    AfterValidator(_with_own_rate_once),
]
RateMultiples = create_model(  # type: ignore[call-overload]
    "RateMultiples",
    __base__=Checked,
    __doc__="Multiples of the incumbent's learning rate at which each setting is tried.",
    **{
        technique: (Multiples, (1.0,))
        for technique in Recipe.model_fields
        if technique != "optimizer"  # whose candidates have their own rates
    },
)


class Params(Checked):
    """The content of params.yaml."""

    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)]
    data: Data
    validation: Validation
    selection: Selection
    training: Training
    fit: Fit
    worth: Worth
    models: Models  # type: ignore[valid-type]
    baseline: Recipe
    learning_rate_multiples: RateMultiples = RateMultiples()  # type: ignore[valid-type]
    techniques: Techniques  # type: ignore[valid-type]
    search: Search = Search()

    @field_validator("models")
    @classmethod
    def _has_a_family(cls, models: Any) -> Any:
        if not any(getattr(models, name) for name in FAMILIES):
            raise PydanticCustomError(
                "none", "should have the sizes of at least one of {n}", {"n": ", ".join(FAMILIES)}
            )
        return models

    @field_validator("baseline")
    @classmethod
    def _leaves_sizes_to_models(cls, baseline: Recipe) -> Recipe:
        for key in ("architecture", "epochs"):
            if key in baseline.model_fields_set:
                raise PydanticCustomError("at", "belongs under `models`; remove it", {"key": key})
        return baseline

    @field_validator("learning_rate_multiples", mode="before")
    @classmethod
    def _has_no_multiples_for_optimizers(cls, multiples: Any) -> Any:
        if isinstance(multiples, dict) and "optimizer" in multiples:
            message = "its candidates list their learning rates under `techniques`; remove it"
            raise PydanticCustomError("at", message, {"key": "optimizer"})
        return multiples

    @model_validator(mode="after")
    def _has_no_excessive_epochs(self) -> "Params":
        settings = [setting for each in self.candidates("epochs", "") for setting in each.settings]
        times = [getattr(setting, "times", setting) for setting in settings]
        for model in self.families:
            epochs = self.spec(model).epochs
            if times and max(times) * epochs > MOST:
                raise PydanticCustomError(
                    "sum",
                    "techniques.epochs: {times} times the {epochs} of models.{model} "
                    "exceeds {most}; use a smaller factor",
                    {
                        "times": max(times),
                        "epochs": counted(epochs, "epoch"),
                        "model": model,
                        "most": MOST,
                    },
                )
        return self

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each value that is valid but probably a mistake."""
        found = {
            "validation.repeats: 1: a single repeat does not show the noise, so gains will have no "
            "interval; use at least 2, usually 5": self.validation.repeats == 1,
            "selection.equal_within: any two candidates will count as practically equal; use a "
            "smaller value, usually 0.0025": self.selection.equal_within >= 0.5,
            f"worth.repeats: {self.worth.repeats} exceeds validation.repeats, so leave-one-out "
            f"runs on {self.validation.repeats}; raise validation.repeats": (
                (self.worth.repeats or 0) > self.validation.repeats > 1
            ),
        }
        return tuple(f"{PARAMS}: {line}" for line, holds in found.items() if holds)

    def check_batch_size(self, images: int) -> None:
        """Check that the training part of a trial holds at least one batch.

        Args:
            images: number of images, training and validation part together.

        Raises:
            ParamsError: the batch size exceeds the training part.
        """
        rule = self.validation
        share = 1 / rule.repeats if rule.scheme == "kfold" else rule.fraction
        training = images - math.ceil(images * share)
        if self.training.batch_size > training:
            raise ParamsError(
                f"{PARAMS}: training.batch_size: {self.training.batch_size} exceeds the {training} "
                f"training {self.dataset.things} of a trial; use at most {training}"
            )

    def check_class_sizes(self, counts: Mapping[str, int]) -> None:
        """Check that every split can have each class in both parts.

        Args:
            counts: class name to number of images, training and validation part together.

        Raises:
            ParamsError: names the classes that are too small.
        """
        rule = self.validation
        if rule.scheme == "kfold":
            needed, setting, instead = rule.repeats, f"repeats: {rule.repeats}", "use fewer folds"
        else:
            needed, setting = math.ceil(1 / rule.fraction), f"fraction: {rule.fraction}"
            instead = "use a fraction closer to one half"
        small = [f"{name} ({count})" for name, count in counts.items() if count < needed]
        if small:
            more = f" and {len(small) - MOST_NAMED} more" if len(small) > MOST_NAMED else ""
            raise ParamsError(
                f"{PARAMS}: validation.{setting} needs at least {needed} training "
                f"{self.dataset.things} per class; classes with fewer: "
                f"{', '.join(small[:MOST_NAMED])}{more}; add some, or {instead}"
            )

    @property
    def dataset(self) -> Dataset:
        """The data set to study."""
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
        """The families to study, in the order of `FAMILIES`."""
        return tuple(name for name in FAMILIES if getattr(self.models, name) is not None)

    def spec(self, model: str, recipe: Recipe | None = None) -> Spec:
        """A family's sizes and epochs, from `models` and, if given, a recipe.

        Raises:
            ParamsError: params.yaml does not list the family, the recipe has the sizes of another
                family, or its epochs exceed the maximum.
        """
        spec: Spec | None = getattr(self.models, model, None)
        if spec is None:
            raise ParamsError(f"{PARAMS}: models: {one_of(model, self.families)}")
        if recipe is None:
            return spec
        sizes = self.full(model, recipe).architecture
        if not isinstance(sizes, SIZES[model]):
            raise ParamsError(
                f"architecture: {label(sizes)!r} does not fit the family {model}; the recipe was "
                "written for another one"
            )
        if (epochs := spec.epochs * recipe.epochs) > MOST:
            raise ParamsError(
                f"epochs: {recipe.epochs} times the {counted(spec.epochs, 'epoch')} of "
                f"models.{model} in {PARAMS} exceeds {MOST}; use a smaller factor"
            )
        return type(spec)(epochs=epochs, **dict(sizes))

    def full(self, model: str, recipe: Recipe) -> Recipe:
        """The recipe with explicit sizes: its own, or those of `models`."""
        if recipe.architecture is not None:
            return recipe
        return recipe.having("architecture", sizes_of(model, self.spec(model)))

    def candidates(self, technique: str, model: str) -> tuple[Candidate[Any], ...]:
        """A technique's candidates for a family, simplest first; empty if it is not explored."""
        candidates: tuple[Any, ...] | Any = getattr(self.techniques, technique)
        if technique == "architecture":
            candidates = tuple(map(Candidate.model_validate, getattr(candidates, model)))
        return candidates

    def check_search_keys(self) -> None:
        """Check that the section `search` has all keys, on which the stages of a search depend.

        Raises:
            ParamsError: one is missing, for each family those of `epochs` and `budget`.
        """
        search = self.search
        missing = [key for key in Search.model_fields if key not in search.model_fields_set]
        missing += [
            f"{key}.{model}"
            for key, values in (("epochs", search.epochs), ("budget", search.budget))
            for model in self.families
            if getattr(values, model) is None
        ]
        if missing:
            raise ParamsError(
                f"{PARAMS}: search.{missing[0]}: missing; add it, as docs/search.md explains; a "
                "study without a search has no section `search`"
            )

    def check_search(self) -> None:
        """Check that every family can be searched; only the search needs that.

        Raises:
            ParamsError: a key of the section `search` is missing, or the epochs of a family are no
                multiple of those of `models`.
        """
        self.check_search_keys()
        for model in self.families:
            epochs, unit = getattr(self.search.epochs, model), self.spec(model).epochs
            if epochs % unit:
                raise ParamsError(
                    f"{PARAMS}: search.epochs.{model}: {epochs} should be a multiple of the "
                    f"{counted(unit, 'epoch')} of models.{model}; use "
                    f"{unit * max(1, round(epochs / unit))}"
                )

    def search_epochs(self, model: str) -> int:
        """The factor on a family's epochs that every draw of the search has.

        Raises:
            ParamsError: as `check_search`.
        """
        self.check_search()
        epochs: int = getattr(self.search.epochs, model)
        return epochs // self.spec(model).epochs

    def search_budget(self, model: str) -> float:
        """What a strategy of the search may spend on a family, in 10^15 operations.

        Raises:
            ParamsError: as `check_search`.
        """
        self.check_search()
        budget: float = getattr(self.search.budget, model)
        return budget

    def rate_multiples(self, technique: str) -> tuple[float, ...]:
        """Multiples of the incumbent's learning rate at which a technique's settings are tried."""
        multiples: tuple[float, ...] = getattr(self.learning_rate_multiples, technique, (1.0,))
        return multiples


def load_params(path: Path = PARAMS) -> Params:
    """Read and validate params.yaml.

    Raises:
        ParamsError: names the file, the key, the value found and the values allowed.
    """
    return load(path, Params)
