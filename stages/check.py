"""Read params.yaml before any other stage does, so that a mistake in it stops the study here."""

import os
import select
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ablation.base.checked import ParamsError, read_yaml
from ablation.base.console import console
from ablation.base.errors import UserError
from ablation.base.files import repository, write_bytes
from ablation.labels import ChainStage
from ablation.params import PARAMS, load_params
from ablation.processes.fork_server import start_python
from ablation.processes.stage import stage_process
from ablation.run.precision import settle
from ablation.trial.families import FAMILIES

CHECKED = Path("data/prepared/checked.txt")
PIPELINE = Path("dvc.yaml")
# Seconds. Each network is measured for half a second or so; on a busy machine that takes longer.
PATIENCE = 120


def main() -> None:
    params = load_params()
    stages = read_stages()
    every_stage_knows_what_to_explore(stages)
    all_families_are_waited_for(stages, params.families)
    raw_files_have_a_folder(params.data.raw)
    settle(params.training.precision, params.training.device)
    lines = plan()
    # The same words whatever the parameters are: the stages after this one depend on their own.
    write_bytes(b"params.yaml could be read when this was written.\n", CHECKED)
    console.print(f"params.yaml is sound: a study of {params.data.dataset}")
    for line in (*params.warnings, *lines):
        console.print(line)


def read_stages() -> dict[str, Any]:
    """The stages of dvc.yaml.

    Raises:
        UserError: it cannot be read, or lacks one that is looked into here.
    """
    pipeline = read_yaml(PIPELINE)
    stages = pipeline.get("stages") if isinstance(pipeline, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(each, dict) for each in stages.values()):
        raise UserError(f"{PIPELINE}: stages: should be keys and values, {{name: stage}}")
    for name in ("compare", "report"):
        if not isinstance(stages.get(name, {}).get("deps"), list):
            raise UserError(f"{PIPELINE}: stages.{name}.deps: missing; add it")
    return stages


def plan() -> list[str]:
    """What is said of the run that begins: its trainings and its time.

    Raises:
        UserError: its networks are too large for this machine.
    """
    with tempfile.TemporaryFile("w+") as errors:
        reader, writer = os.pipe()
        with open(reader) as said:  # noqa: PTH123
            process = start_python(("-m", "ablation.plan"), (0, writer, errors.fileno()))
            os.close(writer)
            if not select.select([said], [], [], PATIENCE)[0]:
                process.kill()
                return [f"how long it takes is not known: to measure it took over {PATIENCE} s"]
            lines = said.read().splitlines()
        if (status := process.wait()) == 0:
            return lines
        errors.seek(0)
        error = errors.read()
    if error.startswith("error: "):
        raise UserError(error.removeprefix("error: ").rstrip())
    why = (error.splitlines() or [f"ended with status {status}"])[-1]
    return [f"how long it takes is not known: it could not be measured ({why})"]


def every_stage_knows_what_to_explore(stages: dict[str, Any]) -> None:
    """DVC stops at a parameter that a stage names and that is not there: hours later.

    Raises:
        ParamsError: the name of a stage does not say which technique it explores.
        UserError: a technique has a stage, and params.yaml does not say what to explore, or has no
            multiples of learning rates.
    """
    content = read_yaml(PARAMS)
    listed = content["techniques"]
    variables = [given for stage in stages.values() for given in stage.get("vars") or []]
    techniques = {given["technique"]: given for given in variables if "technique" in given}
    for name in (given["stage"] for given in variables if "stage" in given):
        try:
            ChainStage.named(str(name))
        except ParamsError as error:
            raise ParamsError(f"{PIPELINE}: stages: {error}") from None
    if "learning_rate_multiples" not in content:
        raise UserError(
            f"{PARAMS}: learning_rate_multiples: missing; write `learning_rate_multiples: {{}}` to "
            "try every setting at the incumbent's learning rate"
        )
    if missing := [technique for technique in techniques if technique not in listed]:
        raise UserError(
            f"{PARAMS}: techniques: {', '.join(missing)} missing, for which {PIPELINE} has a "
            f"stage; write `{missing[0]}: []` to explore nothing"
        )


def all_families_are_waited_for(stages: dict[str, Any], families: Iterable[str]) -> None:
    """DVC runs `compare` and `report` when the files that they list are there, not when all are.

    Raises:
        UserError: they list the files of other families than params.yaml.
    """
    for name in ("compare", "report"):
        parts = {part for dep in stages[name]["deps"] for part in dep.split("/")}
        if (listed := parts & FAMILIES.keys()) != {*families}:
            raise UserError(
                f"{PIPELINE}: stages.{name}.deps: the files of {', '.join(sorted(listed))}, but "
                f"the models of {PARAMS} are {', '.join(sorted(families))}; list the files of "
                "these and of no other"
            )


def raw_files_have_a_folder(raw: Path) -> None:
    """DVC, which watches it, would say no more than `No such file or directory`.

    Raises:
        UserError: there is none.
    """
    if not (repository() / raw).is_dir():
        found = "a file, and no folder" if (repository() / raw).exists() else "no such folder"
        raise UserError(
            f"{PARAMS}: data.raw: {raw}: {found}; make the folder, or name the one that holds the "
            "raw files"
        )


if __name__ == "__main__":
    with stage_process():
        main()
