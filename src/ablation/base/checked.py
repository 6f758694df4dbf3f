"""Parameter and recipe files: YAML validated by pydantic models, with errors that name the fix."""

import difflib
import math
import re
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from ablation.base.errors import UserError, describe_os_error, one_line, short_repr
from ablation.base.files import write_bytes


class ParamsError(UserError):
    """A mistake in a parameter or recipe file."""


def one_of(found: object, allowed: Iterable[object]) -> str:
    """`'adamm' is not one of sgd, adam (did you mean 'adam'?)`."""
    names = [str(name) for name in allowed]
    close = difflib.get_close_matches(short_repr(found).strip("'"), names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{short_repr(found)} is not one of {', '.join(names)}{hint}"


class Checked(BaseModel):
    """A frozen, strictly typed model; an unknown key is an error that lists the known ones."""

    model_config = ConfigDict(frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for key in (key for key in value if key not in cls.model_fields):
                raise PydanticCustomError(
                    "unknown_key", "{m}", {"m": one_of(key, cls.model_fields)}
                )
        return value


Model = TypeVar("Model", bound=Checked)

# Upper bounds, ten times what a study of 28 x 28 pixels needs. They catch typos, such as a billion
# epochs, which would otherwise be noticed only after minutes or days.
MOST = 10_000
MOST_LAYERS = 100
Count = Annotated[int, Field(ge=1, le=MOST)]
Widths = Annotated[
    tuple[Count, ...],
    Field(max_length=MOST_LAYERS),
    BeforeValidator(lambda widths: tuple(widths) if isinstance(widths, list) else widths),
]
LARGEST_RATE = 100
Rate = Annotated[float, Field(gt=0, le=LARGEST_RATE, allow_inf_nan=False)]
Strength = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


def load(path: Path, model: type[Model]) -> Model:
    """The validated content of a YAML file.

    Raises:
        ParamsError: names the file, the key, what was found and what is allowed.
    """
    content = read_yaml(path)
    if content is None:
        raise ParamsError(
            f"{path}: an empty file: should be a mapping, {{key: value}}; {restore_hint(path)}"
        )
    try:
        return checked(content, model)
    except ParamsError as error:
        lines = str(error).splitlines()
        raise ParamsError("\n".join(f"{path}: {line}" for line in lines)) from None


def checked(content: Any, model: type[Model]) -> Model:
    """The content of a file, validated.

    Raises:
        ParamsError: for each mistake a line with the key, what was found and what is allowed.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # Pydantic also calls a list too short if some of its entries are invalid.
        details = [d for d in error.errors() if d["type"] != "too_short" or not _is_long_enough(d)]
        lines = dict.fromkeys(_describe(detail, content) for detail in details)
        raise ParamsError("\n".join(lines)) from None


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, parsed as DVC parses it: by ruamel.yaml, as YAML 1.2.

    Raises:
        ParamsError: names the file, line and column, the mistake, and the remedy.
    """
    # Pure Python: libyaml, in C, crashes on deep nesting and does not tell which value is invalid.
    yaml = YAML(typ="safe", pure=True)
    try:
        return yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParamsError(describe_os_error(error, path)) from None
    except DuplicateKeyError as error:
        problem, *_ = error.problem.partition(" with value")
        message = f"{_position(error.problem_mark)}: {problem}; keep one"
    except MarkedYAMLError as error:
        where = _position(error.problem_mark or error.context_mark)
        message = f"{where}: {error.problem or error.context}; correct it, or {restore_hint(path)}"
    except (YAMLError, UnicodeDecodeError) as error:
        message = one_line(error)
    except RecursionError:
        message = "nested too deeply; remove some of the brackets"
    except Exception:  # ruamel.yaml passes on what int(), float(), date() or a look-up raise
        *_, node = yaml.constructor.recursive_objects  # the one that it was constructing
        kind = node.tag.rpartition(":")[2]
        found = f"{short_repr(node.value)} is not a valid {kind}"
        message = f"{_position(node.start_mark)}: {found}; correct it, or quote it as a string"
    raise ParamsError(f"{path}: invalid YAML: {message}")


def restore_hint(path: Path) -> str:
    """How to get a committed file back."""
    return f"`git checkout {path}` restores the committed version"


def _position(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


class _Representer(RoundTripRepresenter):
    """Writes 1e-05 as 1.0e-05, which YAML 1.1 reads as a number too."""


_Representer.add_representer(
    float,
    lambda representer, number: representer.represent_scalar(
        "tag:yaml.org,2002:float", re.sub(r"^(-?\d+)e", r"\1.0e", repr(number))
    ),
)


def to_yaml(content: Any) -> str:
    """Content as YAML that `read_yaml` reads, its keys in their order."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.dump(content, text := StringIO())
    return text.getvalue()


def save(value: Checked, path: Path, comment: str) -> None:
    """Write a value as `load` reads it, under a comment of one line or more."""
    remarks = "".join(f"# {line}\n" for line in comment.splitlines())
    write_bytes(f"{remarks}{to_yaml(value.model_dump())}".encode(), path)


# Why these lists may not be shorter.
SHORTEST = {
    "hidden": "; an MLP of this study has three hidden layers or more",
    "channels": "; a CNN of this study has two convolutional layers or more",
}


def _is_long_enough(error: ErrorDetails) -> bool:
    return len(error["input"]) >= int(error["ctx"]["min_length"])


def _describe(error: ErrorDetails, content: Any) -> str:
    place = _place(error["loc"], content)
    found, context = error["input"], error.get("ctx", {})
    message = f"{place}: {short_repr(found)}".removeprefix(": ")
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
        case "unknown_key" | "twice" | "large" | "sum":
            return f"{place}: {error['msg']}".removeprefix(": ")
        case "at":
            return f"{place}.{context['key']}: {error['msg']}"
        case "too_short":
            least = f"should have at least {context['min_length']} entries"
            return f"{message}: {least}{SHORTEST.get(str(error['loc'][-1]), '')}"
        case "too_long":
            return f"{message}: should have at most {context['max_length']} entries"
        case "model_type" | "model_attributes_type" | "tuple_type":
            shape = "a list" if error["type"] == "tuple_type" else "a mapping, {key: value}"
            return f"{message}: should be {shape}"
        case "bool_type":
            return f"{message}: should be true or false"
        case "path_type":
            return f"{message}: should be the path of a folder"
        case _ if isinstance(found, float) and not math.isfinite(found):
            return f"{message}: should be a finite number"
        case _:
            return f"{message}: {error['msg'].replace('Input should', 'should')}"


def _place(location: tuple[int | str, ...], content: Any) -> str:
    """Pydantic's location without steps (tags, expanded grids) that are not in the file."""
    place = ""
    for step in location:
        if isinstance(content, dict) and isinstance(step, str) and step in content:
            place, content = f"{place}.{step}", content[step]
        elif isinstance(content, list) and isinstance(step, int) and step < len(content):
            place, content = f"{place}[{step}]", content[step]
    return place.removeprefix(".")
