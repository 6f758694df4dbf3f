import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ablation.data.characters import CLASSES, Characters, DataError


@pytest.fixture
def few() -> Characters:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 28, 28), dtype=np.uint8)
    return Characters(images, np.array([0, 1, 2, 1, 0], np.uint8), ("a", "b", "C"))


def write(path: Path, few: Characters, **changes: np.ndarray | None) -> Path:
    arrays = {"images": few.images, "labels": few.labels, "classes": np.array(few.classes)}
    kept = {key: array for key, array in (arrays | changes).items() if array is not None}
    np.savez(path, allow_pickle=True, **kept)
    return path


def test_the_47_classes_are_in_label_order() -> None:
    assert "".join(CLASSES) == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"


def test_load_reads_what_save_wrote(few: Characters, tmp_path: Path) -> None:
    few.save(tmp_path / "new" / "few.npz")
    again = Characters.load(tmp_path / "new" / "few.npz")
    assert np.array_equal(again.images, few.images)
    assert np.array_equal(again.labels, few.labels)
    assert again.classes == few.classes


def test_levels_are_kept_and_part_of_the_digest(few: Characters, tmp_path: Path) -> None:
    scaled = replace(few, levels=(0.0, 4095.0))
    scaled.save(tmp_path / "few.npz")
    assert Characters.load(tmp_path / "few.npz").levels == (0, 4095)
    assert scaled.digest() != few.digest()


def test_without_levels_the_file_and_the_digest_are_unchanged(
    few: Characters, tmp_path: Path
) -> None:
    few.save(tmp_path / "few.npz")
    with np.load(tmp_path / "few.npz") as archive:
        assert archive.files == ["images", "labels", "classes"]
    assert few.digest() == ("d5a7035e513c520c9724ffa12acf3f0fe4fd46c0b9314999347b21221fe9d573")


@pytest.mark.parametrize("levels", [[0.0], [5.0, 5.0], [0.0, np.nan], ["a", "b"]])
def test_invalid_levels_are_refused(levels: list[float], few: Characters, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"levels: .*, expected two numbers"):
        Characters.load(write(tmp_path / "few.npz", few, levels=np.array(levels)))


def test_the_deviation_is_of_all_pixels(few: Characters) -> None:
    assert few.deviation() == pytest.approx((few.images / 255).std())
    assert replace(few, images=few.images[:0], labels=few.labels[:0]).deviation() == 0


def test_counts_are_per_class(few: Characters) -> None:
    assert len(few) == 5
    assert few.counts().tolist() == [2, 2, 1]


def test_equal_characters_give_equal_bytes(few: Characters, tmp_path: Path) -> None:
    few.save(tmp_path / "one.npz")
    time.sleep(2.1)  # a zip archive counts time in steps of two seconds
    few.save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_a_failed_save_leaves_the_old_file_alone(few: Characters, tmp_path: Path) -> None:
    few.save(tmp_path / "few.npz")
    before = (tmp_path / "few.npz").read_bytes()
    unwritable = Characters(few.images, few.labels, [[1], [2, 3]])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inhomogeneous"):
        unwritable.save(tmp_path / "few.npz")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.npz: no such file .*dvc repro prepare"):
        Characters.load(tmp_path / "gone.npz")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"labels": None, "classes": None}, "missing classes, labels"),
        ({"images": np.zeros((5, 28, 28))}, r"images: \(5, 28, 28\) float64, expected \(n, 28, 28"),
        ({"images": np.zeros((5, 784), np.uint8)}, r"images: \(5, 784\) uint8"),
        ({"labels": np.zeros(4, np.uint8)}, r"labels: \(4,\) uint8, expected \(5,\) uint8"),
        ({"labels": np.full(5, 3, np.uint8)}, "label 3 found, but the file has 3 classes"),
        ({"classes": np.array(["a", "a", "b"])}, "classes: .* expected distinct"),
        ({"classes": np.array([{}, {}])}, "it is not a readable npz archive"),
    ],
)
def test_an_invalid_file_is_described(
    few: Characters, tmp_path: Path, changes: dict[str, np.ndarray | None], what: str
) -> None:
    path = write(tmp_path / "few.npz", few, **changes)
    with pytest.raises(DataError, match=f"few.npz: {what}"):
        Characters.load(path)


@pytest.mark.parametrize("size", [0, 10, 400])
def test_a_truncated_file_is_described(few: Characters, tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "few.npz", few)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"few\.npz: it is not a readable npz archive"):
        Characters.load(path)
