"""The report writes every picture, the same bytes each time, or says what is missing."""

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from ablation.base.errors import UserError
from ablation.show.report import DRAWINGS, Study, summary, write_pictures

REPOSITORY = Path(__file__).parents[2]
PNG = b"\x89PNG"


def python(*arguments: str, folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


def test_every_picture_is_written_and_nothing_else(root: Path, pictures: list[Path]) -> None:
    written = sorted(path.name for path in (root / "plots/pictures").iterdir())
    assert written == sorted(f"{name}.png" for name in DRAWINGS)
    assert all(path.read_bytes().startswith(PNG) for path in pictures)


def test_the_same_files_give_the_same_bytes(root: Path, pictures: list[Path]) -> None:
    first = {path: path.read_bytes() for path in pictures}
    assert {path: path.read_bytes() for path in write_pictures(Study(root, "glyphs"))} == first


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("data/prepared/samples.npz", "prepare"),
        ("plots/data/class_counts.csv", "prepare"),
        ("plots/mlp/dropout/curves.csv", "dropout@mlp"),
        ("plots/cnn/leave_one_out/gains.csv", "leave_one_out@cnn"),
        ("plots/cnn/test/predictions.csv", "evaluate@cnn"),
        ("data/evaluated/mlp/first_six.npz", "evaluate@mlp"),
        ("metrics/comparison.json", "compare"),
    ],
)
def test_a_missing_file_is_named_with_the_stage_that_writes_it(
    root: Path, tmp_path: Path, name: str, stage: str
) -> None:
    shutil.copytree(root, tmp_path, ignore=shutil.ignore_patterns("pictures"), dirs_exist_ok=True)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"^{name}: .*`dvc repro {stage}`"):
        write_pictures(Study(tmp_path, "glyphs"))
    assert not (tmp_path / "plots/pictures").exists()


def test_training_curves_are_those_of_the_last_stages_winner(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    curves = tmp_path / "plots/mlp/dropout/curves.csv"
    table = pd.read_csv(curves)
    table.loc[table["candidate"] == 0.2, "train_loss"] = 7.0
    table.to_csv(curves, index=False)
    drawn = DRAWINGS["training_curves"](Study(tmp_path, "glyphs"))
    assert set(np.asarray(drawn.axes[0].lines[0].get_ydata())) == {7.0}


def test_characters_are_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("index,character\n0,1\n1,NA\n")
    assert list(Study(tmp_path, "glyphs").table("classes.csv")["character"]) == ["1", "NA"]


def test_the_summary_gives_both_accuracies_with_their_intervals(root: Path) -> None:
    study = Study(root, "glyphs")
    console = Console(width=80, file=io.StringIO())
    console.print(summary(study))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    for model in ("mlp", "cnn"):
        test = study.numbers(f"metrics/{model}/test.json")
        low, high = (100 * test[f"accuracy_{end}"] for end in ("low", "high"))
        assert f"{100 * test['accuracy']:.2f} %" in said
        assert f"{low:.2f} % to {high:.2f} %" in said
    assert "stand-in" in said


def test_the_stage_prints_its_pictures_and_marks_only_those_of_glyphs(
    root: Path, pictures: list[Path], tmp_path: Path
) -> None:
    params = (REPOSITORY / "params.yaml").read_text()
    shutil.copytree(root, tmp_path, ignore=shutil.ignore_patterns("pictures"), dirs_exist_ok=True)
    (tmp_path / "params.yaml").write_text(
        re.sub(r"(?m)^( +dataset:).*$", r"\1 emnist-mini", params)
    )
    said = python(str(REPOSITORY / "stages/report.py"), folder=tmp_path)
    for picture in pictures:
        name = picture.relative_to(root)
        assert f"wrote {name}" in said
        assert (tmp_path / name).read_bytes() != picture.read_bytes()
    assert "Test set, emnist-mini" in said


def test_pictures_need_no_training_code(tmp_path: Path) -> None:
    loaded = python(
        "-c", "import sys, ablation.show.report; print(*sys.modules)", folder=tmp_path
    ).split()  # fmt: skip
    assert "torch" not in loaded
    assert not [name for name in loaded if name.startswith("ablation.trial")]
