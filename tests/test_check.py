"""The stage `check`: errors that DVC would find hours later, or never."""

import re
import subprocess
from pathlib import Path

import pytest

from ablation.base.checked import read_yaml
from ablation.run.hardware import has_gpu
from ablation.trial.recipe import CHAIN
from tests.clones import CHAIN as STAGES
from tests.clones import warm_python

ROOT = Path(__file__).parents[1]
FILES = ("dvc.yaml", "params.yaml")
CNN = next(
    line
    for line in (ROOT / "params.yaml").read_text().splitlines(keepends=True)
    if line.startswith("  cnn: {")
)
MULTIPLES = re.findall(
    r"^learning_rate_multiples:\n(?:  .+\n)+", (ROOT / "params.yaml").read_text(), re.MULTILINE
)[0]
PIPELINE = {name: read_yaml(ROOT / "dvc.yaml")["stages"][name] for name in ("compare", "report")}
REPORT_ON_CNN = "".join(
    f"      - {folder}/cnn\n" for folder in ("data/evaluated", "data/times", "metrics", "plots")
)


def check(folder: Path, edits: dict[str, tuple[str, str]]) -> subprocess.CompletedProcess[str]:
    """Run the stage on the project's files, with some text replaced.

    edits: file to (old text, new text).
    """
    (folder / "data/raw").mkdir(parents=True, exist_ok=True)
    (folder / ".dvc").mkdir(exist_ok=True)
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    for name in FILES:
        text = (ROOT / name).read_text().replace("precision: auto", "precision: float32")
        old, new = edits.get(name, ("", ""))
        assert old in text
        (folder / name).write_text(text.replace(old, new) if old else text)
    command = ["env", f"PYTHONPATH={ROOT / 'src'}", *warm_python(str(ROOT / "stages/check.py"))]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_projects_own_files_are_valid(tmp_path: Path) -> None:
    result = check(tmp_path, {})
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "data/prepared/checked.txt").exists()
    _, runs, time, *_ = result.stdout.splitlines()
    assert re.fullmatch(r"(\d+) of \1 stages run: [\d,]+ to [\d,]+ trainings, 0 cached", runs)
    assert re.match(r"about \d+ (s|min|h|days) on this machine, \d+ at a time", time)
    assert "validation.repeats" not in result.stdout


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        (
            {"params.yaml": ("  batchnorm:\n  - false\n  - true\n", "")},
            "params.yaml: techniques: batchnorm missing, but dvc.yaml has a stage for it; write "
            "`batchnorm: []` to explore nothing",
        ),
        (
            {"params.yaml": (MULTIPLES, "")},
            "params.yaml: learning_rate_multiples: missing; write `learning_rate_multiples: {}` to "
            "try every setting at the incumbent's learning rate",
        ),
        (
            {"dvc.yaml": ("stage: smoothing_again,", "stage: droput_again,")},
            f"dvc.yaml: stages: 'droput_again' is not one of {', '.join(CHAIN)} (did you mean "
            "'dropout'?); in later rounds, append _again, optionally with a number; the "
            "stage `backward` explores all techniques again",
        ),
        (
            {"params.yaml": (CNN, "")},
            "dvc.yaml: stages.compare.deps: data/times/cnn/test.csv does not exist, and no stage "
            "makes it without its model in params.yaml; delete the lines of this model's files",
        ),
        (
            {"params.yaml": ("  generation: 8\n", "")},
            "params.yaml: search.generation: missing; add it, as docs/search.md explains; a study "
            "without a search has no section `search`",
        ),
        pytest.param(
            {"params.yaml": ("  device: auto", "  device: cuda")},
            "params.yaml: training.device: 'cuda', but torch finds no GPU; use auto or cpu",
            marks=pytest.mark.skipif(has_gpu(), reason="has a GPU"),
        ),
        (
            {"dvc.yaml": (REPORT_ON_CNN, "")},
            "dvc.yaml: stages.report.deps: cnn missing, but it is in the models of params.yaml; "
            "list its files like those of the other models",
        ),
    ],
)
def test_errors_that_dvc_would_find_late_are_found_early(
    edits: dict[str, tuple[str, str]], said: str, tmp_path: Path
) -> None:
    result = check(tmp_path, edits)
    assert result.stderr == f"error: {said}\n"
    assert list((tmp_path / "data").iterdir()) == [tmp_path / "data/raw"]


def test_a_family_studied_before_can_be_switched_off_in_params_alone(tmp_path: Path) -> None:
    deps = [dep for stage in PIPELINE.values() for dep in stage["deps"] if "/cnn" in dep]
    assert len(deps) == 8
    for dep in deps:
        (tmp_path / dep.replace("${last}", STAGES[-1])).mkdir(parents=True, exist_ok=True)
    result = check(tmp_path, {"params.yaml": (CNN, "")})
    assert result.returncode == 0, result.stderr


@pytest.mark.deep
def test_a_technique_with_an_empty_list_is_not_explored(tmp_path: Path) -> None:
    edits = {"params.yaml": ("  batchnorm:\n  - false\n  - true\n", "  batchnorm: []\n")}
    assert check(tmp_path, edits).returncode == 0


def test_a_batch_larger_than_the_training_part_is_refused_before_any_work(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    old = text[text.index("dataset: emnist-mini") : text.index("batch_size: 128") + 15]
    new = old.replace("emnist-mini", "glyphs").replace("128", "8192")
    result = check(tmp_path, {"params.yaml": (old, new)})
    assert result.stderr == (
        "error: params.yaml: training.batch_size: 8192 exceeds the 2397 training characters of a "
        "trial; use at most 2397\n"
    )
    assert result.returncode == 1
    assert not (tmp_path / "data/prepared").exists()


def test_a_missing_folder_of_raw_files_is_reported(tmp_path: Path) -> None:
    edits = {"params.yaml": ("raw: data/raw", f"raw: {tmp_path}/nowhere")}
    said = (
        f"error: params.yaml: data.raw: {tmp_path}/nowhere: no such folder; create it, or set "
        "data.raw to the folder of the raw files\n"
    )
    assert check(tmp_path, edits).stderr == said
    (tmp_path / "nowhere").touch()
    assert "nowhere: a file, not a folder; create" in check(tmp_path, edits).stderr


def test_an_error_of_the_plan_does_not_fail_the_stage(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("stages: {check: 3}")
    result = check(tmp_path, {"params.yaml": ("  repeats: 4", "  repeats: 1")})
    assert result.returncode == 0, result.stderr
    assert "params.yaml: validation.repeats: 1: a single repeat does not show" in result.stdout
    assert "the run's time is unknown: it could not be measured (dvc.yaml" in result.stdout


@pytest.mark.deep
def test_own_pictures_are_counted_and_an_unknown_size_is_reported(tmp_path: Path) -> None:
    dataset = "dataset: emnist-mini"
    edits = {"params.yaml": (dataset, "dataset: folder\n  test_fraction: 0.2")}
    said = check(tmp_path, edits)
    assert said.returncode == 0, said.stderr
    assert "the time is unknown until the pictures are read" in said.stdout
    assert " on this machine, " not in said.stdout
    for name in ("oak", "elm"):
        (tmp_path / "data/raw" / name).mkdir()
        for number in range(100):
            (tmp_path / "data/raw" / name / f"{number}.png").touch()
    assert re.search(r"^about .* on this machine, ", check(tmp_path, edits).stdout, re.M)
