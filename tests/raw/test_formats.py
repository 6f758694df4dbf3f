import gzip
import hashlib
import io
import os
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from ablation.data.characters import DataError
from ablation.raw.formats import (
    explain_unused,
    find_partition,
    member_names,
    read_csv,
    read_idx,
    to_idx,
)
from ablation.raw.locations import Location

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
    (folder / f"emnist-{NAME}.csv").write_bytes(csv())


def write_mat(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "emnist-bymerge.mat").write_bytes(mat())


def rows_of(images: np.ndarray) -> np.ndarray:
    return images.transpose(0, 2, 1).reshape(len(images), -1)


def csv() -> bytes:
    file = io.BytesIO()
    rows = np.column_stack([LABELS, rows_of(IMAGES)])
    np.savetxt(file, rows, fmt="%d", delimiter=",")
    return file.getvalue()


def mat(images: object = None, labels: object = None) -> bytes:
    """A file like NIST's: a struct of structs, one row per image, pixels in Matlab's order."""
    test = {
        "images": rows_of(IMAGES) if images is None else images,
        "labels": LABELS[:, None] if labels is None else labels,
        "writers": np.arange(6.0)[:, None],
    }
    train = {"images": np.zeros((9, 784), np.uint8), "labels": np.zeros((9, 1), np.uint8)}
    dataset = {"train": train, "test": test, "mapping": np.arange(94.0).reshape(47, 2)}
    file = io.BytesIO()
    scipy.io.savemat(file, {"dataset": dataset}, do_compression=True)
    return file.getvalue()


def zipped(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    "write", [write_members, write_packed, write_archive, write_csv, write_mat]
)
@pytest.mark.parametrize("folder", [".", "gzip", "raw", "EMNIST/raw", "EMNIST/raw/gzip"])
def test_reads_every_format_in_every_folder(
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
def test_the_checksum_of_a_compressed_member_is_returned(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    write(tmp_path)
    partition = find_partition(tmp_path, NAME)
    assert partition is not None
    expected = hashlib.sha256(packed(CONTENTS[IMAGES_NAME])).hexdigest()
    assert partition.images.packed_sha256 == expected


def test_images_are_returned_upright() -> None:
    stored = np.zeros((1, 28, 28), np.uint8)
    stored[0, 3, 20] = 255  # NIST stores column 3, row 20
    content = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28]) + stored.tobytes()
    assert read_idx(io.BytesIO(content), "x")[0][0, 20, 3] == 255


def test_follows_a_link_to_a_folder(tmp_path: Path) -> None:
    write_packed(tmp_path / "elsewhere")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "EMNIST").symlink_to(tmp_path / "elsewhere")
    assert find_partition(tmp_path / "raw", NAME) is not None


@pytest.mark.parametrize("name", [IMAGES_NAME, LABELS_NAME])
def test_an_incomplete_partition_is_not_found(name: str, tmp_path: Path) -> None:
    write_members(tmp_path)
    (tmp_path / name).unlink()
    assert find_partition(tmp_path, NAME) is None


def test_in_a_missing_folder_no_partition_is_found(tmp_path: Path) -> None:
    assert find_partition(tmp_path / "gone", NAME) is None


@pytest.mark.parametrize("size", [0, 3, 20, 500])
def test_a_truncated_member_is_an_error(size: int, tmp_path: Path) -> None:
    write_packed(tmp_path)
    path = tmp_path / f"{IMAGES_NAME}.gz"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(
        DataError, match=rf"{path.name}.*expected|{path.name} \({size} bytes\) is trunc"
    ):
        find_partition(tmp_path, NAME)


def test_a_member_with_a_flipped_bit_is_an_error(tmp_path: Path) -> None:
    write_packed(tmp_path)
    path = tmp_path / f"{IMAGES_NAME}.gz"
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"ubyte\.gz \(.* bytes\) is truncated or corrupt \(CRC.*; replace"
    ):
        find_partition(tmp_path, NAME)


def test_a_truncated_archive_is_an_error(tmp_path: Path) -> None:
    write_archive(tmp_path)
    path = tmp_path / "gzip.zip"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"gzip\.zip \(.* bytes\) is truncated or corrupt"):
        find_partition(tmp_path, NAME)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", r"starts with the bytes \(none\), expected 00 00 08 01"),
        (b"<html>", "starts with the bytes 3c 68 74 6d, expected"),
        (bytes([0, 0, 8, 3, 0, 0]), "starts with the bytes 00 00 08 03, expected"),
        (to_idx(IMAGES)[:-1], r"4,719 bytes unpacked, expected 4,720 for its shape \(6, 28, 28"),
        (to_idx(LABELS) + b"\0\0", "15 bytes unpacked or more, expected 14"),
        (
            to_idx(LABELS)[:4] + b"\xff" * 4,
            "claims 4,294,967,295 characters, expected at most 700,000",
        ),
        (to_idx(IMAGES[:, :27]), r"images of \(27, 28\), expected \(28, 28\)"),
    ],
)
def test_an_invalid_idx_file_is_an_error(content: bytes, error: str) -> None:
    with pytest.raises(DataError, match=f"the file: {error}"):
        read_idx(io.BytesIO(content), "the file")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda text: text.replace(",", ";"), "row 1: 1 column, expected 785"),
        (lambda text: text.replace(",", ",-", 1), "row 1: column 2 is '-.*', expected 0 to 255"),
        (lambda text: text.replace(",", ",256,", 1), "row 1: 786 columns, expected 785"),
        (lambda text: text.replace("\n", ",1\n"), "row 1: 786 columns, expected 785"),
        (lambda text: text[:-40] + "\n", r"row 6: \d+ columns, expected 785"),
        (lambda text: text.replace("\n", ".0\n"), r"row 1: column 785 is '.*\.0', expected 0 to"),
        (lambda text: text + ",".join(map(str, range(785))), "row 7: column 257 is '256', expec"),
        (lambda text: text + "label,1x1", "row 7: 2 columns, expected 785"),
        (lambda text: text.replace("\n", ","), "row 1: more than 16,384 characters long"),
    ],
)
def test_an_invalid_csv_file_is_an_error(
    change: Callable[[str], str], error: str, tmp_path: Path
) -> None:
    path = tmp_path / f"emnist-{NAME}.csv"
    path.write_text(change(csv().decode()))
    with pytest.raises(DataError, match=rf"emnist-bymerge-test\.csv: {error}"):
        read_csv(Location(path), NAME)


@pytest.mark.parametrize("write", [write_members, write_csv, write_mat])
def test_more_characters_than_the_partition_has_are_refused(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    write(tmp_path)
    assert find_partition(tmp_path, NAME, limit=6)
    with pytest.raises(DataError, match="claims 6 characters, expected at most 5; replace it"):
        find_partition(tmp_path, NAME, limit=5)


def test_a_header_row_is_skipped_without_a_warning(tmp_path: Path) -> None:
    header = ",".join(["label", *(f"pixel{number}" for number in range(784))])
    (tmp_path / f"emnist-{NAME}.csv").write_bytes(f"\ufeff{header}\r\n".encode() + csv())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        partition = find_partition(tmp_path, NAME)
    assert partition is not None
    assert np.array_equal(partition.images.array, IMAGES)


GZIP = {f"gzip/{name}.gz": packed(content) for name, content in CONTENTS.items()}
UNPACKED = {f"emnist_source_files/{name}": content for name, content in CONTENTS.items()}


@pytest.mark.parametrize(
    "files",
    [
        {"emnist.zip": zipped(**GZIP)},  # of the package emnist
        {"gzip (1).zip": zipped(**GZIP)},  # a browser's
        {"gzip(1).ZIP": zipped(**GZIP)},
        {"gzip - Copy.zip": zipped(**GZIP)},
        {"my own.zip": zipped(**UNPACKED)},
        {"Windows'.zip": zipped(**{f"gzip\\{n}": content for n, content in CONTENTS.items()})},
        {"dot.zip": zipped(**{f"./gzip/{n}": content for n, content in CONTENTS.items()})},
        {"archive.zip": zipped(**{f"emnist-{NAME}.csv": csv()})},  # Kaggle's
        {f"emnist-{NAME}.csv.zip": zipped(**{f"emnist-{NAME}.csv": csv()})},
        {f"emnist-{NAME}.csv.gz": packed(csv())},
        {f"emnist-{NAME} (1).csv": csv()},
        {f"EMNIST-{NAME}.CSV": csv()},
        {f"emnist-{NAME} copy 2.csv": csv()},
        {name.replace("-idx", ".idx"): content for name, content in CONTENTS.items()},  # 7-Zip's
        {f"{name} (2).gz": packed(content) for name, content in CONTENTS.items()},
        {f"{name}.gz": content for name, content in CONTENTS.items()},  # a browser unpacked them
        {"matlab.zip": zipped(**{"matlab/emnist-bymerge.mat": mat()})},  # NIST's
        {f"{LABELS_NAME}": CONTENTS[LABELS_NAME], "x.zip": zipped(**GZIP)},
        {"__MACOSX.zip.txt": b"", "gzip.zip": zipped(**{"__MACOSX/gzip/._x": b""}, **GZIP)},
    ],
    ids=lambda files: next(iter(files)),
)
def test_reads_the_file_names_of_common_tools(files: dict[str, bytes], tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    partition = find_partition(tmp_path, NAME)
    assert partition is not None
    assert np.array_equal(partition.images.array, IMAGES)
    assert np.array_equal(partition.labels.array, LABELS)


def test_a_mat_of_doubles_is_read(tmp_path: Path) -> None:
    content = mat(rows_of(IMAGES).astype(float), LABELS[:, None].astype(float))
    (tmp_path / "emnist-bymerge.mat").write_bytes(content)
    partition = find_partition(tmp_path, NAME)
    assert partition is not None
    assert partition.images.sha256 == hashlib.sha256(CONTENTS[IMAGES_NAME]).hexdigest()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "starts with '', expected 'MATLAB 5.0 MAT-file'; replace it"),
        (b"MATLAB 7.3 MAT-file, HDF5" * 9, "starts with 'MATLAB 7.3 MAT-file', expected"),
        (mat()[:-100], r"\(.* bytes\) is truncated or corrupt \(could not read bytes\); replace"),
        (mat(images=np.zeros((6, 783))), r"images: \(6, 783\) float64, expected \(n, 784\)"),
        (mat(labels=np.full((6, 1), 0.5)), r"labels: not all are integers in 0\.\.255"),
        (mat(images={"a": 1}), r"images: .*, expected \(n, 784\) numbers"),
    ],
)
def test_an_invalid_mat_file_is_an_error(content: bytes, error: str, tmp_path: Path) -> None:
    (tmp_path / "emnist-bymerge.mat").write_bytes(content)
    with pytest.raises(DataError, match=rf"emnist-bymerge\.mat.*{error}"):
        find_partition(tmp_path, NAME)


def gzip_bomb(states: int) -> bytes:
    """A member that unpacks to 256 MB, whatever its header states."""
    pack = zlib.compressobj(9, wbits=31)
    zeros = bytes(2**24)
    header = to_idx(IMAGES)[:4] + struct.pack(">3I", states, 28, 28)
    return b"".join(
        [pack.compress(header), *(pack.compress(zeros) for _ in range(16)), pack.flush()]
    )


def csv_bomb() -> bytes:
    """One row of 256 MB."""
    pack = zlib.compressobj(9, wbits=31)
    ones = b"1," * 2**23
    return b"".join([*(pack.compress(ones) for _ in range(16)), pack.flush()])


def mat_bomb(inside: bytes, times: int) -> bytes:
    pack = zlib.compressobj(9)
    content = b"".join([*(pack.compress(inside) for _ in range(times)), pack.flush()])
    return mat()[:128] + struct.pack("<II", 15, len(content)) + content


def list_bomb() -> bytes:
    """A list of 30,000 empty files."""
    return zipped(**{f"{number}-{'x' * 40}": b"" for number in range(30_000)})


MATRIX, NUMBERS = struct.pack("<II", 14, 2**31), struct.pack("<II", 2, 2**31)
BOMBS = {
    "member.gz": (
        f"{IMAGES_NAME}.gz",
        lambda: gzip_bomb(6),
        "4,721 bytes unpacked or more, expected 4,720",
    ),
    "member.zip": (
        "gzip.zip",
        lambda: zipped(**{IMAGES_NAME: gzip_bomb(2**22)}),
        "claims 4,194,304",
    ),
    "csv.gz": (f"emnist-{NAME}.csv.gz", csv_bomb, "row 1: more than 16,384 characters"),
    "list.zip": ("gzip.zip", list_bomb, "has far more entries than EMNIST's archives"),
    "size.mat": (
        "emnist-bymerge.mat",
        lambda: mat_bomb(MATRIX + NUMBERS + bytes(2**24), 1),
        "claims 2,147,483,648 bytes in 2 elements",
    ),
    "elements.mat": (
        "emnist-bymerge.mat",
        lambda: mat_bomb(struct.pack("<II", 14, 0) * 2**20, 8),
        "claims 0 bytes in 1,001 elements, expected at most 734,003,200 in 1,000",
    ),
}
READ = """
import sys
from pathlib import Path
from ablation.raw.formats import find_partition
def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
before = peak()
try:
    find_partition(Path(sys.argv[1]), "bymerge-test")
except ValueError as error:
    print(error)
print(peak() - before)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_decompression_bomb_is_refused_in_little_memory(name: str, tmp_path: Path) -> None:
    file, make, error = BOMBS[name]
    (tmp_path / file).write_bytes(make())
    (tmp_path / LABELS_NAME).write_bytes(CONTENTS[LABELS_NAME])
    command = [sys.executable, "-c", READ, str(tmp_path)]
    printed = subprocess.check_output(command, text=True, env=os.environ | {"PYTHONPATH": SOURCE})
    message, kilobytes = printed.splitlines()
    assert f"{tmp_path / file}" in message
    assert error in message
    assert int(kilobytes) < 100_000


SOURCE = str(Path(__file__).parents[2] / "src")


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.sprung),)


@pytest.mark.parametrize(
    "name",
    [
        "training_balanced.pt",
        f"emnist-{NAME}.pkl",
        f"emnist-{NAME}.csv",
        f"emnist-{NAME}.csv.gz",
        "emnist-bymerge.mat",
        IMAGES_NAME,
        "gzip.zip",
    ],
)
def test_a_pickle_is_never_loaded_whatever_its_name(name: str, tmp_path: Path) -> None:
    import pickle

    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    (raw / LABELS_NAME).write_bytes(CONTENTS[LABELS_NAME])
    try:
        assert find_partition(raw, NAME) is None
    except DataError as error:
        assert name in str(error)
    assert not (tmp_path / "sprung").exists()


def test_an_object_in_a_mat_file_is_not_unpickled(tmp_path: Path) -> None:
    cell = np.empty((6, 1), object)
    cell[:] = "text"
    (tmp_path / "emnist-bymerge.mat").write_bytes(mat(labels=cell))
    with pytest.raises(DataError, match=r"labels: \(6, 1\) object, expected \(n, 1\) numbers"):
        find_partition(tmp_path, NAME)


def test_an_archive_writes_no_file_whatever_its_names(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    up = {f"../{name}": content for name, content in CONTENTS.items()}
    (raw / "climbs.zip").write_bytes(zipped(**up))
    assert find_partition(raw, NAME) is None
    (raw / "climbs.zip").unlink()
    root = {f"{tmp_path}/{name}": content for name, content in CONTENTS.items()}
    (raw / "gzip.zip").write_bytes(zipped(**root))
    assert find_partition(raw, NAME) is not None
    assert [path.name for path in tmp_path.rglob("*")] == ["raw", "gzip.zip"]


def test_unused_files_that_look_like_emnist_are_named_with_the_reason(tmp_path: Path) -> None:
    for name in (
        "EMNIST/processed/test_balanced.pt",
        "emnist.7z",
        "gzip.zip.crdownload",
        "emnist-letters-test.csv",
        "some emnist.txt",
        "emnist-bymerge-mapping.txt",
        "README.md",
        "holiday.jpg",
        IMAGES_NAME,
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "other.zip").write_bytes(zipped(**{"emnist-letters.mat": b""}))
    lines = explain_unused(tmp_path, [], [NAME, "byclass-test"])
    found = dict(line.removeprefix(f"{tmp_path}/").split(" is not used: ") for line in lines)
    reasons = {
        "EMNIST/processed/test_balanced.pt": "a pickle can run arbitrary code when loaded; add the",
        "emnist.7z": "unsupported archive format; unpack it here",
        "gzip.zip.crdownload": "an incomplete download",
        "emnist-letters-test.csv": "it belongs to a partition that is not needed",
        "some emnist.txt": "unknown file name",
        "other.zip": "it contains none of the missing files",
        IMAGES_NAME: f"it is unusable without {LABELS_NAME}",
    }
    assert found.keys() == reasons.keys()
    assert all(found[name].startswith(reason) for name, reason in reasons.items())


def test_used_files_are_not_named(tmp_path: Path) -> None:
    (tmp_path / "archive.zip").write_bytes(zipped(**GZIP))
    partition = find_partition(tmp_path, NAME)
    assert partition is not None
    assert explain_unused(tmp_path, [partition], [NAME]) == []


def test_control_characters_in_an_archive_do_not_reach_the_terminal(tmp_path: Path) -> None:
    names = {f"\x1b[2J\n{'x' * 999}/{name}": b"" for name in CONTENTS}
    (tmp_path / "gzip.zip").write_bytes(zipped(**names))
    with pytest.raises(DataError, match=r"gzip\.zip: \?\[2J\?xxx") as caught:
        find_partition(tmp_path, NAME)
    assert len(str(caught.value)) < 1000
