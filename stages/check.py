"""Validate params.yaml and dvc.yaml, so that errors stop a study early."""

import os
import select
import tempfile
from pathlib import Path
from typing import Any

from ablation.base.checked import ParamsError, read_yaml
from ablation.base.console import console
from ablation.base.errors import UserError
from ablation.base.files import repository, write_bytes
from ablation.labels import stages_in
from ablation.params import PARAMS, load_params
from ablation.processes.fork_server import start_python
from ablation.processes.stage import stage_process
from ablation.run.precision import record_precision
from ablation.study.pipelines import check_families, read_stages

CHECKED = Path("data/prepared/checked.txt")
PIPELINE = Path("dvc.yaml")
OF_ALL_FAMILIES = ("compare", "report")
# Seconds. Each network is timed for about half a second, or longer on a busy machine.
PATIENCE = 120


def main() -> None:
    params = load_params()
    check_techniques(read_stages(PIPELINE, OF_ALL_FAMILIES))
    check_families(PIPELINE, OF_ALL_FAMILIES, params.families)
    if "search" in params.model_fields_set:
        params.check_search_keys()
    check_raw_folder(params.data.raw)
    record_precision(params.training.precision, params.training.device)
    lines = plan()
    # Always the same content, so that changed parameters only affect stages that depend on them.
    write_bytes(b"params.yaml could be read when this was written.\n", CHECKED)
    console.print(f"params.yaml is valid: a study of {params.data.title}")
    for line in (*params.warnings, *lines):
        console.print(line)


def plan() -> list[str]:
    """The number of trainings of this run, and its estimated time.

    Raises:
        UserError: the networks are too large for this machine.
    """
    with tempfile.TemporaryFile("w+") as errors:
        reader, writer = os.pipe()
        with open(reader) as output:  # noqa: PTH123
            process = start_python(("-m", "ablation.plan"), (0, writer, errors.fileno()))
            os.close(writer)
            if not select.select([output], [], [], PATIENCE)[0]:
                process.kill()
                return [f"the run's time is unknown: measuring it took more than {PATIENCE} s"]
            lines = output.read().splitlines()
        if (status := process.wait()) == 0:
            return lines
        errors.seek(0)
        error = errors.read()
    if error.startswith("error: "):
        raise UserError(error.removeprefix("error: ").rstrip())
    why = (error.splitlines() or [f"ended with status {status}"])[-1]
    return [f"the run's time is unknown: it could not be measured ({why})"]


def check_techniques(stages: dict[str, Any]) -> None:
    """Check that params.yaml has all techniques; DVC would fail on a missing one hours later.

    Raises:
        ParamsError: the name of a stage is invalid.
        UserError: a technique has a stage, but no list of candidates, or there are no multiples.
    """
    content = read_yaml(PARAMS)
    listed = content["techniques"]
    variables = [given for stage in stages.values() for given in stage.get("vars") or []]
    techniques = {given["technique"]: given for given in variables if "technique" in given}
    for name in (given["stage"] for given in variables if "stage" in given):
        try:
            stages_in(str(name), ())
        except ParamsError as error:
            raise ParamsError(f"{PIPELINE}: stages: {error}") from None
    if "learning_rate_multiples" not in content:
        raise UserError(
            f"{PARAMS}: learning_rate_multiples: missing; write `learning_rate_multiples: {{}}` to "
            "try every setting at the incumbent's learning rate"
        )
    if missing := [technique for technique in techniques if technique not in listed]:
        raise UserError(
            f"{PARAMS}: techniques: {', '.join(missing)} missing, but {PIPELINE} has a "
            f"stage for it; write `{missing[0]}: []` to explore nothing"
        )


def check_raw_folder(raw: Path) -> None:
    """Check that the folder of raw files exists, on which DVC gives no helpful error.

    Raises:
        UserError: it does not.
    """
    if not (repository() / raw).is_dir():
        found = "a file, not a folder" if (repository() / raw).exists() else "no such folder"
        raise UserError(
            f"{PARAMS}: data.raw: {raw}: {found}; create it, or set data.raw to the folder of "
            "the raw files"
        )


if __name__ == "__main__":
    with stage_process():
        main()
