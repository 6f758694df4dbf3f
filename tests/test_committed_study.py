"""What is committed holds together: the study in git is a finished one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tables import METRICS

from ablation.base.files import read_csv
from ablation.fitted import Fitted
from ablation.params import load_params
from ablation.recipe import CHAIN, load_recipe
from tests.clones import Clone

ROOT = Path(__file__).parents[1]
RAW = ROOT.parent / "shared/emnist"
PARAMS = load_params(ROOT / "params.yaml")
(LAST,) = (
    given["last"]
    for given in yaml.safe_load((ROOT / "dvc.yaml").read_text())["vars"]
    if "last" in given
)


@pytest.mark.parametrize("model", PARAMS.families)
def test_no_grid_was_too_narrow(model: str) -> None:
    for technique in CHAIN:
        table = read_csv(ROOT / "plots" / model / technique / "candidates.csv")
        at_edge = table.loc[table["grid_edge"].astype(bool), "setting"].tolist()
        assert at_edge == [], f"{technique}: widen the grid in params.yaml"


@pytest.mark.parametrize("model", PARAMS.families)
def test_released_model_is_the_final_recipe_at_the_sizes_of_params(model: str) -> None:
    fitted = Fitted.load(ROOT / f"data/models/{model}.safetensors")
    assert fitted.about.recipe == load_recipe(ROOT / f"data/recipes/{model}/{LAST}.yaml")
    assert fitted.about.spec == PARAMS.spec(model)


@pytest.mark.parametrize("model", PARAMS.families)
def test_every_seed_is_there_and_the_first_is_released(model: str) -> None:
    seeds = [*(ROOT / f"data/models/{model}-seeds").glob("*.safetensors")]
    released = (ROOT / f"data/models/{model}.safetensors").read_bytes()
    assert len(seeds) == PARAMS.fit.seeds
    assert (ROOT / f"data/models/{model}-seeds/1.safetensors").read_bytes() == released


def test_every_metric_fits_a_terminal() -> None:
    command = [sys.executable, "-m", "dvc", "metrics", "show"]
    shown = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    assert len(shown[0].split()) == 1 + len(METRICS)
    assert max(map(len, shown)) <= 136
    assert len(shown) == 1 + len([*(ROOT / "metrics").rglob("*.json")])


@pytest.mark.real
@pytest.mark.skipif(not RAW.is_dir(), reason=f"the real characters are not in {RAW}")
def test_a_fresh_clone_with_raw_files_trains_nothing_and_stays_clean(tmp_path: Path) -> None:
    """Of what is committed: who changes code without running the study again is told here."""
    clone = Clone(tmp_path / "clone", tmp_path / "memory")
    subprocess.run(["git", "clone", "--quiet", ROOT, clone.path], check=True)
    for path in RAW.glob("*.gz"):
        shutil.copy(path, clone.path / "data/raw")
    assert clone.repro() == {"check", "prepare"}
    assert clone.trained() == {}
    assert clone.changes() == ""
