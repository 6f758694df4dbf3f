"""Checks of a dvc.yaml: what DVC would find hours later."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from ablation.base.checked import read_yaml
from ablation.base.errors import UserError
from ablation.params import PARAMS
from ablation.trial.families import FAMILIES


def read_stages(pipeline: Path, of_all_families: Sequence[str]) -> dict[str, Any]:
    """The stages of a pipeline.

    Args:
        pipeline: dvc.yaml, or another one.
        of_all_families: names of the stages for which `check_families` is called.

    Raises:
        UserError: it cannot be read, or lacks such a stage.
    """
    content = read_yaml(pipeline)
    stages = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(each, dict) for each in stages.values()):
        raise UserError(f"{pipeline}: stages: should be a mapping, {{name: stage}}")
    for name in of_all_families:
        if not isinstance(stages.get(name, {}).get("deps"), list):
            raise UserError(f"{pipeline}: stages.{name}.deps: missing; add it")
    return stages


def read_variables(pipeline: Path) -> dict[str, Any]:
    """The variables of a pipeline that do not come from another file."""
    content = read_yaml(pipeline)
    given = content.get("vars") if isinstance(content, dict) else None
    variables = [each for each in given or [] if isinstance(each, dict)]
    return {name: value for each in variables for name, value in each.items()}


def check_families(pipeline: Path, of_all_families: Sequence[str], families: Iterable[str]) -> None:
    """Check that stages depend on the files of all families; otherwise DVC runs them early.

    They may list the files of other families, as long as these exist: a family that was studied
    before is switched off in params.yaml alone.

    Args:
        pipeline: dvc.yaml, or another one.
        of_all_families: names of the stages to check.
        families: those of params.yaml.

    Raises:
        UserError: the files of a family in params.yaml are not listed, or those of another one
            are, and do not exist.
    """
    stages, variables = read_stages(pipeline, of_all_families), read_variables(pipeline)
    unstudied = FAMILIES.keys() - {*families}
    for name in of_all_families:
        deps = [Template(dep).safe_substitute(variables) for dep in stages[name]["deps"]]
        listed = {dep: {*Path(dep).parts} for dep in deps}
        if unlisted := {*families} - set().union(*listed.values()):
            raise UserError(
                f"{pipeline}: stages.{name}.deps: {', '.join(sorted(unlisted))} missing, but it "
                f"is in the models of {PARAMS}; list its files like those of the other models"
            )
        others = [dep for dep, parts in listed.items() if parts & unstudied]
        if gone := [dep for dep in others if not Path(dep).exists()]:
            raise UserError(
                f"{pipeline}: stages.{name}.deps: {gone[0]} does not exist, and no stage makes it "
                f"without its model in {PARAMS}; delete the lines of this model's files"
            )


def check_answer(answer: str, listed: Sequence[str]) -> None:
    """Check that search/dvc.yaml and params.yaml agree on whose winner is the search's answer.

    Args:
        answer: the variable of search/dvc.yaml.
        listed: `search.strategies`.

    Raises:
        UserError: the variable is not the last strategy.
    """
    if answer != listed[-1]:
        raise UserError(
            f"search/dvc.yaml: vars: answer: {answer}, but the last of search.strategies in "
            f"{PARAMS} is {listed[-1]}; make them the same"
        )
