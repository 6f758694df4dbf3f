"""The schema of params.yaml, and its only reader."""

import os
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_type_hints

from pydantic import AfterValidator, Field, create_model, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ablation.base.checked import Checked, Count, ParamsError, Share, load, one_of
from ablation.data.datasets import DATASETS, Dataset
from ablation.recipe import Recipe, label
from ablation.trial.families import FAMILIES, Spec

Setting = TypeVar("Setting")

PARAMS = Path("params.yaml")


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
        points = tuple(dict(zip(axes, point, strict=True)) for point in product(*axes.values()))
        return {
            "settings": points,
            "grid": tuple(key for key, values in axes.items() if len(values) > 1),
        }

    @property
    def label(self) -> str:
        """What a person would call the entry: its setting, or what its grid has in common."""
        return label(self.settings[0], without=self.grid)


class Data(Checked):
    """Which characters to study, and the folder that holds their raw files."""

    dataset: Literal[tuple(DATASETS)]  # type: ignore[valid-type]
    raw: Annotated[Path, Field(strict=False)]

    @field_validator("raw")
    @classmethod
    def _is_the_same_to_dvc(cls, raw: Path) -> Path:
        if str(raw).startswith("~"):  # only a shell knows it, and DVC watches this folder too
            home = os.path.expanduser(raw)  # noqa: PTH111  (Path's fails for ~nobody)
            raise PydanticCustomError("home", "DVC does not know `~`; write {at}", {"at": home})
        return raw


class Validation(Checked):
    """Repeats: `shuffle` draws as many stratified splits, `kfold` makes as many folds."""

    scheme: Literal["shuffle", "kfold"]
    fraction: Share
    repeats: Count

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
    """How trials are computed; `workers` changes the time they take and nothing else."""

    batch_size: Annotated[int, Field(ge=2, le=8192)]
    precision: Literal["auto", "bf16", "float32"]
    device: Literal["auto", "cpu", "cuda"]
    workers: Literal["auto"] | Count

    @field_validator("workers", mode="before")
    @classmethod
    def _say_both_kinds(cls, workers: Any) -> Any:
        if workers != "auto" and (not isinstance(workers, int) or workers < 1):
            raise PydanticCustomError("neither", "should be auto or a number, 1 or more")
        return workers


class Worth(Checked):
    """Pairs of random orders that share out the gain, where more than four techniques changed."""

    order_pairs: Annotated[int, Field(ge=2)]


class Fit(Checked):
    """How many seeds the final recipe is fitted with; the first one is released."""

    seeds: Count


def _named_apart(candidates: tuple[Candidate[Any], ...]) -> tuple[Candidate[Any], ...]:
    for name, times in Counter(candidate.label for candidate in candidates).items():
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

Techniques = create_model(  # type: ignore[call-overload]
    "Techniques",
    __base__=Checked,
    __doc__="The candidates of every technique; one that is not listed is not explored.",
    **{
        technique: (
            Annotated[tuple[Candidate[setting], ...], AfterValidator(_named_apart)],  # type: ignore[valid-type]
            Field(default=(), strict=False),
        )
        for technique, setting in get_type_hints(Recipe, include_extras=True).items()
        if technique in Recipe.model_fields
    },
)


class Params(Checked):
    """Everything a user chooses."""

    seed: Annotated[int, Field(ge=0)]
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

    @property
    def dataset(self) -> Dataset:
        """What is known of the data set that is studied."""
        return DATASETS[self.data.dataset]

    @property
    def families(self) -> tuple[str, ...]:
        """The families that are studied, in the order of the table of families."""
        return tuple(name for name in FAMILIES if getattr(self.models, name) is not None)

    def spec(self, model: str) -> Spec:
        """The sizes of a family.

        Raises:
            ParamsError: params.yaml does not list it.
        """
        spec: Spec | None = getattr(self.models, model, None)
        if spec is None:
            raise ParamsError(f"{PARAMS}: models: {one_of(model, self.families)}")
        return spec

    def candidates(self, technique: str) -> tuple[Candidate[Any], ...]:
        """A technique's candidates, simplest first; none if it is not explored."""
        candidates: tuple[Candidate[Any], ...] = getattr(self.techniques, technique)
        return candidates


def load_params(path: Path = PARAMS) -> Params:
    """The checked content of params.yaml.

    Raises:
        ParamsError: naming the file, the key, what was found and what is allowed.
    """
    return load(path, Params)
