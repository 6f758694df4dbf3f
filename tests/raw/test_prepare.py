import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ablation.data.characters import CLASSES, Characters
from ablation.raw.formats import member_names, to_idx
from tests.clones import copy_project

Prepare = Callable[..., subprocess.CompletedProcess[str]]


def test_prints_the_counts_and_the_note_of_glyphs(
    prepared_glyphs: tuple[Path, str],
) -> None:
    assert "2,820 training and 1,880 test characters, 47 classes" in prepared_glyphs[1]
    said = " ".join(prepared_glyphs[1].split())
    assert "synthetic characters drawn from fonts, not real handwriting" in said


def test_writes_training_and_test_set_separately(prepared_glyphs: tuple[Path, str]) -> None:
    folder = prepared_glyphs[0] / "data" / "prepared"
    assert len(Characters.load(folder / "train.npz")) == 2820
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
    assert set(counts["train"]) == {60}
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


def test_pictures_without_contrast_are_refused(prepare: Prepare, tmp_path: Path) -> None:
    """A model file with a smaller deviation would be refused when it is read."""
    rng = np.random.default_rng(0)
    for number in range(40):
        values = np.zeros((28, 28), np.uint8)
        values[rng.integers(28), rng.integers(28)] = 5
        path = tmp_path / f"data/raw/{'ab'[number % 2]}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
    result = prepare(tmp_path, "folder", test_fraction=0.25)
    assert result.returncode == 1
    assert result.stderr.startswith(
        "error: data/raw: the training images are nearly uniform: their pixels, in 0..1, have a "
        "standard deviation of 0.0007, but at least 0.001 is required; use"
    )
    assert not (tmp_path / "data/prepared").exists()


def test_a_corrupt_file_is_a_one_line_error(prepare: Prepare, tmp_path: Path) -> None:
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / "gzip.zip").write_bytes(b"PK, or not")
    result = prepare(tmp_path, "emnist-balanced")
    assert result.returncode == 1
    assert "error: data/raw/gzip.zip (10 bytes) is truncated or corrupt" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_copy_of_the_repository_uses_the_raw_files_of_the_original(
    prepare: Prepare, tmp_path: Path
) -> None:
    """`dvc exp run --temp` and `--queue` work in a copy."""
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/gzip.zip").write_bytes(b"PK, or not")
    copy = tmp_path / ".dvc/tmp/exps/tmp1234"
    copy.mkdir(parents=True)
    result = prepare(copy, "emnist-balanced")
    assert (
        f"error: {tmp_path}/data/raw/gzip.zip (10 bytes) is truncated or corrupt" in result.stderr
    )


def test_unused_local_files_are_named_before_the_download(prepare: Prepare, tmp_path: Path) -> None:
    raw = tmp_path / "data/raw"
    processed = raw / "EMNIST/processed/test_byclass.pt"
    processed.parent.mkdir(parents=True)
    processed.write_bytes(b"a pickle")
    images, labels = member_names("bymerge-test")
    (raw / images).write_bytes(to_idx(np.zeros((2, 28, 28), np.uint8)))
    (raw / labels).write_bytes(to_idx(np.zeros(2, np.uint8)))
    (raw / "matlab.mat").touch()
    (raw / ".Trash-1000").mkdir()
    (raw / ".Trash-1000/gzip.zip").write_bytes(b"thrown away")
    result = prepare(tmp_path, "emnist-mini")
    lines = [line for line in result.stdout.splitlines() if line.startswith("prepare: ")]
    assert lines == [
        f"prepare: data/raw/{images} is used",
        "prepare: data/raw/matlab.mat is not used: unknown file name; "
        "data/raw/README.md lists the names that are read",
        "prepare: data/raw/EMNIST/processed/test_byclass.pt is not used: a pickle can run "
        "arbitrary code when loaded; add the files it was made from (torchvision's are in "
        "EMNIST/raw)",
        "prepare: no raw files for byclass-test in data/raw; downloading NIST's archive (561 MB)",
    ]
    assert "could not be downloaded (no connection to " in result.stderr
    assert "Traceback" not in result.stderr


def test_an_archive_without_the_partition_is_not_overwritten(
    prepare: Prepare, tmp_path: Path
) -> None:
    (tmp_path / "data/raw").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "data/raw/gzip.zip", "w") as archive:
        archive.writestr("gzip/emnist-letters-test-images-idx3-ubyte.gz", b"")
    result = prepare(tmp_path, "emnist-balanced")
    said = "error: data/raw/gzip.zip: does not contain emnist-balanced-train-images-idx3-ubyte, "
    assert result.stderr.startswith(said)


def test_dvc_tracks_the_folder_set_by_data_raw(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    raw = tmp_path / "elsewhere"
    raw.mkdir()
    project.edit("data", "raw", value=str(raw))
    for out in (
        *PREPARED,
        "data/code/prepare.txt",
        "data/prepared/checked.txt",
        "plots/data/class_counts.csv",
    ):
        (project.path / out).parent.mkdir(parents=True, exist_ok=True)
        (project.path / out).touch()
    project.run("dvc", "commit", "--force", "prepare")
    assert "up to date" in project.run("dvc", "status", "prepare")
    (raw / "gzip.zip").write_bytes(b"repaired")
    assert re.search(rf"modified: +{raw}\n", project.run("dvc", "status", "prepare"))


PREPARED = [
    *(f"data/prepared/{name}.npz" for name in ("train", "test", "samples")),
    "data/classes.csv",
]
