"""Checked values: models of YAML that people write, and errors that say what to mend in it."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from ablation.base.errors import UserError
from ablation.base.files import write_bytes


class ParamsError(UserError):
    """Something in a parameter or recipe file that a person has to mend."""


def one_of(found: object, allowed: Iterable[object]) -> str:
    """`'adamm' is not one of sgd, adam (did you mean 'adam'?)`."""
    names = [str(name) for name in allowed]
    close = difflib.get_close_matches(str(found), names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{found!r} is not one of {', '.join(names)}{hint}"


class Checked(BaseModel):
    """A frozen, strictly typed model that names the keys it allows when it meets another one."""

    model_config = ConfigDict(frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _know_every_key(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for key in value.keys() - cls.model_fields.keys():
                raise PydanticCustomError(
                    "unknown_key", "{m}", {"m": one_of(key, cls.model_fields)}
                )
        return value


Model = TypeVar("Model", bound=Checked)
Count = Annotated[int, Field(ge=1)]
Widths = Annotated[
    tuple[Count, ...],
    BeforeValidator(lambda widths: tuple(widths) if isinstance(widths, list) else widths),
]
Rate = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Strength = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


def load(path: Path, model: type[Model]) -> Model:
    """The checked content of a YAML file.

    Raises:
        ParamsError: naming the file, the key, what was found and what is allowed.
    """
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


def save(value: Checked, path: Path, comment: str) -> None:
    """Write a value as `load` reads it, under a comment of one line or more."""
    remarks = "".join(f"# {line}\n" for line in comment.splitlines())
    write_bytes(f"{remarks}{yaml.safe_dump(value.model_dump(), sort_keys=False)}".encode(), path)


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
