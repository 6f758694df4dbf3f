"""The report writes every picture reproducibly, or names the missing file."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ablation.base.errors import UserError
from ablation.show.report import _drawings, write_charts, write_pictures
from ablation.show.study import Study
from tests.clones import warm_python
from tests.show.conftest import copy_templates

REPOSITORY = Path(__file__).parents[2]
PNG = b"\x89PNG"
DRAWN = shutil.ignore_patterns("pictures", "charts")


def run(*command: str, folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


def test_every_picture_is_written_and_nothing_else(study: Study, pictures: list[Path]) -> None:
    written = sorted((study.root / "plots/pictures").rglob("*.*"))
    assert written == sorted(pictures)
    assert {f"confusion_{model}.png" for model in study.models} <= {path.name for path in written}
    assert all(path.read_bytes().startswith(PNG) for path in pictures)


def test_the_same_files_give_the_same_bytes(study: Study, pictures: list[Path]) -> None:
    written = [*pictures, *write_charts(study)]
    first = {path: path.read_bytes() for path in written}
    again = [*write_pictures(study), *write_charts(study)]
    assert {path: path.read_bytes() for path in again} == first


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("data/prepared/samples.npz", "prepare"),
        ("plots/data/class_counts.csv", "prepare"),
        ("plots/mlp/dropout/curves.csv", "dropout@mlp"),
        ("plots/cnn/leave_one_out/gains.csv", "leave_one_out@cnn"),
        ("plots/cnn/test/predictions.csv", "evaluate@cnn"),
        ("data/evaluated/mlp/first_six.npz", "evaluate@mlp"),
        ("plots/rnn/test/details.csv", "evaluate@rnn"),
        ("plots/comparison/classes.csv", "compare"),
    ],
)
def test_a_missing_file_is_named_with_the_stage_that_writes_it(
    study: Study, tmp_path: Path, name: str, stage: str
) -> None:
    empty = replace(study, root=tmp_path)
    read = empty.arrays if name.endswith(".npz") else empty.table
    with pytest.raises(UserError, match=f"^{name}: .*`dvc repro {stage}`"):
        read(name)


def test_no_picture_is_written_if_a_file_is_missing(study: Study, tmp_path: Path) -> None:
    shutil.copytree(study.root, tmp_path, ignore=DRAWN, dirs_exist_ok=True)
    (tmp_path / "plots/comparison/classes.csv").unlink()
    with pytest.raises(UserError, match=r"^plots/comparison/classes"):
        write_pictures(replace(study, root=tmp_path))
    assert not (tmp_path / "plots/pictures").exists()


def test_a_missing_curve_is_named_with_the_stage_that_writes_it(
    study: Study, tmp_path: Path
) -> None:
    shutil.copytree(study.root, tmp_path, ignore=DRAWN, dirs_exist_ok=True)
    (tmp_path / "plots/rnn/activation/curves.csv").unlink()
    with pytest.raises(UserError, match="`dvc repro activation@rnn`"):
        write_charts(replace(study, root=tmp_path))
    assert not (tmp_path / "plots/charts").exists()


def test_a_chart_that_is_no_longer_drawn_is_deleted(study: Study, tmp_path: Path) -> None:
    shutil.copytree(study.root, tmp_path, ignore=DRAWN, dirs_exist_ok=True)
    stale = tmp_path / "plots/charts/gains/9-gone.csv"
    stale.parent.mkdir(parents=True)
    stale.touch()
    write_charts(replace(study, root=tmp_path))
    assert not stale.exists()


def test_characters_are_read_as_text(study: Study, tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("index,character\n0,1\n1,NA\n")
    read = replace(study, root=tmp_path).table("classes.csv")
    assert list(read["character"]) == ["1", "NA"]


def test_the_stage_prints_a_summary_and_no_note_for_real_characters(
    study: Study, tmp_path: Path
) -> None:
    shutil.copytree(study.root, tmp_path, ignore=DRAWN, dirs_exist_ok=True)
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    copy_templates(tmp_path)
    said = run(*warm_python(str(REPOSITORY / "stages/report.py")), folder=tmp_path)
    lines = " ".join(said.split())
    assert "On the test characters, with 95 % intervals, the CNN reaches " in lines
    assert "Shown to help, on fresh repeats" in lines
    assert "details: plots/report.html, and " in lines
    assert max(map(len, said.splitlines())) <= 80
    assert "stand-in" not in said
    assert not pd.read_csv(tmp_path / "plots/charts/chain.csv")["note"].any()


def test_pictures_need_no_training_code(tmp_path: Path) -> None:
    program = "import sys, ablation.show.report; print(*sys.modules)"
    loaded = run(sys.executable, "-c", program, folder=tmp_path).split()
    training = {name for name in loaded if name.startswith("ablation.trial.")}
    assert "torch" not in loaded
    assert training <= {"ablation.trial.families", "ablation.trial.recipe"}


def test_whole_pictures_keep_their_brightness_and_writing_is_dark(study: Study) -> None:
    """Bright pixels of whole pictures are bright in the report; EMNIST's strokes are dark."""
    drawn = {}
    for conversion in ("as-is", "emnist"):
        shown = replace(study, dataset=replace(study.dataset, conversion=conversion))
        axes = _drawings(shown)["data/class_samples"].axes[0]
        drawn[conversion] = np.asarray(axes.images[0].get_array())
        assert axes.images[0].get_cmap().name == "gray_r"
    samples = study.arrays("data/prepared/samples.npz")["images"]
    assert drawn["emnist"].max() == samples.max()
    assert np.array_equal(drawn["as-is"][:28, :28], 255 - samples[0])
