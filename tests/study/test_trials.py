import re
from dataclasses import replace
from pathlib import Path

import pytest

from ablation.base.checked import read_yaml
from ablation.params import Params
from ablation.run.hardware import Hardware
from ablation.run.runner import TrialRunner
from ablation.study.inputs import TRAINING_CHARACTERS, make_trial, repeats_for
from ablation.study.trials import run_trials

PARAMS = Path(__file__).parents[2] / "params.yaml"


def test_results_are_in_the_order_of_the_trials_and_each_runs_once(
    toy_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second trial is cached, so its result comes first."""
    content = read_yaml(PARAMS)
    content["models"] = {"mlp": {"hidden": [9, 8, 7], "epochs": 1}}
    params = Params.model_validate(content)
    trial = make_trial(params, "mlp", params.baseline, repeats_for(params)[0])
    trials = [replace(trial, repeat=repeat) for repeat in repeats_for(params)[:2]]
    runner = TrialRunner(TRAINING_CHARACTERS, 32, Hardware("cpu", bf16=False, workers=2))
    run_trials(runner, trials[-1:], "mlp")
    results = run_trials(runner, [*trials, trials[0]], "again")
    assert [*results] == trials
    said = capsys.readouterr().out
    assert re.search(r"^mlp: 1 trial trained in \d+ s, 0 cached$", said, re.MULTILINE)
    assert re.search(r"^again: 1 trial trained in \d+ s, 1 cached$", said, re.MULTILINE)
