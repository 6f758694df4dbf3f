"""The committed params.yaml, code, dvc.lock and results are consistent."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ablation.base.files import read_csv
from ablation.fitted.model import Fitted
from ablation.trial.recipe import load_recipe, plain
from tests.clones import Clone, stages_run, warm_python
from tests.committed import HAVE_RUN, PARAMS, ROOT, when_run

RAW = ROOT.parent / "shared/emnist"

# Grids whose best rate is at the edge, and why that is acceptable.
WIDE_ENOUGH = {
    **{
        ("mlp", f"{scheduler} lr=0.01"): "adam lr=0.03 lost 0.8 points in the study of version 1.3"
        for scheduler in ("step", "cosine")
    },
    **{
        ("cnn", f"{scheduler} lr=0.01"): "adam lr=0.03 was no better in the study of version 1.3"
        for scheduler in ("step", "cosine", "onecycle")
    },
    ("mlp", "adamw lr=0.003"): "a rate of 0.001 lost 0.2 points in the study of version 1.3",
    ("mlp", "rmsprop lr=0.003"): "a rate of 0.001 was no better in the study of version 1.3",
    ("mlp", "adagrad lr=0.1"): "a rate of 0.03 was raced out in the study of version 1.3",
    ("cnn", "adam lr=0.01"): "adam lr=0.03 was no better in the study of version 1.3",
    **{
        ("mlp", f"{setting} lr=0.003"): "the incumbent's rate: the scheduler's stage tried 0.01"
        for setting in ("on", "512-256-128", "1024-1024-512")
    },
    **{
        ("cnn", f"{setting} lr=0.01"): "the incumbent's rate, with the same as for cosine"
        for setting in ("on", "16-32-64+128", "16-32-64+128 x2")
    },
    ("mlp", "1024-512-256 lr=0.003"): "a smaller network gained nothing at 0.01",
    ("cnn", "32-64-128+128 x2 lr=0.005"): "the stage architecture_again tries 0.0025",
    ("cnn", "sgd lr=0.3"): "a rate of 1.0 scored 4 % and 44 % in a first look",
}


@pytest.mark.parametrize("model", PARAMS.families)
def test_no_grid_was_too_narrow(model: str) -> None:
    stages = [name.removesuffix(f"@{model}") for name in HAVE_RUN if name.endswith(f"@{model}")]
    tables = {name: ROOT / "plots" / model / name / "candidates.csv" for name in stages}
    for stage, path in tables.items():
        if not path.exists():
            continue  # not a stage of the chain
        table = read_csv(path, text=["setting"])
        narrow = table["grid_edge"].astype(bool) & ~table["raced_out"].astype(bool)
        edges = table.loc[narrow, "setting"]
        at_edge = {(model, setting) for setting in edges}
        assert at_edge <= WIDE_ENOUGH.keys(), f"{stage}: widen the grid in params.yaml"


@when_run("fit")
@pytest.mark.parametrize("model", PARAMS.families)
def test_released_model_is_the_final_recipe(model: str) -> None:
    fitted = Fitted.load(ROOT / f"data/models/{model}.safetensors")
    recipe = load_recipe(ROOT / f"data/recipes/{model}/averaging_again.yaml")
    assert fitted.metadata.recipe == plain(recipe)
    assert fitted.metadata.spec == PARAMS.spec(model, recipe)


@when_run("fit")
@pytest.mark.parametrize("model", PARAMS.families)
def test_no_model_is_too_large_for_git(model: str) -> None:
    for path in (ROOT / "data/models").rglob(f"{model}*"):
        assert not path.is_file() or path.stat().st_size < 4 * 2**20


@when_run("fit")
@pytest.mark.parametrize("model", PARAMS.families)
def test_every_seed_was_fitted_and_the_first_is_released(model: str) -> None:
    seeds = [*(ROOT / f"data/models/{model}-seeds").glob("*.safetensors")]
    released = (ROOT / f"data/models/{model}.safetensors").read_bytes()
    assert len(seeds) == PARAMS.fit.seeds
    assert (ROOT / f"data/models/{model}-seeds/1.safetensors").read_bytes() == released


@when_run("compare")
def test_every_metric_fits_a_terminal() -> None:
    command = warm_python("-m", "dvc", "metrics", "show")
    shown = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    columns = "Path accuracy f1 gain high low precision recall verdict winner"
    assert sorted(shown[0].split()) == columns.split()
    assert max(map(len, shown)) <= 144
    assert len(shown) == 1 + len([*(ROOT / "metrics").rglob("*.json")])


def test_every_result_was_made_by_the_committed_code_and_parameters(tmp_path: Path) -> None:
    """Fails after a commit that changes these without running the study again."""
    clone = Clone(tmp_path / "clone", tmp_path / "cache")
    subprocess.run(["git", "clone", "--quiet", ROOT, clone.path], check=True)
    said = json.loads(clone.run("dvc", "status", "--json", *HAVE_RUN))
    changes = [(stage, change) for stage, each in said.items() for change in each]
    assert [stage for stage, change in changes if change == "changed command"] == []
    stale = {
        (stage, path)
        for stage, change in changes
        for paths in change.values()
        for path in paths
        if not path.startswith(("data/raw", "data/prepared/"))  # a clone lacks these
    }
    assert stale == set()


@pytest.mark.real
@pytest.mark.skipif(not RAW.is_dir(), reason=f"the real characters are not in {RAW}")
def test_a_fresh_clone_with_raw_files_trains_nothing_and_stays_clean(tmp_path: Path) -> None:
    """Fails after a commit that changes code without running the study again."""
    clone = Clone(tmp_path / "clone", tmp_path / "cache")
    subprocess.run(["git", "clone", "--quiet", ROOT, clone.path], check=True)
    for path in RAW.glob("*.gz"):
        shutil.copy(path, clone.path / "data/raw")
    assert stages_run(clone.run("dvc", "repro", "check", "prepare")) == {"check", "prepare"}
    # Otherwise `dvc repro` would train for hours.
    assert json.loads(clone.run("dvc", "status", "--json", *HAVE_RUN)) == {}
    assert stages_run(clone.run("dvc", "repro", *HAVE_RUN)) == set()
    assert clone.trained() == {}
    assert clone.changes() == ""


def test_the_readme_states_whether_the_study_is_in_progress() -> None:
    listed = warm_python("-m", "dvc", "stage", "list", "--name-only")
    stages = set(subprocess.check_output(listed, cwd=ROOT, text=True).split())
    said = "under way" in (ROOT / "README.md").read_text()
    assert said == bool(stages - HAVE_RUN)
