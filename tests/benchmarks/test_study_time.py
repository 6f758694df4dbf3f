import shutil
import subprocess
import sys
from pathlib import Path

from study_time import SCRATCH, add_candidate, trainings

from ablation.params import load_params

ROOT = Path(__file__).parents[2]


def test_added_candidate_is_one_more_optimizer(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    before = load_params(path).candidates("optimizer", "mlp")
    add_candidate(path)
    assert load_params(path).candidates("optimizer", "mlp")[:-1] == before


def test_only_finished_trainings_are_counted(tmp_path: Path) -> None:
    for name in ("a" * 64, f"bf16-{'a' * 64}", "a.unfinished"):
        (tmp_path / name).touch()
    assert trainings(tmp_path) == 1


def test_scratch_copy_holds_the_code_and_the_small_study(tmp_path: Path) -> None:
    subprocess.run([sys.executable, SCRATCH, tmp_path / "study"], cwd=ROOT, check=True)
    params, demo = load_params(ROOT / "params.yaml"), load_params(tmp_path / "study/params.yaml")
    assert (demo.data.dataset, demo.validation.repeats) == ("glyphs", 3)
    # What it says nothing of is as in params.yaml.
    assert demo.candidates("smoothing", "mlp") == params.candidates("smoothing", "mlp")
    assert len(demo.candidates("optimizer", "mlp")[0].settings) == 1
    assert (tmp_path / "study/benchmarks/study_time.py").exists()
