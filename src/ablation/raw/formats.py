"""Reads EMNIST's raw files in all common formats; `locations.py` finds them.

Verifying that the content is NIST's is left to `emnist.py`. All formats store transposed images;
the readers return them upright. Readers bound their memory use whatever a file claims to contain,
and never load a pickle.
"""

import hashlib
import io
import multiprocessing
import re
import resource
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, permutations
from pathlib import Path
from typing import IO

import numpy as np

from ablation.base.formatting import counted
from ablation.data.characters import SIDE, DataError
from ablation.raw.locations import REMEDY, Location, entries, files, first, unreadable

ARCHIVE = "gzip.zip"
MAX_CHARACTERS = 700_000  # per partition; byclass-train has 697,932
MAX_MAT_BYTES = 700 * 2**20  # the largest, emnist-byclass.mat, has 611 MiB
MAX_MAT_ELEMENTS = 1000  # a matrix has 4, NIST's files about 60
MAT_TIMEOUT_SECONDS = 600
CHUNK = 2**18  # bytes
MAT_MATRIX, MAT_COMPRESSED = 14, 15
PIXELS = SIDE * SIDE
MAX_ROW = 2**14  # characters; 784 pixels take 3,140, their names in a header 8,000
ROWS_AT_ONCE = 8192

# Patterns of names that look like EMNIST's, and why such files are not used; the first match wins.
NOT_USED = {
    r"mapping\.txt$|readme|\.dvc$": None,  # no characters
    r"\.(pt|pth|pkl|pickle|joblib)$": "a pickle can run arbitrary code when loaded; "
    "add the files it was made from (torchvision's are in EMNIST/raw)",
    r"\.(7z|rar|tar|tgz|bz2|xz|zst)$": "unsupported archive format; unpack it here",
    r"\.(part|partial|crdownload|download|aria2|tmp)$": "an incomplete download",
    r"\.zip$": "it contains none of the missing files",
    r"emnist-.*(idx\d-ubyte|\.csv|\.mat)$": "it belongs to a partition that is not needed",
    r"emnist|ubyte|\.(csv|mat|npz?|parquet|arff|h5|hdf5)$": "unknown file name; data/raw/README.md "
    "lists the names that are read",
}


@dataclass(frozen=True)
class Member:
    """The content of one of NIST's files.

    Attributes:
        source: the file that was read, for messages.
        array: (n, 28, 28) upright images or (n,) labels, uint8.
        packed_sha256: of NIST's gzip member; None if the file is not compressed.
        sha256: of the unpacked IDX file; for other formats, of the equivalent IDX file.
    """

    source: str
    array: np.ndarray
    packed_sha256: str | None
    sha256: str


@dataclass(frozen=True)
class Partition:
    """The images and labels of one of EMNIST's partitions, such as `bymerge-test`."""

    images: Member
    labels: Member


def member_names(partition: str) -> tuple[str, str]:
    """File names of a partition's unpacked images and labels."""
    return f"emnist-{partition}-images-idx3-ubyte", f"emnist-{partition}-labels-idx1-ubyte"


def combined_names(partition: str) -> dict[str, Callable[[Location, str, int], Partition]]:
    """Names of files that hold both images and labels of a partition, and their readers."""
    return {
        f"emnist-{partition}.csv": read_csv,
        f"emnist-{partition.partition('-')[0]}.mat": read_mat,
    }


def find_partition(raw: Path, partition: str, limit: int = MAX_CHARACTERS) -> Partition | None:
    """Read a partition from any supported format found under a folder.

    Files take precedence over entries of zip archives, NIST's members over Kaggle's csv, and csv
    over NIST's .mat, which has to be read whole.

    Args:
        raw: searched up to three levels deep, including zip archives.
        partition: `balanced-train`, `bymerge-test`, ...
        limit: number of characters; a file that claims or holds more is refused.

    Returns:
        The partition, or None if no complete copy is found.

    Raises:
        DataError: a file with its name cannot be read.
    """
    near = files(raw)
    return _read_first(near, partition, limit) or _read_first(
        [*near, *entries(near)], partition, limit
    )


def explain_unused(raw: Path, used: Iterable[Partition], needed: Iterable[str]) -> list[str]:
    """List the files under a folder that look like EMNIST but are not used, with the reasons.

    Args:
        used: the partitions that were found.
        needed: the names of all partitions that are needed.
    """
    sources = {member.source for each in used for member in (each.images, each.labels)}
    halves = [pair for name in needed for pair in permutations(member_names(name))]
    others = {half: f"it is unusable without {other}" for half, other in halves}
    return [
        f"{location} is not used: {reason}"
        for location in files(raw)
        if not any(
            source == str(location) or source.startswith(f"{location}: ") for source in sources
        )
        and (reason := others.get(location.name) or _reason_unused(location, raw))
    ]


def read_idx(
    file: IO[bytes], source: str, limit: int = MAX_CHARACTERS, *, transposed: bool = True
) -> tuple[np.ndarray, str]:
    """Decode an IDX file of unsigned bytes into upright images or labels.

    Args:
        file: a stream of the unpacked file.
        source: its name, for messages.
        limit: number of characters; a file that claims more is refused.
        transposed: whether the images are stored transposed, as in NIST's files.

    Returns:
        (n, 28, 28) or (n,) uint8, and the SHA-256 of the file.

    Raises:
        DataError: the magic number, shape or length is not that of an EMNIST file.

    Source:
        The IDX format, http://yann.lecun.com/exdb/mnist/.
    """
    magic = file.read(4)
    dimensions = {b"\0\0\x08\x01": 1, b"\0\0\x08\x03": 3}.get(magic, 0)
    sizes = file.read(4 * dimensions)
    if dimensions == 0 or len(sizes) < 4 * dimensions:
        raise DataError(
            f"{source}: starts with the bytes {magic.hex(' ') or '(none)'}, expected "
            f"00 00 08 01 (labels) or 00 00 08 03 (images), then the shape; {REMEDY}"
        )
    shape = struct.unpack(f">{dimensions}I", sizes)
    if shape[1:] not in ((), (SIDE, SIDE)):
        raise DataError(f"{source}: images of {shape[1:]}, expected {(SIDE, SIDE)}; {REMEDY}")
    _check_count(shape[0], source, limit)
    header = magic + sizes
    length = int(np.prod(shape))
    content = file.read(length + 1)
    if len(content) != length:
        more = " or more" if len(content) > length else ""
        raise DataError(
            f"{source}: {counted(len(header) + len(content), 'byte')} unpacked{more}, expected "
            f"{len(header) + length:,} for its shape {shape}; {REMEDY}"
        )
    digest = hashlib.sha256(header)
    digest.update(content)
    array = np.frombuffer(content, np.uint8).reshape(shape)
    return _transposed(array) if transposed else array, digest.hexdigest()


def to_idx(array: np.ndarray) -> bytes:
    """Encode an array as an IDX file with transposed images, as NIST stores them."""
    return b"".join(_idx_chunks(array))


def read_csv(location: Location, _partition: str, limit: int = MAX_CHARACTERS) -> Partition:
    """Read Kaggle's format: one row per character, its label and 784 transposed pixels.

    A header row, one that starts with a letter, is skipped.

    Raises:
        DataError: names the first row that is not 785 integers in 0..255.
    """
    images, labels = [np.empty((0, SIDE, SIDE), np.uint8)], [np.empty(0, np.uint8)]
    number = 0
    with (
        location.unpacked() as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace") as text,
    ):
        rows = _rows(text, location)
        while lines := list(islice(rows, ROWS_AT_ONCE)):
            block = _parse(lines, location)
            number += len(block)
            _check_count(number, str(location), limit)
            labels.append(block[:, 0])
            images.append(_transposed(block[:, 1:].reshape(-1, SIDE, SIDE)))
    return _partition_of(location, np.concatenate(images), np.concatenate(labels))


def read_mat(location: Location, partition: str, limit: int = MAX_CHARACTERS) -> Partition:
    """Read NIST's Matlab format: a struct `dataset` with the partitions `train` and `test`.

    scipy.io.loadmat loads no pickles, but a corrupt file can crash it or make it allocate 51 GB.
    It therefore runs in a child process with limited memory.

    Raises:
        DataError: the file does not have this structure.
    """
    with location.unpacked() as file:
        _check_mat(file, location)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = multiprocessing.get_context("fork").Process(
            target=_load_mat, args=(location, partition.partition("-")[2], limit, folder)
        )
        process.start()
        process.join(MAT_TIMEOUT_SECONDS)
        process.kill()
        process.join()
        if (folder / "error").exists():
            raise DataError((folder / "error").read_text())
        if process.exitcode != 0:
            raise unreadable(location, RuntimeError("scipy crashed or timed out"))
        images, labels = (
            np.load(folder / f"{what}.npy", allow_pickle=False) for what in ("images", "labels")
        )
    return _partition_of(location, _transposed(images.reshape(-1, SIDE, SIDE)), labels.ravel())


def _load_mat(location: Location, part: str, limit: int, folder: Path) -> None:
    """In the child process: write images and labels, or an error message, into the folder."""
    try:
        from scipy.io import loadmat  # imported on use, because it is rarely needed

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (used + 2 * MAX_MAT_BYTES, hard))
        with location.unpacked() as file:
            found = loadmat(file)["dataset"][part][0, 0]
        for what, columns in (("images", PIXELS), ("labels", 1)):
            array = found[what][0, 0]
            if array.dtype.kind not in "uif" or array.shape != (len(array), columns):
                raise DataError(
                    f"{location}: {what}: {array.shape} {array.dtype}, expected (n, {columns}) "
                    f"numbers; {REMEDY}"
                )
            _check_count(len(array), str(location), limit)
            _save_bytes(array, folder / f"{what}.npy", f"{location}: {what}")
    except Exception as error:  # scipy raises any type of error for an invalid file
        plain = error if isinstance(error, DataError) else unreadable(location, error)
        (folder / "error").write_text(str(plain))


def _save_bytes(array: np.ndarray, path: Path, source: str) -> None:
    """Write numbers in 0..255 as bytes, in blocks: a copy would double the memory used."""
    header = {"descr": "|u1", "fortran_order": False, "shape": array.shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(array), ROWS_AT_ONCE):
            rows = array[start : start + ROWS_AT_ONCE]
            with np.errstate(invalid="ignore"):
                narrow = rows.astype(np.uint8, order="C")
            if not np.array_equal(rows, narrow):
                raise DataError(f"{source}: not all are integers in 0..255; {REMEDY}")
            file.write(narrow.tobytes())


def _read_first(locations: list[Location], partition: str, limit: int) -> Partition | None:
    images, labels = (first(locations, name) for name in member_names(partition))
    if images and labels:
        return Partition(_read_member(images, limit), _read_member(labels, limit))
    for name, read in combined_names(partition).items():
        if location := first(locations, name):
            return read(location, partition, limit)
    return None


def _reason_unused(location: Location, raw: Path) -> str | None:
    name = f"{'/'.join(location.path.relative_to(raw).parts[:-1])}/{location.name}".lower()
    return next((reason for pattern, reason in NOT_USED.items() if re.search(pattern, name)), None)


def _read_member(location: Location, limit: int) -> Member:
    with location.unpacked() as file:
        array, sha256 = read_idx(file, str(location), limit)
    if not location.is_packed():
        return Member(str(location), array, None, sha256)
    with location.stored() as file:
        packed = hashlib.sha256()
        while chunk := file.read(CHUNK):
            packed.update(chunk)
    return Member(str(location), array, packed.hexdigest(), sha256)


def _check_count(characters: int, source: str, limit: int) -> None:
    if characters > limit:
        raise DataError(
            f"{source}: claims {counted(characters, 'character')}, expected at most "
            f"{limit:,}; {REMEDY}"
        )


def _rows(text: io.TextIOWrapper, location: Location) -> Iterator[tuple[int, str]]:
    """The rows with their 1-based numbers, without the header and empty rows."""
    for number, row in enumerate(iter(lambda: text.readline(MAX_ROW), ""), start=1):
        if len(row) == MAX_ROW:
            raise _wrong_row(location, number, f"more than {MAX_ROW:,} characters long")
        is_header = number == 1 and re.match(r'["\s]*[A-Za-z]', row)
        if row.strip() and not is_header:
            yield number, row


def _parse(lines: list[tuple[int, str]], location: Location) -> np.ndarray:
    try:
        rows = [row for _, row in lines]
        block = np.loadtxt(rows, np.uint8, delimiter=",", comments=None, ndmin=2)
    except ValueError:
        block = np.empty((0, 0), np.uint8)
    if block.shape == (len(lines), 1 + PIXELS):
        return block
    for number, row in lines:
        fields = row.split(",")
        if len(fields) != 1 + PIXELS:
            raise _wrong_row(
                location, number, f"{counted(len(fields), 'column')}, expected {1 + PIXELS}"
            )
        for column, field in enumerate(fields, start=1):
            if not re.fullmatch(r"\s*([01]?\d?\d|2[0-4]\d|25[0-5])\s*", field, re.ASCII):
                found = f"column {column} is {field.strip()[:20]!r}, expected 0 to 255"
                raise _wrong_row(location, number, found)
    raise _wrong_row(location, lines[0][0], "this or a later row has values that are not integers")


def _wrong_row(location: Location, number: int, found: str) -> DataError:
    return DataError(
        f"{location}: row {number}: {found} (saved by a spreadsheet, or truncated?); a row has "
        f"a label and {PIXELS} pixels; replace or delete the file"
    )


def _check_mat(file: IO[bytes], location: Location) -> None:
    """Check a MAT-file's version, size and number of elements while streaming it.

    scipy creates an object per element, and a small file can unpack to 80 million empty ones.
    """
    header = file.read(128)
    if not header.startswith(b"MATLAB 5.0 MAT-file") or header[126:] != b"IM":
        raise DataError(
            f"{location}: starts with {header[:19].decode('ascii', 'replace')!r}, expected "
            f"'MATLAB 5.0 MAT-file'; {REMEDY}"
        )
    size = elements = skip = 0
    rest = b""
    for chunk in _mat_chunks(file):
        rest += chunk
        while len(rest) - skip >= 8:
            kind, length = struct.unpack_from("<II", rest, skip)
            rest = rest[skip + 8 :]
            holds_data = kind != MAT_MATRIX and kind < 2**16  # small elements keep data in the tag
            skip = -(-length // 8) * 8 if holds_data else 0
            size, elements = size + skip, elements + 1
            if size > MAX_MAT_BYTES or elements > MAX_MAT_ELEMENTS:
                raise DataError(
                    f"{location}: claims {size:,} bytes in {counted(elements, 'element')}, "
                    f"expected at most {MAX_MAT_BYTES:,} in {MAX_MAT_ELEMENTS:,}; {REMEDY}"
                )
        skipped = min(skip, len(rest))
        rest, skip = rest[skipped:], skip - skipped


def _mat_chunks(file: IO[bytes]) -> Iterator[bytes]:
    while len(tag := file.read(8)) == 8:
        kind, left = struct.unpack("<II", tag)
        inflate = zlib.decompressobj() if kind == MAT_COMPRESSED else None
        if inflate is None:
            yield tag
        while left > 0 and (chunk := file.read(min(left, CHUNK))):
            left -= len(chunk)
            while inflate and chunk:
                yield inflate.decompress(chunk, CHUNK)
                chunk = inflate.unconsumed_tail
            yield chunk


def _partition_of(location: Location, images: np.ndarray, labels: np.ndarray) -> Partition:
    digests = []
    for array in (images, labels):
        digest = hashlib.sha256()
        for chunk in _idx_chunks(array):
            digest.update(chunk)
        digests.append(digest.hexdigest())
    return Partition(
        Member(str(location), images, None, digests[0]),
        Member(str(location), labels, None, digests[1]),
    )


def _idx_chunks(array: np.ndarray) -> Iterator[bytes]:
    yield struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    for start in range(0, len(array), ROWS_AT_ONCE):
        yield _transposed(array[start : start + ROWS_AT_ONCE]).tobytes()


def _transposed(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.swapaxes(1, 2) if array.ndim == 3 else array)
