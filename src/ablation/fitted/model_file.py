"""Model files: weights and metadata in safetensors format. Does not import torch.

Kernels and weight matrices are rounded to half precision, or to 8 bits if the file would still be
too large for git. The test set is evaluated with the file's weights, after rounding.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import safetensors.numpy
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from safetensors import SafetensorError, safe_open

from ablation.base.checked import Checked, ParamsError, checked
from ablation.base.errors import LFS_POINTER, NOT_FETCHED, UserError, describe_os_error, one_line
from ablation.data.characters import LEAST_DEVIATION, LONGEST_NAME, MOST_CLASSES
from ablation.trial.families import FAMILIES, Spec
from ablation.trial.recipe import Recipe
from ablation.trial.trials import TEMPERATURES, Learnt, Trial

METADATA = "ablation"
LARGE = 4_000_000  # bytes; larger models are stored in 8 bits
STEP = ".step"  # suffix of the names of quantisation steps
CONVERSION = "emnist"  # default, for files without this key


class ModelError(UserError):
    """A model file that is missing, corrupt or not a model."""


def _distinct(classes: tuple[str, ...]) -> tuple[str, ...]:
    for name in classes:
        if classes.count(name) > 1:
            raise PydanticCustomError("twice", "'{name}' is listed twice", {"name": name})
    return classes


class _Normalisation(Checked):
    """Mean and standard deviation of pixels in 0..1; typical deviations are 0.2 to 0.4."""

    mean: Annotated[float, Field(ge=0, le=1)]
    deviation: Annotated[float, Field(ge=LEAST_DEVIATION, le=0.5)]


def _rising(levels: tuple[float, float]) -> tuple[float, float]:
    if levels[0] >= levels[1]:
        raise PydanticCustomError("large", "the first should be less than the second")
    return levels


_Level = Annotated[float, Field(allow_inf_nan=False)]


class _Schema(Checked):
    """The schema of `Metadata` in the file."""

    model: Literal[tuple(FAMILIES)]  # type: ignore[valid-type]
    spec: dict[str, Any]
    recipe: Recipe
    classes: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)], ...],
        Field(strict=False, min_length=2, max_length=MOST_CLASSES),
        AfterValidator(_distinct),
    ]
    conversion: str = CONVERSION
    levels: (
        Annotated[tuple[_Level, _Level], Field(strict=False), AfterValidator(_rising)] | None
    ) = None
    temperature: Annotated[float, Field(ge=TEMPERATURES[0], le=TEMPERATURES[1])] = 1.0
    normalisation: _Normalisation


@dataclass(frozen=True)
class Metadata:
    """The metadata of a model file.

    Attributes:
        model: the family; spec: its sizes.
        recipe: how it was built and trained.
        classes: (k,) names in the order of the network's outputs.
        conversion: of its training pictures, as in `conversion.CONVERSIONS`.
        levels: the values of black and white for pictures of more than 8 bits; None to determine
            them for each picture.
        mean, deviation: of the training pixels in 0..1, used to normalise the input.
        temperature: divides the logits, so that confidences are calibrated; 1 in files from before
            there was one.
    """

    model: str
    spec: Spec
    recipe: Recipe
    classes: tuple[str, ...]
    conversion: str
    mean: float
    deviation: float
    levels: tuple[float, float] | None = None
    temperature: float = 1.0

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(
            {
                "model": self.model,
                "spec": self.spec.model_dump(mode="json", exclude_defaults=True),
                "recipe": self.recipe.model_dump(mode="json"),
                "classes": self.classes,
                "conversion": self.conversion,
                **({"levels": self.levels} if self.levels else {}),
                "temperature": self.temperature,
                "normalisation": {"mean": self.mean, "deviation": self.deviation},
            }
        )

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Parse the output of `to_json`.

        Raises:
            ValueError: it does not match the schema.
        """
        content = checked(json.loads(line), _Schema)
        return cls(
            content.model,
            checked(content.spec, FAMILIES[content.model]),
            content.recipe,
            content.classes,
            content.conversion,
            content.normalisation.mean,
            content.normalisation.deviation,
            content.levels,
            content.temperature,
        )


def pack(
    trial: Trial,
    learnt: Learnt,
    classes: tuple[str, ...],
    conversion: str,
    levels: tuple[float, float] | None = None,
    temperature: float = 1.0,
) -> bytes:
    """Serialise a model; equal models give equal bytes.

    Args:
        trial: the trial that was trained.
        learnt: its weights and normalisation.
        classes, conversion, levels, temperature: see `Metadata`.
    """
    tensors = {name: _rounded(values) for name, values in learnt.tensors.items()}
    if sum(values.nbytes for values in tensors.values()) > LARGE:
        tensors = _in_8_bits(learnt.tensors)
    metadata = Metadata(
        trial.model,
        trial.spec,
        trial.recipe,
        classes,
        conversion,
        learnt.mean,
        learnt.deviation,
        levels,
        temperature,
    )
    # One key of metadata: safetensors writes several in a random order.
    return safetensors.numpy.save(tensors, {METADATA: metadata.to_json()})


def unpack(path: Path) -> tuple[Metadata, dict[str, np.ndarray]]:
    """Read a model file's metadata, and its weights by name.

    Raises:
        ModelError: names the file, what is wrong with it and what to do.
    """
    if path.is_dir():
        raise ModelError(f"{path}: a folder; give a file written by `dvc repro fit`")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; `dvc repro fit` creates it") from None
    except OSError as error:
        raise ModelError(describe_os_error(error, path)) from None
    except (SafetensorError, TypeError, ValueError) as error:
        if path.read_bytes().startswith(LFS_POINTER):
            raise ModelError(f"{path}: {NOT_FETCHED}") from None
        raise not_a_model(path, one_line(error)) from None
    if METADATA not in header:
        raise not_a_model(path, f"it has no metadata {METADATA!r}")
    try:
        metadata = Metadata.from_json(header[METADATA])
    except ParamsError as error:
        raise not_a_model(path, "; ".join(str(error).splitlines())) from None
    except (ValueError, RecursionError) as error:
        raise not_a_model(path, one_line(error)) from None
    for name, values in tensors.items():
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise not_a_model(path, f"{name}: not all of its weights are finite numbers")
    return metadata, _from_8_bits(tensors)


def _rounded(values: np.ndarray) -> np.ndarray:
    """Round kernels and weight matrices to half precision, unless they overflow."""
    fits = values.ndim > 1 and np.abs(values).max() < np.finfo(np.float16).max
    return values.astype(np.float16) if fits else values


def _in_8_bits(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Quantise kernels and weight matrices to int8 with one scale per row (-127..127)."""
    smaller = {}
    for name, values in tensors.items():
        if values.ndim < 2:
            smaller[name] = values
            continue
        rows = values.reshape(len(values), -1)
        steps = np.maximum(np.abs(rows).max(1, keepdims=True) / 127, np.finfo(np.float32).tiny)
        smaller[name] = np.rint(rows / steps).astype(np.int8).reshape(values.shape)
        smaller[name + STEP] = steps[:, 0]
    return smaller


def _from_8_bits(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Undo `_in_8_bits`; other tensors are unchanged."""
    steps = {name: values for name, values in tensors.items() if name.endswith(STEP)}
    whole = {name: values for name, values in tensors.items() if name not in steps}
    for name, each in steps.items():
        rounded = whole.get(name.removesuffix(STEP))
        if rounded is not None and rounded.ndim > 1 and each.shape == rounded.shape[:1]:
            whole[name.removesuffix(STEP)] = rounded * each.reshape(-1, *[1] * (rounded.ndim - 1))
        else:
            whole[name] = each  # without its matrix; reported as an unknown weight
    return whole


def not_a_model(path: Path, what: str) -> ModelError:
    """The error for an invalid model file."""
    return ModelError(f"{path}: not a valid model file; recreate it with `dvc repro fit` ({what})")
