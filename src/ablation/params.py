"""The schema of params.yaml, its only reader, and the reader and writer of recipe files."""

from collections import Counter
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_type_hints

import yaml
from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from ablation.base.errors import UserError
from ablation.base.files import write_bytes
from ablation.trial.recipe import Checked, CnnSpec, Count, MlpSpec, Recipe, Share, label, one_of

Setting = TypeVar("Setting")
Model = TypeVar("Model", bound=Checked)

MODELS = ("mlp", "cnn")


class ParamsError(UserError):
    """Something in a parameter or recipe file that a person has to mend."""


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

    dataset: Literal["emnist-mini", "emnist-balanced", "glyphs"]
    raw: Annotated[Path, Field(strict=False)]


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
    """How far from the best still counts as equal, and whether hopeless candidates stop early."""

    standard_errors: Annotated[float, Field(ge=0, le=10)]
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


class Models(Checked):
    """The sizes of the two families."""

    mlp: MlpSpec
    cnn: CnnSpec


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


Techniques = create_model(  # type: ignore[call-overload]
    "Techniques",
    __base__=Checked,
    **{
        technique: (
            Annotated[tuple[Candidate[setting], ...], AfterValidator(_named_apart)],  # type: ignore[valid-type]
            Field(min_length=1, strict=False),
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
    models: Models
    baseline: Recipe
    techniques: Techniques  # type: ignore[valid-type]

    def spec(self, model: str) -> MlpSpec | CnnSpec:
        """The sizes of one family."""
        specs: dict[str, MlpSpec | CnnSpec] = {"mlp": self.models.mlp, "cnn": self.models.cnn}
        return specs[model]

    def candidates(self, technique: str) -> tuple[Candidate[Any], ...]:
        """A technique's candidates, simplest first."""
        candidates: tuple[Candidate[Any], ...] = getattr(self.techniques, technique)
        return candidates


def load_params(path: Path = Path("params.yaml")) -> Params:
    """The checked content of params.yaml.

    Raises:
        ParamsError: naming the file, the key, what was found and what is allowed.
    """
    return _load(path, Params)


def load_recipe(path: Path) -> Recipe:
    """A recipe that a stage has written.

    Raises:
        ParamsError: like `load_params`.
    """
    return _load(path, Recipe)


def save_recipe(recipe: Recipe, path: Path, comment: str) -> None:
    """Write a recipe in the form of params.yaml's `baseline`, under a line of comment."""
    text = f"# {comment}\n{yaml.safe_dump(recipe.model_dump(), sort_keys=False)}"
    write_bytes(text.encode(), path)


def _load(path: Path, model: type[Model]) -> Model:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ParamsError(f"{path}: {error.strerror}; run from the repository's root") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not YAML: {error}") from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # A list whose entries are wrong is, to pydantic, too short as well.
        details = [d for d in error.errors() if d["type"] != "too_short" or not _is_long_enough(d)]
        lines = dict.fromkeys(f"{path}: {_describe(detail, content)}" for detail in details)
        raise ParamsError("\n".join(lines)) from None


def _is_long_enough(error: ErrorDetails) -> bool:
    return len(error["input"]) >= int(error["ctx"]["min_length"])


def _describe(error: ErrorDetails, content: Any) -> str:
    place = _place(error["loc"], content)
    found, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "missing":
            return f"{place}.{error['loc'][-1]}: missing; add it".removeprefix(".")
        case "union_tag_invalid":
            tags = context["expected_tags"].replace("'", "").split(", ")
            return f"{place}.name: {one_of(context['tag'], tags)}"
        case "union_tag_not_found":
            return f"{place}.name: missing; add it"
        case "literal_error":
            allowed = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            return f"{place}: {one_of(found, allowed)}"
        case "unknown_key" | "twice":
            return f"{place}: {error['msg']}".removeprefix(": ")
        case "at":
            return f"{place}.{context['key']}: {error['msg']}"
        case "too_short":
            return f"{place}: {found!r}: the least number of entries is {context['min_length']}"
        case "too_long":
            return f"{place}: {found!r}: the largest number of entries is {context['max_length']}"
        case "model_type" | "model_attributes_type" | "tuple_type":
            shape = "a list" if error["type"] == "tuple_type" else "keys and values, {key: value}"
            return f"{place}: {found!r}: should be {shape}".removeprefix(": ")
        case "float_type" if isinstance(found, str) and _is_number(found):
            number = yaml.safe_dump(float(found)).split()[0]
            return f"{place}: {found!r} is a string to YAML; write it as {number}"
        case "path_type":
            return f"{place}: {found!r}: should be the path of a folder"
        case _:
            return f"{place}: {found!r}: {error['msg'].replace('Input should', 'should')}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _place(location: tuple[int | str, ...], content: Any) -> str:
    """Pydantic's location without the steps (tags, expanded grids) that the file does not have."""
    place = ""
    for step in location:
        if isinstance(content, dict) and isinstance(step, str) and step in content:
            place, content = f"{place}.{step}", content[step]
        elif isinstance(content, list) and isinstance(step, int) and step < len(content):
            place, content = f"{place}[{step}]", content[step]
    return place.removeprefix(".")
