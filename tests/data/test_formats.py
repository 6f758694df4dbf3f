import gzip
import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ablation.data.characters import DataError
from ablation.data.formats import find_partition, member_names, parse_idx, read_csv, to_idx

NAME = "bymerge-test"
IMAGES_NAME, LABELS_NAME = member_names(NAME)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 0, 46, 1, 1, 2], np.uint8)
CONTENTS = {IMAGES_NAME: to_idx(IMAGES), LABELS_NAME: to_idx(LABELS)}


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def write_members(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)


def write_packed(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENTS.items():
        (folder / f"{name}.gz").write_bytes(packed(content))


def write_archive(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "gzip.zip", "w") as archive:
        for name, content in CONTENTS.items():
            archive.writestr(f"gzip/{name}.gz", packed(content))


def write_csv(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.column_stack([LABELS, IMAGES.transpose(0, 2, 1).reshape(len(IMAGES), -1)])
    np.savetxt(folder / f"emnist-{NAME}.csv", rows, fmt="%d", delimiter=",")


@pytest.mark.parametrize("write", [write_members, write_packed, write_archive, write_csv])
@pytest.mark.parametrize("folder", [".", "gzip", "raw", "EMNIST/raw", "EMNIST/raw/gzip"])
def test_reads_every_form_in_every_folder(
    write: Callable[[Path], None], folder: str, tmp_path: Path
) -> None:
    write(tmp_path / folder)
    partition = find_partition(tmp_path, NAME)
    assert partition is not None
    assert np.array_equal(partition.images.array, IMAGES)
    assert np.array_equal(partition.labels.array, LABELS)
    assert partition.images.sha256 == hashlib.sha256(CONTENTS[IMAGES_NAME]).hexdigest()
    assert partition.labels.sha256 == hashlib.sha256(CONTENTS[LABELS_NAME]).hexdigest()


@pytest.mark.parametrize("write", [write_packed, write_archive])
def test_knows_the_checksum_of_a_packed_member(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    write(tmp_path)
    partition = find_partition(tmp_path, NAME)
    assert partition is not None
    expected = hashlib.sha256(packed(CONTENTS[IMAGES_NAME])).hexdigest()
    assert partition.images.packed_sha256 == expected


def test_images_come_out_upright() -> None:
    stored = np.zeros((1, 28, 28), np.uint8)
    stored[0, 3, 20] = 255  # NIST stores column 3, row 20
    content = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28]) + stored.tobytes()
    assert parse_idx(content, "x")[0, 20, 3] == 255


def test_follows_a_link_to_a_folder(tmp_path: Path) -> None:
    write_packed(tmp_path / "elsewhere")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "EMNIST").symlink_to(tmp_path / "elsewhere")
    assert find_partition(tmp_path / "raw", NAME) is not None


@pytest.mark.parametrize("name", [IMAGES_NAME, LABELS_NAME])
def test_half_a_partition_is_none(name: str, tmp_path: Path) -> None:
    write_members(tmp_path)
    (tmp_path / name).unlink()
    assert find_partition(tmp_path, NAME) is None


def test_no_folder_is_no_partition(tmp_path: Path) -> None:
    assert find_partition(tmp_path / "gone", NAME) is None


@pytest.mark.parametrize("size", [0, 3, 20, 500])
def test_a_cut_member_is_an_error(size: int, tmp_path: Path) -> None:
    write_packed(tmp_path)
    path = tmp_path / f"{IMAGES_NAME}.gz"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=rf"{path.name}.*expected|{path.name}, of {size} bytes, ca"):
        find_partition(tmp_path, NAME)


def test_a_member_with_a_flipped_bit_is_an_error(tmp_path: Path) -> None:
    write_packed(tmp_path)
    path = tmp_path / f"{IMAGES_NAME}.gz"
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"ubyte\.gz, of .* cannot be read .* replace it with NIST"):
        find_partition(tmp_path, NAME)


def test_a_cut_archive_is_an_error(tmp_path: Path) -> None:
    write_archive(tmp_path)
    path = tmp_path / "gzip.zip"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"gzip\.zip, of .* bytes, cannot be read"):
        find_partition(tmp_path, NAME)


def test_an_archive_without_the_member_is_an_error(tmp_path: Path) -> None:
    write_archive(tmp_path)
    with pytest.raises(DataError, match=r"gzip\.zip: has no emnist-byclass-test-images.*\.gz ins"):
        find_partition(tmp_path, "byclass-test")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", r"starts with the bytes \(none\), expected 00 00 08 01"),
        (b"<html>", "starts with the bytes 3c 68 74 6d, expected"),
        (bytes([0, 0, 8, 3, 0, 0]), "starts with the bytes 00 00 08 03, expected"),
        (to_idx(IMAGES)[:-1], r"4,719 bytes unpacked, expected 4,720 for the shape \(6, 28, 28"),
        (to_idx(LABELS) + b"\0", "15 bytes unpacked, expected 14"),
        (to_idx(IMAGES[:, :27]), r"images of \(27, 28\), expected \(28, 28\)"),
    ],
)
def test_what_is_no_idx_file_of_emnists_is_an_error(content: bytes, error: str) -> None:
    with pytest.raises(DataError, match=f"the file: {error}"):
        parse_idx(content, "the file")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda text: "", "No columns to parse.*expected a row of 785 numbers"),
        (lambda text: ",".join(map(str, range(785))) + "\n" + text, "rows 1 to 7: 0 to 784, exp"),
        (lambda text: "label," + text.partition(",")[2], "not all are whole numbers.*header row"),
        (lambda text: text.replace(",", ";"), "1 columns, expected 785"),
        (lambda text: text.replace(",", ",-", 1), "rows 1 to 6: -.* to .*, expected 0 to 255"),
        (lambda text: text.replace("\n", ",1\n"), "786 columns, expected 785"),
        (lambda text: text[:-40] + "\n", "not all are whole numbers"),
        (lambda text: text.replace("\n", ",1\n", 3).replace(",1\n", "\n", 1), "Expected 785 field"),
    ],
)
def test_what_is_not_kaggles_csv_is_an_error(
    change: Callable[[str], str], error: str, tmp_path: Path
) -> None:
    write_csv(tmp_path)
    path = tmp_path / f"emnist-{NAME}.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=rf"emnist-bymerge-test\.csv.*{error}"):
        read_csv(path)
