"""Finds and loads the fitted models that a command is given."""

from pathlib import Path
from typing import TYPE_CHECKING

from ablation.base.checked import one_of, read_yaml
from ablation.base.errors import UserError
from ablation.base.files import repository
from ablation.trial.families import FAMILIES

if TYPE_CHECKING:  # slow imports, which `--help` does not need
    from ablation.fitted.model import Fitted

MODELS = Path("data/models")
BOTH = "both"
SEARCH = "search"


def load_models(name: str) -> dict[str, "Fitted"]:
    """Load fitted models, by family.

    Args:
        name: a family, `both` for all that the study has fitted, `search` for those of the search,
            or a model file.

    Raises:
        ModelError: names the file, what is wrong with it and what to do.
        UserError: there is no such file or folder of models, or its conversion is unknown.
    """
    from ablation.fitted.model import Fitted
    from ablation.pictures.conversion import CONVERSIONS

    if name == BOTH:
        files = fitted_models()
    elif name == SEARCH:
        files = fitted_models(SEARCH)
    elif name in FAMILIES:
        files = [fitted_models()[0].with_name(f"{name}.safetensors")]
    elif Path(name).exists():
        files = [Path(name)]
    else:
        raise UserError(f"--model: {one_of(name, (*FAMILIES, BOTH, SEARCH))}; nor is it a file")
    models = {}
    for file in files:
        fitted = Fitted.load(file)
        conversion = fitted.metadata.conversion
        if conversion not in CONVERSIONS:
            raise UserError(f"{file}: its metadata: conversion: {one_of(conversion, CONVERSIONS)}")
        models[fitted.metadata.model] = fitted
    return models


def fitted_models(results: str = "") -> list[Path]:
    """The released models of the current repository's study, or of this code's repository.

    results: the folder that they were written to.

    Raises:
        UserError: neither has models.
    """
    where = Path(results, MODELS)
    pipeline = f" {results}/dvc.yaml" if results else " fit"
    here = (repository() / "dvc.yaml").absolute().parent
    around = [folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()]
    for folder in (*around, Path(__file__).resolve().parents[3]):
        files = [folder / where / f"{family}.safetensors" for family in _families(folder)]
        if there := [file for file in files if file.is_file()]:
            return there
    raise UserError(
        f"no models in {where}; create them with `dvc repro{pipeline}`, or give one: --model FILE"
    )


def _families(folder: Path) -> list[str]:
    """The families of a study; all of them if its params.yaml cannot be read."""
    try:
        studied = read_yaml(folder / "params.yaml")["models"]
    except (UserError, KeyError, TypeError):
        return [*FAMILIES]
    return [family for family in FAMILIES if family in studied]
