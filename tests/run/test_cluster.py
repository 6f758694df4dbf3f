import dataclasses
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from itertools import takewhile
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
import torch
from distributed import Client

from ablation.base.errors import UserError
from ablation.data.characters import Characters
from ablation.data.splits import Repeat, make_repeats
from ablation.run import result_cache
from ablation.run.cluster import SCHEDULER_VARIABLE, most_common_hardware
from ablation.run.hardware import Computer, Hardware, has_gpu
from ablation.run.runner import TrialRunner
from ablation.trial.families import CnnSpec, MlpSpec
from ablation.trial.recipe import Recipe
from ablation.trial.trials import Result, Trial
from tests.clones import wait_for
from tests.clusters import ANOTHER_PROCESSOR, SOURCE, Cluster

HERE = Hardware("cpu", bf16=False, workers=1)
NOBODY = "tcp://127.0.0.1:9"
GONE = f"^{SCHEDULER_VARIABLE}: .*: the Dask scheduler has gone"
# Preloaded by a worker to suspend its trials.
STOPS_IN_THE_MIDDLE = """
import time
from pathlib import Path
from ablation.trial import scoring
def validate(*_, **__):
    Path({!r}).touch()
    time.sleep(3600)
scoring.validate = validate
"""
OTHER_INSTRUCTIONS = """
from ablation.run import hardware
processor = hardware.processor_arithmetic()
hardware.processor_arithmetic = lambda: f"{processor} avx1024"
"""
DIES = """
import os, signal
from ablation.run import cluster_worker
cluster_worker._run_job = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""
WANTS_TOO_MUCH = """
from ablation.run import cluster_worker
cluster_worker._run_job = lambda *_: bytearray(2**62)
"""
Outcome = tuple[float, bool, str]


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """For training; tests that stop or add a worker use `cluster`."""
    with Cluster.running(tmp_path_factory.mktemp("shared") / "cluster") as cluster:
        for _ in range(2):
            cluster.worker()
        yield cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler without workers."""
    with Cluster.running(tmp_path / "cluster") as cluster:
        yield cluster


@pytest.fixture
def no_project(tmp_path: Path) -> Path:
    """A folder that hides the project from Python, wherever it is installed."""
    (tmp_path / "no-project/ablation").mkdir(parents=True)
    (tmp_path / "no-project/ablation/__init__.py").touch()
    return tmp_path / "no-project"


@pytest.fixture
def trials(mlp: MlpSpec, cnn: CnnSpec, recipe: Recipe, repeats: list[Repeat]) -> list[Trial]:
    recipe = recipe.having("dropout", 0.2)
    mlps = [Trial("mlp", mlp, recipe, repeat) for repeat in repeats]
    return [*mlps, Trial("cnn", cnn, recipe, repeats[0])]


@pytest.fixture
def many(trials: list[Trial]) -> Iterator[Trial]:
    """More trials than can finish during a test."""
    repeats = make_repeats(1, "shuffle", 0.25, 2000)
    return (dataclasses.replace(trials[0], repeat=repeat) for repeat in repeats)


def make_runner(study: Path, address: str = "") -> TrialRunner:
    return TrialRunner(study / "data/prepared/train.npz", 32, HERE, address)


def outcomes(runner: TrialRunner, trials: Iterable[Trial]) -> dict[Trial, Outcome]:
    return {trial: outcome(result) for trial, result, _ in runner.run(trials)}


def outcome(result: Result) -> Outcome:
    return result.score, result.diverged, json.dumps(dataclasses.asdict(result.curves))


def until(trials: Iterator[Trial], enough: Callable[[], Any]) -> Iterator[Trial]:
    return takewhile(lambda _: not enough(), trials)


def forget(study: Path) -> None:
    shutil.rmtree(study / "cache")


def cached_keys(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*")}


def workers_of(client: Client) -> dict[str, dict[str, Any]]:
    return dict(client.scheduler_info()["workers"])


def test_a_cluster_gives_the_same_bytes(
    two_workers: Cluster, toy_study: Path, trials: list[Trial]
) -> None:
    here, there = make_runner(toy_study), make_runner(toy_study, two_workers.address)
    expected = outcomes(here, trials)
    fits = [learnt.to_bytes() for _, _, learnt in here.fit(trials[-1:])]
    names = cached_keys(toy_study / "cache")
    forget(toy_study)
    assert outcomes(there, trials) == expected
    assert [learnt.to_bytes() for _, _, learnt in there.fit(trials[-1:])] == fits
    assert cached_keys(toy_study / "cache") == names


def test_characters_are_sent_once_to_each_worker(
    two_workers: Cluster, toy_study: Path, trials: list[Trial], many: Iterator[Trial]
) -> None:
    """They stay there for the next stage, which is another process."""
    first = make_runner(toy_study, two_workers.address)
    list(first.run(next(many) for _ in range(40)))
    next_stage = make_runner(toy_study, two_workers.address)
    assert next_stage.digest
    next_stage.characters.unlink()
    assert len(outcomes(next_stage, trials)) == len(trials)


def test_the_dashboard_shows_the_study(
    two_workers: Cluster, toy_study: Path, trials: list[Trial]
) -> None:
    """By the names by which Dask groups tasks; the page itself needs bokeh."""
    seen = []
    for _ in make_runner(toy_study, two_workers.address).run(trials):
        with Client(two_workers.address, set_as_default=False) as client:
            seen += client.run_on_scheduler(lambda dask_scheduler: [*dask_scheduler.task_prefixes])
            page = urlopen(client.dashboard_link).read().decode()
    assert {"validate-mlp", "validate-cnn"} <= {*seen}
    assert "Dask Diagnostic UI" in page


def test_characters_of_another_study_replace_the_previous_ones(
    two_workers: Cluster, toy: Characters, toy_study: Path, trials: list[Trial]
) -> None:
    usual = outcomes(make_runner(toy_study, two_workers.address), trials)
    Characters(255 - toy.images, toy.labels, toy.classes).save(
        toy_study / "data/prepared/train.npz"
    )
    others = outcomes(make_runner(toy_study, two_workers.address), trials)
    forget(toy_study)
    assert outcomes(make_runner(toy_study), trials) == others != usual


def test_the_next_trial_is_requested_when_a_worker_is_idle(
    two_workers: Cluster, toy_study: Path, trials: list[Trial]
) -> None:
    two_workers.has(2)
    finished: list[Trial] = []
    known = []

    def ahead() -> Iterator[Trial]:
        for trial in trials:
            known.append(len(finished))
            yield trial

    for trial, *_ in make_runner(toy_study, two_workers.address).run(ahead()):
        finished.append(trial)
    assert known == [0, 0, 1, 2]


def test_an_error_of_the_study_names_the_worker_that_raised_it(
    two_workers: Cluster, toy_study: Path, trials: list[Trial]
) -> None:
    runner = make_runner(toy_study, two_workers.address)
    assert runner.digest
    (toy_study / "data/prepared/train.npz").write_bytes(b"")
    with pytest.raises(UserError, match=r"train\.npz: it is not a readable npz archive"):
        outcomes(dataclasses.replace(runner), trials)


def test_workers_with_different_arithmetic_are_refused_by_name(
    cluster: Cluster, toy_study: Path, trials: list[Trial], no_project: Path
) -> None:
    other = cluster.folder / "other"
    shutil.copytree(SOURCE, other / "src", ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "src/ablation/trial/scoring.py").open("a") as file:
        file.write("\nCHANGED = True\n")
    (other / "scikit_learn-0.1.dist-info").mkdir()
    (other / "scikit_learn-0.1.dist-info/METADATA").write_text("Name: scikit-learn\nVersion: 0.1\n")
    (other / "processor.py").write_text(OTHER_INSTRUCTIONS)
    another_processor = ("--preload", str(other / "processor.py"))
    cluster.worker("--nthreads", "2", *another_processor, PYTHONPATH=f"{other}:{other / 'src'}")
    cluster.worker(PYTHONPATH=str(no_project))
    cluster.has(2)
    with pytest.raises(UserError) as caught:
        outcomes(make_runner(toy_study, cluster.address), trials)
    head, *lines = str(caught.value).splitlines()
    assert "update and restart" in head
    without, changed = sorted(lines, key=len)
    assert re.match(r"  tcp://127.0.0.1:\d+: cannot run this project \(.*No module named", without)
    assert re.match(rf"  tcp://127.0.0.1:\d+ on {platform.node()}: ", changed)
    for mismatch in (
        f"scikit-learn is 0.1, here {metadata.version('scikit-learn')}",
        f"here {result_cache.trial_code_digest()[:8]}",
        "it has 2 threads; start it with --nthreads 1",
        "has different instructions (avx1024); `training.machines: mixed`",
    ):
        assert mismatch in changed
    assert "numpy" not in changed
    assert cached_keys(toy_study / "cache") == set()


@pytest.mark.skipif(has_gpu(), reason="its workers have a GPU")
def test_a_worker_without_the_device_is_refused(
    two_workers: Cluster, toy_study: Path, trials: list[Trial]
) -> None:
    on_gpu = Hardware("cuda", bf16=False, workers=1, remote=Computer("a GPU", "a GPU"))
    runner = dataclasses.replace(make_runner(toy_study, two_workers.address), hardware=on_gpu)
    two_workers.has(2)
    with pytest.raises(UserError, match="it has no GPU that torch finds") as caught:
        outcomes(runner, trials)
    # A client that only the garbage collector closes can deadlock with the next one.
    assert not [each for each in threading.enumerate() if each.name == "IO loop"], caught


@pytest.mark.gpu
def test_two_workers_may_share_a_gpu(
    two_workers: Cluster, toy_study: Path, trials: list[Trial]
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    on_gpu = Hardware("cuda", bf16=False, workers=1)
    here, there = (
        dataclasses.replace(make_runner(toy_study, address), hardware=on_gpu)
        for address in ("", two_workers.address)
    )
    expected = outcomes(here, trials)
    forget(toy_study)
    assert outcomes(there, trials) == expected


def test_a_scheduler_without_the_project_is_reported(
    tmp_path: Path, toy_study: Path, trials: list[Trial], no_project: Path
) -> None:
    with Cluster.running(tmp_path / "cluster", PYTHONPATH=str(no_project)) as cluster:
        cluster.worker()
        with pytest.raises(UserError, match="the scheduler or a worker cannot run this project"):
            outcomes(make_runner(toy_study, cluster.address), trials)


def test_without_the_variable_dask_is_not_imported(toy_study: Path) -> None:
    params = (SOURCE.parent / "params.yaml").read_text()
    (toy_study / "params.yaml").write_text(params.replace("precision: auto", "precision: float32"))
    command = """
import sys
from ablation.params import load_params
from ablation.study.inputs import make_runner
print(make_runner(load_params()).cluster == "", "distributed" in sys.modules, "dask" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", command],
        env={k: v for k, v in os.environ.items() if k != SCHEDULER_VARIABLE}
        | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "True False False\n", done.stderr


def test_an_unreachable_scheduler_is_reported(
    toy_study: Path, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablation.run.cluster.CONNECT_SECONDS", 1)
    for address, why in {
        NOBODY: "Timed out",
        "nonsense": "missing port",
        "x://y:1": "scheme",
    }.items():
        with pytest.raises(UserError, match=why) as caught:
            outcomes(make_runner(toy_study, address), trials)
        assert str(caught.value).startswith(f"{SCHEDULER_VARIABLE}: {address}: no Dask scheduler")


def test_an_address_that_is_not_a_scheduler_is_reported(
    two_workers: Cluster, toy_study: Path, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablation.run.cluster.CONNECT_SECONDS", 1)
    two_workers.has(2)
    with Client(two_workers.address, set_as_default=False) as client:
        dashboard = urlsplit(client.dashboard_link).netloc
        worker, _ = workers_of(client)
    for address, why in {f"tcp://{dashboard}": "Time", worker: "it is a worker's address"}.items():
        with pytest.raises(UserError, match=rf"{address}: no Dask scheduler .*\({why}"):
            outcomes(make_runner(toy_study, address), trials)


def test_without_the_extra_the_error_names_what_to_install(
    toy_study: Path, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        UserError, match=r"distributed is not installed; `pip install '\.\[cluster\]'`"
    ):
        outcomes(make_runner(toy_study, NOBODY), trials)


def test_a_worker_that_joins_late_is_used(
    two_workers: Cluster, toy_study: Path, many: Iterator[Trial]
) -> None:
    late = toy_study / "late"
    two_workers.has(2)
    running = make_runner(toy_study, two_workers.address).run(
        until(many, lambda: cached_keys(late))
    )
    next(running)
    third = two_workers.worker(ABLATION_CACHE=str(late))
    there = {trial: outcome(result) for trial, result, _ in running}
    third.kill()
    assert cached_keys(late) <= cached_keys(toy_study / "cache")
    assert len(there) > 2


def test_a_worker_that_leaves_during_a_study_does_not_change_the_results(
    two_workers: Cluster, toy_study: Path, many: Iterator[Trial]
) -> None:
    """The worker is killed while it runs a trial."""
    begun = toy_study / "begun"
    (toy_study / "slow.py").write_text(STOPS_IN_THE_MIDDLE.format(str(begun)))
    two_workers.has(2)
    third = two_workers.worker("--preload", str(toy_study / "slow.py"))
    two_workers.has(3)
    asked, there = [], {}

    def ahead() -> Iterator[Trial]:
        for trial in until(many, begun.exists):
            asked.append(trial)
            yield trial

    for trial, result, _ in make_runner(toy_study, two_workers.address).run(ahead()):
        there[trial] = outcome(result)
        if begun.exists():
            third.kill()
    forget(toy_study)
    assert outcomes(make_runner(toy_study), asked) == there


def test_ctrl_c_leaves_the_workers_for_the_next_study(
    two_workers: Cluster, toy_study: Path, trials: list[Trial], many: Iterator[Trial]
) -> None:
    running = make_runner(toy_study, two_workers.address).run(many)
    next(running)
    Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        list(running)
    assert len(outcomes(make_runner(toy_study, two_workers.address), trials)) == len(trials)


@pytest.mark.deep
def test_a_waiting_study_gives_the_reason_and_ends_with_its_scheduler(
    cluster: Cluster, toy_study: Path, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker is paused by Dask for lack of memory; the other is of a different kind."""
    cluster.worker("--memory-limit", "20MB")
    with Client(cluster.address, set_as_default=False) as client:
        wait_for(lambda: [w["status"] for w in workers_of(client).values()] == ["paused"])
    (cluster.folder / "abacus.py").write_text(ANOTHER_PROCESSOR)
    cluster.worker("--preload", str(cluster.folder / "abacus.py"))
    cluster.has(2)
    said: list[str] = []

    def heard(line: str, **_: object) -> None:
        said.append(line)
        if line.endswith("waiting for one"):
            cluster.scheduler.kill()

    monkeypatch.setattr("ablation.run.cluster.console.print", heard)
    mine = dataclasses.replace(HERE, remote=Computer.here("cpu"))
    runner = make_runner(toy_study, cluster.address)
    with pytest.raises(UserError, match=GONE):
        outcomes(dataclasses.replace(runner, hardware=mine), trials)
    assert re.search(
        rf"\(tcp://\S+ is paused; it is low on memory\) "
        rf"\(1 of another kind than {re.escape(mine.computer.name)}\): waiting for one$",
        said[1],
    )


@pytest.mark.deep
@pytest.mark.parametrize(
    ("limit", "value", "options", "said"),
    [
        ("ALLOWED_FAILURES", 1, ("--nanny",), "^2 workers died one after the other with the same"),
        ("PATIENCE", 1.0, (), r"^no worker at .*; tcp://\S+ left while running a trial"),
    ],
    ids=["they come back", "they do not"],
)
def test_a_trial_whose_workers_die_ends_the_study(
    limit: str,
    value: float,
    options: tuple[str, ...],
    said: str,
    tmp_path: Path,
    toy_study: Path,
    trials: list[Trial],
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"ablation.run.cluster.{limit}", value)
    (tmp_path / "dies.py").write_text(DIES)
    cluster.worker(*options, "--preload", str(tmp_path / "dies.py"))
    cluster.has(1)
    with pytest.raises(UserError, match=said):
        outcomes(make_runner(toy_study, cluster.address), trials)


def test_a_failed_allocation_names_the_worker(
    tmp_path: Path, toy_study: Path, trials: list[Trial], cluster: Cluster
) -> None:
    (tmp_path / "greedy.py").write_text(WANTS_TOO_MUCH)
    cluster.worker("--preload", str(tmp_path / "greedy.py"))
    with pytest.raises(UserError, match=r"^worker tcp://127.0.0.1:\d+: out of memory"):
        outcomes(make_runner(toy_study, cluster.address), trials)


def test_the_end_of_the_scheduler_ends_the_study(
    cluster: Cluster, toy_study: Path, many: Iterator[Trial]
) -> None:
    cluster.worker()
    running = make_runner(toy_study, cluster.address).run(many)
    next(running)
    cluster.scheduler.kill()
    with pytest.raises(UserError, match=GONE):
        list(running)


def test_a_stage_uses_the_most_common_kind_of_machine(
    cluster: Cluster, tmp_path: Path, toy_study: Path, trials: list[Trial]
) -> None:
    (tmp_path / "abacus.py").write_text(ANOTHER_PROCESSOR)
    caches = [cluster.folder / name for name in ("own", "abacus", "abacus-too")]
    for place in caches:
        options = () if place.name == "own" else ("--preload", str(tmp_path / "abacus.py"))
        cluster.worker(*options, ABLATION_CACHE=str(place))
    cluster.has(3)
    with pytest.raises(UserError, match=r"computes on Abacus, here .*`training.machines: mixed`"):
        outcomes(make_runner(toy_study, cluster.address), trials)
    chosen = most_common_hardware(cluster.address, HERE)
    assert chosen.computer.name == "Abacus"
    runner = dataclasses.replace(make_runner(toy_study, cluster.address), hardware=chosen)
    assert len(outcomes(runner, trials)) == len(trials)
    assert cached_keys(caches[0]) == set()
    assert cached_keys(caches[1]) | cached_keys(caches[2]) == cached_keys(toy_study / "cache")
    assert outcomes(make_runner(toy_study), trials)
    assert len(cached_keys(toy_study / "cache")) == 2 * len(trials)
