import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from growth import SimulatedRunner, simulate_stage

from ablation.data.splits import make_repeats
from ablation.params import Params, load_params
from ablation.study.entries import Entry
from ablation.trial.trials import Trial

ROOT = Path(__file__).parents[2]


@pytest.fixture
def params() -> Params:
    return load_params(ROOT / "params.yaml")


@pytest.fixture
def entries(params: Params) -> list[Entry]:
    rates = [number / 20 for number in range(10)]
    return [Entry(f"{r}", f"{r}", params.baseline.having("dropout", r)) for r in rates]


@pytest.fixture
def trials(params: Params) -> list[Trial]:
    spec = params.spec("mlp")
    return [
        Trial("mlp", spec, params.baseline, repeat)
        for repeat in make_repeats(1, "shuffle", 0.15, 4)
    ]


@pytest.mark.deep
def test_sleeping_trials_are_counted_and_train_nothing() -> None:
    command = [sys.executable, "benchmarks/naps.py", "2", "--hundredths", "1"]
    said = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()[-1]
    found = json.loads(said)
    assert found["trials"] == 80
    assert found["seconds"] > 80 * 0.01 / 2


def test_simulated_workers_run_in_parallel(
    trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("growth.ENGINE_SECONDS", 1.0)
    seconds = dict(zip(trials, [10.0, 20.0, 5.0, 30.0], strict=True))
    runner = SimulatedRunner(2, seconds, dict.fromkeys(trials, 0.5))
    order = [trial for trial, *_ in runner.run(trials)]
    assert order == [trials[0], trials[2], trials[1], trials[3]]
    assert runner.now == (10 + 1) + (5 + 1) + (30 + 1)
    assert runner.asked == 4


def test_the_next_trial_is_requested_when_a_simulated_worker_is_idle(trials: list[Trial]) -> None:
    finished: list[Trial] = []
    known = []

    def ahead() -> Iterator[Trial]:
        for trial in trials:
            known.append(len(finished))
            yield trial

    runner = SimulatedRunner(2, dict.fromkeys(trials, 1.0), dict.fromkeys(trials, 0.5))
    for trial, *_ in runner.run(ahead()):
        finished.append(trial)
    assert known == [0, 0, 1, 2]


def test_one_worker_is_ideal_and_many_are_not(params: Params, entries: list[Entry]) -> None:
    alone, many = (simulate_stage(params, entries, 3, workers, seed=1) for workers in (1, 64))
    assert 1 <= alone["seconds"] / alone["ideal"] < 1.01
    assert many["counted"] == alone["counted"] <= many["trials"]
    assert many["seconds"] / many["ideal"] > 64 / 30  # workers for each trial
