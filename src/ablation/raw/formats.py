"""Reading EMNIST's raw files, in every form people have them; `places.py` says where they lie.

Reading only: whether what was read is NIST's EMNIST is for `emnist.py` to say. Each form stores
the images transposed; what comes out of here is upright. No reader takes more than a partition
needs, whatever a file claims to hold, and none loads a pickle.
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

from ablation.data.characters import SIDE, DataError
from ablation.raw.locations import REMEDY, Place, entries, files, first, unreadable

ARCHIVE = "gzip.zip"
MOST_CHARACTERS = 700_000  # no partition has more; byclass-train has 697,932
MOST_OF_A_MAT = 700 * 2**20  # bytes; the largest, emnist-byclass.mat, has 611 MiB
MOST_ELEMENTS = 1000  # of a .mat; a matrix has 4 and NIST's files some 60
SECONDS_OF_A_MAT = 600
PIECE = 2**18
MAT_MATRIX, MAT_COMPRESSED = 14, 15
PIXELS = SIDE * SIDE
LONGEST_ROW = 2**14  # characters of a row; 784 pixels take 3,140, their names in a header 8,000
ROWS_AT_ONCE = 8192

# Names that look like EMNIST's, and why a file that has one is not used; the first that fits.
NOT_USED = {
    r"mapping\.txt$|readme|\.dvc$": None,  # no characters
    r"\.(pt|pth|pkl|pickle|joblib)$": "a pickle, which can run any program when it is read; "
    "put in the files that it was made from, torchvision's are in EMNIST/raw",
    r"\.(7z|rar|tar|tgz|bz2|xz|zst)$": "archives of this kind are not read; unpack it here",
    r"\.(part|partial|crdownload|download|aria2|tmp)$": "its download has not ended",
    r"\.zip$": "nothing that is missing is in it",
    r"emnist-.*(idx\d-ubyte|\.csv|\.mat)$": "it is of another partition than those that are needed",
    r"emnist|ubyte|\.(csv|mat|npz?|parquet|arff|h5|hdf5)$": "its name is none of those that are "
    "looked for, which are in data/raw/README.md",
}


@dataclass(frozen=True)
class Member:
    """One of NIST's files, as it was found.

    Attributes:
        source: the file it came from, for messages.
        array: (n, 28, 28) upright images or (n,) labels, uint8.
        packed_sha256: of NIST's gzip member; None where the form found is not packed.
        sha256: of the unpacked IDX file; in other forms, of the IDX file with the same content.
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


def whole_names(partition: str) -> dict[str, Callable[[Place, str, int], Partition]]:
    """Names of the files that hold images and labels of a partition, and what reads each."""
    return {
        f"emnist-{partition}.csv": read_csv,
        f"emnist-{partition.partition('-')[0]}.mat": read_mat,
    }


def find_partition(raw: Path, partition: str, most: int = MOST_CHARACTERS) -> Partition | None:
    """Read a partition from whichever form of it lies under a folder.

    Files come before what is in zip archives. NIST's members come before Kaggle's csv, and this
    before NIST's .mat, which has to be read whole.

    Args:
        raw: searched with its sub folders, three levels down, and with the zip archives there.
        partition: `balanced-train`, `bymerge-test`, ...
        most: characters; a file that states or holds more is refused.

    Returns:
        None if no form of it is complete.

    Raises:
        DataError: if a file that should hold it cannot be read.
    """
    near = files(raw)
    return _read_first(near, partition, most) or _read_first(
        [*near, *entries(near)], partition, most
    )


def passed_over(raw: Path, used: Iterable[Partition], needed: Iterable[str]) -> list[str]:
    """What lies under a folder, looks like EMNIST and is not used, each with the reason.

    Args:
        used: the partitions that were found.
        needed: the names of all partitions that are looked for.
    """
    sources = {member.source for each in used for member in (each.images, each.labels)}
    halves = [pair for name in needed for pair in permutations(member_names(name))]
    others = {half: f"without {other} it is of no use" for half, other in halves}
    return [
        f"{place} is not used: {reason}"
        for place in files(raw)
        if not any(source == str(place) or source.startswith(f"{place}: ") for source in sources)
        and (reason := others.get(place.name) or _why_not(place, raw))
    ]


def read_idx(
    file: IO[bytes], source: str, most: int = MOST_CHARACTERS, *, transposed: bool = True
) -> tuple[np.ndarray, str]:
    """Decode an IDX file of bytes; images come out upright.

    Args:
        file: a stream of the unpacked file.
        source: where it is from, for messages.
        most: characters; a file that states more is refused.
        transposed: whether it stores its images transposed, as NIST's files do.

    Returns:
        (n, 28, 28) or (n,) uint8, and the SHA-256 of the file.

    Raises:
        DataError: if the magic number, the shape or the length is not that of EMNIST's files.

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
    _check_number(shape[0], source, most)
    header = magic + sizes
    length = int(np.prod(shape))
    content = file.read(length + 1)
    if len(content) != length:
        more = " or more" if len(content) > length else ""
        raise DataError(
            f"{source}: {len(header) + len(content):,} bytes unpacked{more}, expected "
            f"{len(header) + length:,} for the shape {shape} that it states; {REMEDY}"
        )
    digest = hashlib.sha256(header)
    digest.update(content)
    array = np.frombuffer(content, np.uint8).reshape(shape)
    return _turned(array) if transposed else array, digest.hexdigest()


def to_idx(array: np.ndarray) -> bytes:
    """The IDX file that `read_idx` decodes to this array, transposed as NIST stores it."""
    return b"".join(_idx_pieces(array))


def read_csv(place: Place, _partition: str, most: int = MOST_CHARACTERS) -> Partition:
    """Read Kaggle's form: a row a character, its label and 784 transposed pixels.

    A header row, one that starts with a word, is passed over.

    Raises:
        DataError: naming the first row that is not 785 whole numbers in 0..255.
    """
    images, labels = [np.empty((0, SIDE, SIDE), np.uint8)], [np.empty(0, np.uint8)]
    number = 0
    with (
        place.unpacked() as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace") as text,
    ):
        rows = _rows(text, place)
        while lines := list(islice(rows, ROWS_AT_ONCE)):
            block = _parse(lines, place)
            number += len(block)
            _check_number(number, str(place), most)
            labels.append(block[:, 0])
            images.append(_turned(block[:, 1:].reshape(-1, SIDE, SIDE)))
    return _partition_of(place, np.concatenate(images), np.concatenate(labels))


def read_mat(place: Place, partition: str, most: int = MOST_CHARACTERS) -> Partition:
    """Read NIST's Matlab form: a struct `dataset` with the partitions `train` and `test`.

    scipy.io.loadmat knows no pickles, but a damaged file can crash it or state a table of 51 GB to
    it. So it works in a process of its own, which may take so much memory and no more.

    Raises:
        DataError: if it is not laid out so.
    """
    with place.unpacked() as file:
        _check_mat(file, place)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = multiprocessing.get_context("fork").Process(
            target=_load_mat, args=(place, partition.partition("-")[2], most, folder)
        )
        process.start()
        process.join(SECONDS_OF_A_MAT)
        process.kill()
        process.join()
        if (folder / "error").exists():
            raise DataError((folder / "error").read_text())
        if process.exitcode != 0:
            raise unreadable(place, RuntimeError("scipy did not get to its end"))
        images, labels = (
            np.load(folder / f"{what}.npy", allow_pickle=False) for what in ("images", "labels")
        )
    return _partition_of(place, _turned(images.reshape(-1, SIDE, SIDE)), labels.ravel())


def _load_mat(place: Place, part: str, most: int, folder: Path) -> None:
    """In a process of its own: write images and labels into the folder, or what is wrong."""
    try:
        from scipy.io import loadmat  # here: few need it

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (used + 2 * MOST_OF_A_MAT, hard))
        with place.unpacked() as file:
            found = loadmat(file)["dataset"][part][0, 0]
        for what, columns in (("images", PIXELS), ("labels", 1)):
            array = found[what][0, 0]
            if array.dtype.kind not in "uif" or array.shape != (len(array), columns):
                raise DataError(
                    f"{place}: {what}: {array.shape} {array.dtype}, expected (n, {columns}) "
                    f"numbers; {REMEDY}"
                )
            _check_number(len(array), str(place), most)
            _save_bytes(array, folder / f"{what}.npy", f"{place}: {what}")
    except Exception as error:  # what is no MAT-file makes scipy raise any kind
        plain = error if isinstance(error, DataError) else unreadable(place, error)
        (folder / "error").write_text(str(plain))


def _save_bytes(array: np.ndarray, path: Path, source: str) -> None:
    """Write numbers in 0..255 as bytes, piece by piece: a copy would take as much again."""
    header = {"descr": "|u1", "fortran_order": False, "shape": array.shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(array), ROWS_AT_ONCE):
            rows = array[start : start + ROWS_AT_ONCE]
            with np.errstate(invalid="ignore"):
                narrow = rows.astype(np.uint8, order="C")
            if not np.array_equal(rows, narrow):
                raise DataError(f"{source}: not all are whole numbers in 0..255; {REMEDY}")
            file.write(narrow.tobytes())


def _read_first(places: list[Place], partition: str, most: int) -> Partition | None:
    images, labels = (first(places, name) for name in member_names(partition))
    if images and labels:
        return Partition(_read_member(images, most), _read_member(labels, most))
    for name, read in whole_names(partition).items():
        if place := first(places, name):
            return read(place, partition, most)
    return None


def _why_not(place: Place, raw: Path) -> str | None:
    name = f"{'/'.join(place.path.relative_to(raw).parts[:-1])}/{place.name}".lower()
    return next((reason for pattern, reason in NOT_USED.items() if re.search(pattern, name)), None)


def _read_member(place: Place, most: int) -> Member:
    with place.unpacked() as file:
        array, sha256 = read_idx(file, str(place), most)
    if not place.is_packed():
        return Member(str(place), array, None, sha256)
    with place.stored() as file:
        packed = hashlib.sha256()
        while piece := file.read(PIECE):
            packed.update(piece)
    return Member(str(place), array, packed.hexdigest(), sha256)


def _check_number(characters: int, source: str, most: int) -> None:
    if characters > most:
        raise DataError(
            f"{source}: states {characters:,} characters, expected at most {most:,}; {REMEDY}"
        )


def _rows(text: io.TextIOWrapper, place: Place) -> Iterator[tuple[int, str]]:
    """The rows and their numbers, which start at 1, without the header and empty ones."""
    for number, row in enumerate(iter(lambda: text.readline(LONGEST_ROW), ""), start=1):
        if len(row) == LONGEST_ROW:
            raise _wrong_row(place, number, f"more than {LONGEST_ROW:,} characters long")
        is_header = number == 1 and re.match(r'["\s]*[A-Za-z]', row)
        if row.strip() and not is_header:
            yield number, row


def _parse(lines: list[tuple[int, str]], place: Place) -> np.ndarray:
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
            raise _wrong_row(place, number, f"{len(fields)} columns, expected {1 + PIXELS}")
        for column, field in enumerate(fields, start=1):
            if not re.fullmatch(r"\s*([01]?\d?\d|2[0-4]\d|25[0-5])\s*", field, re.ASCII):
                found = f"column {column} is {field.strip()[:20]!r}, expected 0 to 255"
                raise _wrong_row(place, number, found)
    raise _wrong_row(place, lines[0][0], "this or a later row is not of whole numbers")


def _wrong_row(place: Place, number: int, found: str) -> DataError:
    return DataError(
        f"{place}: row {number}: {found} (saved again by a spreadsheet, or cut short?); a row is "
        f"a label and {PIXELS} pixels; replace the file or delete it"
    )


def _check_mat(file: IO[bytes], place: Place) -> None:
    """Hold a MAT-file to its version, its size and its number of elements, piece by piece.

    scipy makes an object of each element, and a small file can unpack to 80 million empty ones.
    """
    header = file.read(128)
    if not header.startswith(b"MATLAB 5.0 MAT-file") or header[126:] != b"IM":
        raise DataError(
            f"{place}: starts with {header[:19].decode('ascii', 'replace')!r}, expected "
            f"'MATLAB 5.0 MAT-file'; {REMEDY}"
        )
    size = elements = skip = 0
    rest = b""
    for piece in _mat_pieces(file):
        rest += piece
        while len(rest) - skip >= 8:
            kind, length = struct.unpack_from("<II", rest, skip)
            rest = rest[skip + 8 :]
            holds_data = kind != MAT_MATRIX and kind < 2**16  # a small one's data are in its tag
            skip = -(-length // 8) * 8 if holds_data else 0
            size, elements = size + skip, elements + 1
            if (size, elements) != (min(size, MOST_OF_A_MAT), min(elements, MOST_ELEMENTS)):
                raise DataError(
                    f"{place}: states {size:,} bytes in {elements:,} elements, expected at most "
                    f"{MOST_OF_A_MAT:,} in {MOST_ELEMENTS:,}; {REMEDY}"
                )
        skipped = min(skip, len(rest))
        rest, skip = rest[skipped:], skip - skipped


def _mat_pieces(file: IO[bytes]) -> Iterator[bytes]:
    while len(tag := file.read(8)) == 8:
        kind, left = struct.unpack("<II", tag)
        inflate = zlib.decompressobj() if kind == MAT_COMPRESSED else None
        if inflate is None:
            yield tag
        while left > 0 and (piece := file.read(min(left, PIECE))):
            left -= len(piece)
            while inflate and piece:
                yield inflate.decompress(piece, PIECE)
                piece = inflate.unconsumed_tail
            yield piece


def _partition_of(place: Place, images: np.ndarray, labels: np.ndarray) -> Partition:
    digests = []
    for array in (images, labels):
        digest = hashlib.sha256()
        for piece in _idx_pieces(array):
            digest.update(piece)
        digests.append(digest.hexdigest())
    return Partition(
        Member(str(place), images, None, digests[0]), Member(str(place), labels, None, digests[1])
    )


def _idx_pieces(array: np.ndarray) -> Iterator[bytes]:
    yield struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    for start in range(0, len(array), ROWS_AT_ONCE):
        yield _turned(array[start : start + ROWS_AT_ONCE]).tobytes()


def _turned(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.swapaxes(1, 2) if array.ndim == 3 else array)
