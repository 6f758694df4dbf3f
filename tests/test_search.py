"""The second pipeline with real git and dvc, on the tiny study."""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from ablation.search.strategies import STRATEGIES
from ablation.trial.families import FAMILIES
from ablation.trial.recipe import load_recipe, plain
from ablation.use.loading import load_models
from tests.clones import Clone, MakeOnce, stages_run, warm_python

pytest.importorskip("optuna", reason="the extra `search` is not installed")
PIPELINE = "search/dvc.yaml"
# A handful of draws.
SEARCH = {
    "strategies": [*STRATEGIES],
    "epochs": {"mlp": 4, "cnn": 2},
    "budget": {"mlp": 2.4e-5, "cnn": 3.0e-5},
    "generation": 4,
    "finalists": 2,
}
AFTER_DRAWS = ("contest", "leave_one_out", "fit", "evaluate")


def of_all_families(*stages: str) -> set[str]:
    return {f"{PIPELINE}:{stage}@{model}" for stage in stages for model in FAMILIES}


def results(clone: Clone) -> dict[str, bytes]:
    """The bytes of all that a search writes, but for times, and dvc.lock with their hashes."""
    files = [path for path in (clone.path / "search").rglob("*") if path.is_file()]
    names = {str(path.relative_to(clone.path)): path for path in files}
    return {
        name: path.read_bytes()
        for name, path in names.items()
        if "/times/" not in name and path.name != "dvc.lock"
    }


@pytest.fixture(scope="session")
def undrawn(study: Clone, make_once: MakeOnce) -> Clone:
    """The tiny study with a tiny search that has not run. Read-only."""

    def make(folder: Path) -> None:
        clone = study.duplicate(folder / "study")
        for key, value in SEARCH.items():
            clone.edit("search", key, value=value)
        clone.run("dvc", "repro")
        clone.commit("A tiny search")

    folder = make_once("undrawn", make)
    return Clone(folder / "study", folder / "study/.cache/trials")


@pytest.fixture(scope="session")
def drawn(undrawn: Clone, make_once: MakeOnce) -> Clone:
    """It has run, with two workers, and its results are in git. Read-only."""

    def make(folder: Path) -> None:
        clone = undrawn.duplicate(folder / "study")
        ran = stages_run(clone.run("dvc", "repro", PIPELINE))
        assert ran == of_all_families(*STRATEGIES, *AFTER_DRAWS) | {f"{PIPELINE}:report"}
        clone.commit("Its results")

    folder = make_once("drawn", make)
    return Clone(folder / "study", folder / "study/.cache/trials")


@pytest.mark.deep
def test_a_search_is_reproducible_for_any_number_of_workers(
    drawn: Clone, undrawn: Clone, tmp_path: Path
) -> None:
    alone = undrawn.duplicate(tmp_path / "alone")
    alone.edit("training", "workers", value=1)
    alone.run("dvc", "repro", PIPELINE)
    ours, theirs = results(alone), results(drawn)
    assert len(theirs) > 40
    assert [name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)] == []


@pytest.mark.deep
def test_a_search_is_planned_with_the_stages_before_it(drawn: Clone, undrawn: Clone) -> None:
    command = ("env", "PYTHONPATH=src", *warm_python("-m", "ablation", "plan", PIPELINE))
    *_, work, time = undrawn.run(*command).splitlines()
    assert re.fullmatch(r"13 of \d+ stages run: \d+ to \d+ trainings, \d+ cached", work)
    assert time.startswith("about ")
    *_, last = drawn.run(*command).splitlines()
    assert last == "everything is up to date: nothing runs"


@pytest.mark.deep
def test_a_killed_search_resumes(drawn: Clone, undrawn: Clone, tmp_path: Path) -> None:
    victim = undrawn.duplicate(tmp_path / "victim")
    before = victim.trained()
    process = victim.start("dvc", "repro", PIPELINE)
    while len(victim.trained()) < len(before) + 3:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = victim.trained()
    victim.run("dvc", "repro", PIPELINE)
    assert kept.items() <= victim.trained().items(), "a trial was trained twice"
    assert victim.trained().keys() == drawn.trained().keys()
    assert results(victim) == results(drawn)


@pytest.mark.deep
def test_a_fresh_clone_of_a_search_trains_nothing_and_stays_clean(
    drawn: Clone, tmp_path: Path
) -> None:
    fresh = drawn.clone(tmp_path / "fresh")
    assert stages_run(fresh.run("dvc", "repro", PIPELINE)) == {"check", "prepare"}
    assert fresh.trained() == {}
    assert fresh.changes() == ""


@pytest.mark.deep
def test_an_edit_of_the_chain_draws_nothing_again(drawn: Clone, tmp_path: Path) -> None:
    """Of the rule by which stages are decided, for one."""
    clone = drawn.duplicate(tmp_path / "clone")
    clone.edit("selection", "risk", value=0.01)
    ran = stages_run(clone.run("dvc", "repro", PIPELINE))
    assert of_all_families("contest") <= ran
    assert ran.isdisjoint(of_all_families(*STRATEGIES))


@pytest.mark.deep
def test_the_models_of_a_search_are_fits_of_its_answer(
    drawn: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(drawn.path)
    models = load_models("search")
    assert models.keys() == FAMILIES.keys()
    for model, fitted in models.items():
        answer = load_recipe(Path(f"search/data/recipes/{model}/answer.yaml"))
        assert fitted.metadata.recipe == plain(answer)
