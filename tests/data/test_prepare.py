import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ablation.data.characters import CLASSES, Characters

Prepare = Callable[[Path, str], subprocess.CompletedProcess[str]]


def test_prints_the_counts_and_that_glyphs_are_a_stand_in(
    prepared_glyphs: tuple[Path, str],
) -> None:
    assert "5,640 training and 1,880 test characters, 47 classes" in prepared_glyphs[1]
    assert "characters drawn from fonts, a stand-in for real handwriting" in prepared_glyphs[1]


def test_writes_training_and_test_set_apart(prepared_glyphs: tuple[Path, str]) -> None:
    folder = prepared_glyphs[0] / "data" / "prepared"
    assert len(Characters.load(folder / "train.npz")) == 5640
    assert len(Characters.load(folder / "test.npz")) == 1880


def test_writes_the_first_ten_training_characters_of_every_class(
    prepared_glyphs: tuple[Path, str],
) -> None:
    folder = prepared_glyphs[0] / "data" / "prepared"
    train, samples = (Characters.load(folder / f"{name}.npz") for name in ("train", "samples"))
    assert samples.labels.tolist() == [label for label in range(47) for _ in range(10)]
    assert (samples.images[200:210] == train.images[train.labels == 20][:10]).all()


def test_writes_the_tables(prepared_glyphs: tuple[Path, str]) -> None:
    folder = prepared_glyphs[0]
    mapping = pd.read_csv(folder / "data" / "classes.csv", dtype=str)
    assert list(mapping.columns) == ["index", "character"]
    assert mapping["index"].tolist() == [str(index) for index in range(47)]
    assert tuple(mapping["character"]) == CLASSES
    counts = pd.read_csv(folder / "plots" / "data" / "class_counts.csv")
    assert list(counts.columns) == ["character", "train", "test"]
    assert tuple(counts["character"]) == CLASSES
    assert set(counts["train"]) == {120}
    assert set(counts["test"]) == {40}


def test_without_raw_files_it_stops_with_a_message_and_writes_nothing(
    prepare: Prepare, tmp_path: Path
) -> None:
    result = prepare(tmp_path, "emnist-mini")
    assert result.returncode == 1
    assert "error: the raw files of emnist-mini are missing" in result.stderr
    assert "make demo" in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_a_damaged_file_is_a_message(prepare: Prepare, tmp_path: Path) -> None:
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / "gzip.zip").write_bytes(b"PK, or not")
    result = prepare(tmp_path, "emnist-balanced")
    assert result.returncode == 1
    assert "error: data/raw/gzip.zip, of 10 bytes, cannot be read" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_copy_of_the_repository_finds_the_raw_files_of_the_repository(
    prepare: Prepare, tmp_path: Path
) -> None:
    """As `dvc exp run --temp` and `--queue` work in one."""
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/gzip.zip").write_bytes(b"PK, or not")
    copy = tmp_path / ".dvc/tmp/exps/tmp1234"
    copy.mkdir(parents=True)
    result = prepare(copy, "emnist-balanced")
    assert f"error: {tmp_path}/data/raw/gzip.zip, of 10 bytes, cannot be read" in result.stderr
