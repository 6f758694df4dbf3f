"""The whole pipeline with real git and dvc, on a tiny study."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from ablation.base.checked import read_yaml
from ablation.data.characters import Characters
from ablation.trial.families import FAMILIES
from ablation.trial.recipe import load_recipe
from tests.clones import (
    CHAIN,
    TINY,
    TINY_CHAIN,
    Clone,
    MakeOnce,
    copy_project,
    make_tiny,
    stages_run,
)

UP_TO_DATE = "Data and pipelines are up to date."


def of_all_families(*stages: str) -> set[str]:
    return {f"{stage}@{model}" for stage in stages for model in FAMILIES}


@pytest.fixture
def fresh(study: Clone, tmp_path: Path) -> Clone:
    """A clone with only the files in git."""
    return study.clone(tmp_path / "fresh")


@pytest.fixture(scope="session")
def branches(study: Clone, make_once: MakeOnce) -> tuple[Clone, set[str]]:
    """The study with a checked-out branch `no-dropout` next to `main`, and the stages it ran.

    Read-only, like `study`.
    """

    def make(folder: Path) -> None:
        clone = study.duplicate(folder / "clone")
        clone.run("git", "switch", "--quiet", "--create", "no-dropout")
        clone.edit("techniques", "dropout", value=[0.5, 0.0])
        (folder / "ran.txt").write_text("\n".join(clone.repro()))
        clone.commit("Without dropout")

    folder = make_once("branches", make)
    clone = Clone(folder / "clone", folder / "clone/.cache/trials")
    return clone, {*(folder / "ran.txt").read_text().splitlines()}


def test_every_output_of_every_stage_exists(study: Clone) -> None:
    stages = read_yaml(study.path / "dvc.lock")["stages"]
    of_each = of_all_families(*TINY_CHAIN, "leave_one_out", "fit", "evaluate")
    assert stages.keys() == {"code", "check", "prepare", "compare", "report", *of_each}
    outputs = [out["path"] for stage in stages.values() for out in stage["outs"]]
    assert all((study.path / output).exists() for output in outputs)


def test_nothing_to_do_is_reported(study: Clone, tmp_path: Path) -> None:
    done = study.duplicate(tmp_path / "done")
    for left_behind in (".training.py.swp", "training.py~", "#training.py#", ".DS_Store"):
        (done.path / "src/ablation/trial" / left_behind).touch()
    output = done.run("dvc", "repro")
    assert UP_TO_DATE in output
    assert stages_run(output) == set()


def test_results_are_reproducible_for_any_number_of_workers(study: Clone, tmp_path: Path) -> None:
    """Trained again by one worker: a stage with racing, one of whole recipes, one of fits."""
    alone = study.duplicate(tmp_path / "alone")
    shutil.rmtree(alone.cache)
    alone.edit("training", "workers", value=1)
    stages = ("optimizer@mlp", "leave_one_out@mlp", "fit@cnn")
    assert stages_run(alone.run("dvc", "repro", "--force", "--single-item", *stages)) == {*stages}
    assert alone.trained().keys() < study.trained().keys()
    assert differing(alone, study) == []


@pytest.mark.deep
def test_the_whole_chain_runs(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "study")
    make_tiny(project, TINY, CHAIN)
    assert of_all_families(*CHAIN) <= project.repro()


@pytest.mark.deep
def test_a_whole_study_is_reproducible_for_any_number_of_workers(
    study: Clone, prepared: Clone, tmp_path: Path
) -> None:
    alone = prepared.duplicate(tmp_path / "alone")
    alone.edit("training", "workers", value=1)
    alone.repro()
    # Two workers may start a trial whose entry racing then stops.
    assert alone.trained().keys() <= study.trained().keys()
    assert differing(alone, study) == []


def differing(one: Clone, other: Clone) -> list[str]:
    """The names of the results that differ."""
    ours, theirs = one.results(), other.results()
    assert len(theirs) > len(FAMILIES) * len(TINY_CHAIN)
    return [name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)]


def test_every_recipe_names_the_characters_it_was_chosen_on(study: Clone) -> None:
    digest = Characters.load(study.path / "data/prepared/train.npz").digest()
    recipes = list((study.path / "data/recipes").glob("*/*.yaml"))
    assert len(recipes) == len(FAMILIES) * len(TINY_CHAIN)
    assert all(digest in recipe.read_text() for recipe in recipes)


def test_results_for_people_are_in_git(fresh: Clone) -> None:
    for model in FAMILIES:
        stages = {path.stem for path in (fresh.path / "metrics" / model).iterdir()}
        assert stages == {*TINY_CHAIN, "leave_one_out", "test", "test_over_baseline"}
        assert (fresh.path / f"data/models/{model}.safetensors").stat().st_size < 2**20


def test_a_fresh_clone_shows_every_metric(fresh: Clone) -> None:
    shown = json.loads(fresh.run("dvc", "metrics", "show", "--json"))
    assert {name: file["data"] for name, file in shown[""]["data"].items()} == fresh.metrics()


def test_a_fresh_clone_shows_its_plots(fresh: Clone) -> None:
    output = fresh.run("dvc", "plots", "show")
    page = (fresh.path / "dvc_plots/index.html").read_text()
    assert str(fresh.path / "dvc_plots/index.html") in output
    assert all(picture.name in page for picture in fresh.path.glob("plots/pictures/*/*.png"))


def test_a_fresh_clone_trains_nothing_and_stays_clean(fresh: Clone) -> None:
    assert fresh.repro() == {"check", "prepare"}
    assert fresh.trained() == {}
    assert fresh.changes() == ""


def test_raw_files_can_be_added_to_dvc(study: Clone, tmp_path: Path) -> None:
    clone = study.clone(tmp_path / "clone", "before")
    (clone.path / "data/raw/some.gz").write_bytes(b"raw characters")
    clone.run("dvc", "add", "data/raw/some.gz")
    assert clone.changes() == "?? data/raw/some.gz.dvc\n"


@pytest.mark.deep
def test_after_a_pull_nothing_is_stale(study: Clone, tmp_path: Path) -> None:
    owner = study.duplicate(tmp_path / "owner")
    owner.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    owner.commit("A remote")
    owner.run("dvc", "push")
    clone = owner.clone(tmp_path / "clone")
    clone.run("dvc", "pull")
    assert UP_TO_DATE in clone.run("dvc", "status", "dvc.yaml")
    assert clone.repro() == set()


@pytest.mark.deep
def test_an_edit_reruns_what_depends_on_it(branches: tuple[Clone, set[str]]) -> None:
    later = TINY_CHAIN[TINY_CHAIN.index("dropout") :]
    again = of_all_families(*later, "leave_one_out", "fit", "evaluate")
    assert branches[1] == {"check", "compare", "report", *again}


@pytest.mark.deep
def test_the_diff_names_what_changed(study: Clone, branches: tuple[Clone, set[str]]) -> None:
    before, branch = study.metrics(), branches[0]
    diff = json.loads(branch.run("dvc", "metrics", "diff", "main", "no-dropout", "--json"))
    rows = {(file, name) for file, names in diff.items() for name in names}
    after = branch.metrics()
    assert rows == {
        (file, name)
        for file in after
        for name in {*after[file], *before[file]}
        if after[file].get(name) != before[file].get(name)
    }
    assert ("metrics/mlp/dropout.json", "winner") in rows
    assert ("metrics/cnn/test.json", "accuracy") in rows
    before_it = {
        f"{model}/{name}.json" for model in FAMILIES for name in ("optimizer", "batchnorm")
    }
    assert not [file for file, _ in rows if file.removeprefix("metrics/") in before_it]


@pytest.mark.deep
def test_branches_with_other_winners_leave_git_clean(
    branches: tuple[Clone, set[str]], tmp_path: Path
) -> None:
    clone = branches[0].duplicate(tmp_path / "clone")
    for branch in ("main", "no-dropout"):
        clone.run("git", "switch", "--quiet", branch)
        assert clone.repro() == set()
        assert clone.changes() == ""


@pytest.mark.deep
def test_two_branches_that_ran_are_merged_by_one_more_run(
    branches: tuple[Clone, set[str]], tmp_path: Path
) -> None:
    clone = branches[0].duplicate(tmp_path / "clone")
    winner = load_recipe(clone.path / "data/recipes/mlp/dropout.yaml").dropout
    clone.run("git", "switch", "--quiet", "main")
    clone.edit("fit", "seeds", value=1)
    clone.repro()
    clone.commit("One seed")

    clone.run("git", "merge", "no-dropout", fails=True)
    assert clone.run("git", "grep", "--files-with-matches", "^<<<<<<<", fails=True) == ""
    trained = clone.trained()
    clone.repro()
    clone.commit("Both")
    assert clone.trained() == trained
    assert clone.changes() == ""
    assert UP_TO_DATE in clone.run("dvc", "status", "dvc.yaml")
    assert load_recipe(clone.path / "data/recipes/mlp/dropout.yaml").dropout == winner
    assert len([*clone.path.glob("data/models/mlp-seeds/*")]) == 1


@pytest.mark.parametrize("damage", ["all forgotten", "one file damaged"])
def test_losing_the_cache_does_not_change_results(
    damage: str, study: Clone, tmp_path: Path
) -> None:
    victim = study.duplicate(tmp_path / "victim")
    if damage == "all forgotten":
        shutil.rmtree(victim.cache)
    else:
        for path in victim.cache.iterdir():
            path.write_bytes(path.read_bytes()[:-1])
    output = victim.run("dvc", "repro", "--force", "--single-item", "optimizer@mlp")
    assert stages_run(output) == {"optimizer@mlp"}
    assert ("corrupt; training again" in output) == (damage == "one file damaged")
    assert victim.results() == study.results()


@pytest.mark.deep
def test_a_killed_study_resumes(study: Clone, tmp_path: Path) -> None:
    victim = study.duplicate(tmp_path / "victim")
    shutil.rmtree(victim.cache)
    victim.edit("models", "mlp", "epochs", value=4)
    victim.edit("validation", "repeats", value=6)
    command = ("dvc", "repro", "--single-item", "baseline@mlp")
    killed = victim.start(*command)
    while not victim.trained():
        assert killed.poll() is None
        time.sleep(0.005)
    os.killpg(killed.pid, signal.SIGKILL)  # dvc, the stage and its workers
    killed.communicate()
    before = victim.trained()
    assert 0 < len(before) < 6
    victim.run(*command)
    assert before.items() < victim.trained().items()
    assert len(victim.trained()) == 6


@pytest.mark.deep
def test_experiments_in_a_temporary_copy_share_the_cache(study: Clone, tmp_path: Path) -> None:
    owner = study.duplicate(tmp_path / "owner")
    known = owner.trained()
    as_people_have_it = ("env", "-u", "ABLATION_CACHE")
    experiment = ("dvc", "exp", "run", "--temp", "--set-param", "techniques.dropout=[0.5,0.6,0.7]")
    owner.run(*as_people_have_it, *experiment, "dropout@mlp")
    added = owner.trained().keys() - known.keys()
    assert 0 < len(added) <= 2  # of the new candidate, at most one per repeat
    assert known.items() <= owner.trained().items()
    assert owner.changes() == ""


def test_invalid_parameters_are_refused_before_any_work(study: Clone, tmp_path: Path) -> None:
    clone = study.clone(tmp_path / "clone", "before")
    clone.edit("techniques", "dropout", value=[0.2, 1.5])
    output = clone.run("dvc", "repro", fails=True)
    assert re.search(r"error: params\.yaml: techniques\.dropout\[1\]: 1\.5: .* 0\.99\n", output)
    assert stages_run(output) == {"code", "check"}
    assert "Traceback" not in output
    assert not (clone.path / "data/prepared/train.npz").exists()


def test_missing_raw_data_is_an_error_with_remedies(study: Clone, tmp_path: Path) -> None:
    clone = study.clone(tmp_path / "clone", "before")
    clone.edit("data", "dataset", value="emnist-mini")
    output = clone.run("dvc", "repro", fails=True)
    assert "error: the raw files of emnist-mini are missing" in output
    assert "make demo" in output
    assert "data/raw" in output
    assert "Traceback" not in output
