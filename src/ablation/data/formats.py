"""Finding and reading EMNIST's raw files, in every form people have them.

Reading only: whether what was read is NIST's EMNIST is for `emnist.py` to say. Each form stores
the images transposed; what comes out of here is upright.
"""

import gzip
import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ablation.data.characters import SIDE, DataError

ARCHIVE = "gzip.zip"
FOLDERS_DOWN = 3  # raw/, raw/gzip/, raw/EMNIST/raw/, raw/EMNIST/raw/gzip/
REMEDY = "replace it with NIST's own, or delete it to have it downloaded"
_UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Member:
    """One of NIST's files, as it was found.

    Attributes:
        source: the file it came from, for messages.
        array: (n, 28, 28) upright images or (n,) labels, uint8.
        packed_sha256: of NIST's gzip member; None where the form found is not packed.
        sha256: of the unpacked IDX file; for Kaggle's csv, of the IDX file with the same content.
    """

    source: str
    array: np.ndarray
    packed_sha256: str | None
    sha256: str


@dataclass(frozen=True)
class Partition:
    """The images and labels of one of EMNIST's partitions, `bymerge-test` for instance."""

    images: Member
    labels: Member


def member_names(partition: str) -> tuple[str, str]:
    """Names of the unpacked images and labels of a partition."""
    return f"emnist-{partition}-images-idx3-ubyte", f"emnist-{partition}-labels-idx1-ubyte"


def find_partition(raw: Path, partition: str) -> Partition | None:
    """Read a partition from whichever form of it lies under a folder.

    Unpacked members come before `.gz` members, these before the zip archive, and Kaggle's csv last.

    Args:
        raw: searched with its sub folders, three levels down.
        partition: `balanced-train`, `bymerge-test`, ...

    Returns:
        None if no form of it is complete.

    Raises:
        DataError: if a file that should hold it cannot be read.
    """
    images, labels = (_find_member(raw, name) for name in member_names(partition))
    if images and labels:
        return Partition(images, labels)
    for path in _search(raw, f"emnist-{partition}.csv"):
        return read_csv(path)
    return None


def parse_idx(content: bytes, source: str) -> np.ndarray:
    """Decode an IDX file of bytes; images come out upright.

    Args:
        content: the unpacked file.
        source: where it is from, for messages.

    Returns:
        (n, 28, 28) or (n,) uint8.

    Raises:
        DataError: if the magic number, the shape or the length is not that of EMNIST's files.

    Source:
        The IDX format, http://yann.lecun.com/exdb/mnist/.
    """
    dimensions = {b"\0\0\x08\x01": 1, b"\0\0\x08\x03": 3}.get(content[:4])
    header = 4 + 4 * (dimensions or 0)
    if dimensions is None or len(content) < header:
        raise DataError(
            f"{source}: starts with the bytes {content[:4].hex(' ') or '(none)'}, expected "
            f"00 00 08 01 (labels) or 00 00 08 03 (images), then the shape; {REMEDY}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if shape[1:] not in ((), (SIDE, SIDE)):
        raise DataError(f"{source}: images of {shape[1:]}, expected {(SIDE, SIDE)}; {REMEDY}")
    expected = header + int(np.prod(shape, dtype=np.int64))
    if len(content) != expected:
        raise DataError(
            f"{source}: {len(content):,} bytes unpacked, expected {expected:,} for the "
            f"shape {shape} that it states; {REMEDY}"
        )
    return _turned(np.frombuffer(content, np.uint8, offset=header).reshape(shape))


def to_idx(array: np.ndarray) -> bytes:
    """The IDX file that `parse_idx` decodes to this array, transposed as NIST stores it."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + _turned(array).tobytes()


def read_csv(path: Path) -> Partition:
    """Read Kaggle's form: no header, a row a character, its label and 784 transposed pixels.

    Raises:
        DataError: if a row is not 785 whole numbers in 0..255.
    """
    try:
        with pd.read_csv(path, header=None, chunksize=8192) as chunks:
            rows = np.concatenate([_csv_rows(path, chunk) for chunk in chunks])
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: {error}, expected a row of {1 + SIDE * SIDE} numbers for every character; "
            "replace the file or delete it"
        ) from error
    except OSError as error:
        raise _unreadable(str(path), error) from error
    labels = np.ascontiguousarray(rows[:, 0])
    images = _turned(rows[:, 1:].reshape(-1, SIDE, SIDE))
    return Partition(_csv_member(path, images), _csv_member(path, labels))


def _search(raw: Path, name: str) -> Iterator[Path]:
    for depth in range(FOLDERS_DOWN + 1):  # not `**`, which does not follow links to folders
        yield from sorted(path for path in raw.glob("*/" * depth + name) if path.is_file())


def _find_member(raw: Path, name: str) -> Member | None:
    for path in _search(raw, name):
        return _unpacked(path)
    for path in _search(raw, name + ".gz"):
        return _packed(_contents(path), str(path))
    for path in _search(raw, ARCHIVE):
        return _archived(path, name + ".gz")
    return None


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(str(path), error) from error


def _unpacked(path: Path) -> Member:
    content = _contents(path)
    return Member(str(path), parse_idx(content, str(path)), None, _sha256(content))


def _packed(packed: bytes, source: str) -> Member:
    try:
        content = gzip.decompress(packed)
    except _UNREADABLE as error:
        raise _unreadable(f"{source}, of {len(packed):,} bytes,", error) from error
    return Member(source, parse_idx(content, source), _sha256(packed), _sha256(content))


def _archived(path: Path, name: str) -> Member:
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [entry for entry in archive.namelist() if Path(entry).name == name]
            if not inside:
                raise DataError(f"{path}: has no {name} inside; {REMEDY}")
            return _packed(archive.read(inside[0]), f"{path}: {inside[0]}")
    except _UNREADABLE as error:
        raise _unreadable(f"{path}, of {path.stat().st_size:,} bytes,", error) from error


def _csv_rows(path: Path, chunk: pd.DataFrame) -> np.ndarray:
    first = chunk.index[0] + 1
    where = f"{path}: rows {first} to {first + len(chunk) - 1}"
    hint = "a csv with a header row, or saved again by a spreadsheet? Replace the file or delete it"
    if chunk.shape[1] != 1 + SIDE * SIDE:
        raise DataError(f"{where}: {chunk.shape[1]} columns, expected {1 + SIDE * SIDE} ({hint})")
    if not all(kind.kind in "iu" for kind in chunk.dtypes):
        raise DataError(f"{where}: not all are whole numbers, as the format has them ({hint})")
    values = chunk.to_numpy()
    if values.min() < 0 or values.max() > 255:
        raise DataError(f"{where}: {values.min()} to {values.max()}, expected 0 to 255 ({hint})")
    narrow: np.ndarray = values.astype(np.uint8)
    return narrow


def _csv_member(path: Path, array: np.ndarray) -> Member:
    return Member(str(path), array, None, _sha256(to_idx(array)))


def _turned(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.swapaxes(1, 2) if array.ndim == 3 else array)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _unreadable(source: str, error: Exception) -> DataError:
    return DataError(f"{source} cannot be read ({error}), it is cut short or damaged; {REMEDY}")
