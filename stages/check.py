"""Read params.yaml before any other stage does, so that a mistake in it stops the study here."""

from pathlib import Path

import yaml

from ablation.base.console import console, plain_errors
from ablation.base.errors import UserError
from ablation.base.files import write_bytes
from ablation.params import PARAMS, load_params
from ablation.run.precision import settle

CHECKED = Path("data/prepared/checked.txt")
PIPELINE = Path("dvc.yaml")


def main() -> None:
    params = load_params()
    say_what_dvc_would_miss()
    settle(params.training.precision, params.training.device)
    # The same words whatever the parameters are: the stages after this one depend on their own.
    write_bytes(b"params.yaml could be read when this was written.\n", CHECKED)
    console.print(f"params.yaml is sound: a study of {params.data.dataset}")


def say_what_dvc_would_miss() -> None:
    """DVC stops at a parameter that a stage names and that is not there: hours later, if at all.

    Raises:
        UserError: a technique has a stage, and params.yaml does not say what to explore.
    """
    listed = yaml.safe_load(PARAMS.read_text())["techniques"]
    stages = yaml.safe_load(PIPELINE.read_text())["stages"].values()
    variables = [given for stage in stages for given in stage.get("vars", [])]
    missing = [v["technique"] for v in variables if v.get("technique", "baseline") not in listed]
    if missing := [technique for technique in missing if technique != "baseline"]:
        raise UserError(
            f"{PARAMS}: techniques: {', '.join(missing)} missing, for which {PIPELINE} has a "
            f"stage; write `{missing[0]}: []` to explore nothing"
        )


if __name__ == "__main__":
    with plain_errors():
        main()
