"""Finds raw files in folders and zip archives, under the names that common tools give them.

Names only select candidates; compression is detected from a file's first bytes. Archives are
never extracted to disk, so none can write outside its folder.
"""

import gzip
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from ablation.base.errors import LFS_POINTER, NOT_FETCHED
from ablation.base.formatting import counted
from ablation.base.text import printable
from ablation.data.characters import DataError

MAX_DEPTH = 3  # raw/, raw/gzip/, raw/EMNIST/raw/, raw/EMNIST/raw/gzip/
REMEDY = "replace it with the original or remove it; missing files are downloaded"
UNFINISHED = ".unfinished"
MAX_DIRECTORY = 2**20  # bytes of a zip archive's central directory; NIST's has 3 KB
MAX_SHOWN = 300  # characters

# `gzip (1).zip`, `gzip(1).zip`, `gzip - Copy.zip`, `gzip copy 2.zip`
_COPY = re.compile(r" ?\(\d+\)| - copy| copy( \d+)?(?=\.|$)")
_GZIP = b"\x1f\x8b"
_ZIP_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


@dataclass(frozen=True)
class Location:
    """A file, or an entry of a zip archive.

    Attributes:
        path: of the file or the archive.
        entry: name within the archive, never used as a path; None for a file.
    """

    path: Path
    entry: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.entry is None else f"{self.path}: {_shown(self.entry)}"

    @property
    def name(self) -> str:
        """The name that NIST or Kaggle gave it: lower case, without `.gz` and copy suffixes."""
        last = _parts(self.entry or self.path.name)[-1].lower()
        return _COPY.sub("", last).removesuffix(".gz").replace(".idx", "-idx")

    @contextmanager
    def stored(self) -> Iterator[IO[bytes]]:
        """Open the stored bytes.

        Raises:
            DataError: they cannot be read.
        """
        with _plain(self), ExitStack() as stack:
            if self.entry is None:
                yield _fetched(stack.enter_context(self.path.open("rb")), self.path)
                return
            archive = stack.enter_context(_archive(self.path))
            information = archive.getinfo(self.entry)
            if information.compress_type not in _ZIP_METHODS:
                raise DataError(f"{self}: unsupported compression method; unpack {self.path}")
            with archive.open(information) as file:
                yield file

    @contextmanager
    def unpacked(self) -> Iterator[IO[bytes]]:
        """Open the bytes, decompressing gzip as a stream, which is safe for zip bombs.

        Raises:
            DataError: they cannot be read.
        """
        packed = self.is_packed()
        with self.stored() as file, _plain(self):
            yield cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file

    def is_packed(self) -> bool:
        """Whether the content is gzip-compressed, regardless of the name."""
        with self.stored() as file:
            return file.read(2) == _GZIP


def files(raw: Path) -> list[Location]:
    """The files up to three levels below a folder, the most likely first; empty if it is missing.

    Hidden files and folders, the desktop's trash and unfinished downloads are skipped.

    Raises:
        DataError: a folder cannot be read.
    """
    found = []
    for folder, folders, names in os.walk(raw, onerror=_refuse_folder, followlinks=True):
        here = Path(folder)
        if len(here.relative_to(raw).parts) == MAX_DEPTH:
            folders.clear()
        folders[:] = sorted(name for name in folders if _is_visible(name))
        found += [here / name for name in names if _is_visible(name) and (here / name).is_file()]
    return [Location(path) for path in sorted(found, key=_likely_first)]


def entries(locations: Iterable[Location]) -> list[Location]:
    """The entries of all zip archives among the files.

    Raises:
        DataError: an archive cannot be read.
    """
    found = []
    for location in locations:
        if location.name.endswith(".zip"):
            with _plain(location), _archive(location.path) as archive:
                names = [entry for entry in archive.namelist() if not entry.endswith("/")]
            visible = [name for name in names if all(map(_is_visible, _parts(name)))]
            found += [Location(location.path, name) for name in visible]
    return found


def first(locations: Iterable[Location], name: str) -> Location | None:
    """The first location with this name, or None."""
    return next((location for location in locations if location.name == name), None)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with path.open("rb") as file:
        _fetched(file, path)
        if _directory_bytes(file) > MAX_DIRECTORY:
            raise DataError(f"{path}: has far more entries than EMNIST's archives; {REMEDY}")
        with zipfile.ZipFile(file) as archive:
            yield archive


def _fetched(file: IO[bytes], path: Path) -> IO[bytes]:
    if file.read(len(LFS_POINTER)) == LFS_POINTER:
        raise DataError(f"{path}: {NOT_FETCHED}")
    file.seek(0)
    return file


def _directory_bytes(file: IO[bytes]) -> int:
    """Size of the central directory, which zipfile would read entirely, whatever its size."""
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - 2**16 - 100))
    tail = file.read()
    lengths = [
        int.from_bytes(tail[found.end() + at : found.end() + at + size], "little")
        for mark, at, size in ((b"PK\5\6", 8, 4), (b"PK\6\6", 36, 8))  # zip's and zip64's
        for found in re.finditer(mark, tail)
    ]
    file.seek(0)
    return max((length for length in lengths if length != 2**32 - 1), default=0)


def _parts(entry: str) -> list[str]:
    """The path components of an entry; archives made on Windows may have backslashes."""
    return entry.replace("\\", "/").removeprefix("./").split("/")


def _shown(text: str) -> str:
    """Text from a file, made safe for messages: truncated, without control characters."""
    return printable(text[:MAX_SHOWN])


def _is_visible(name: str) -> bool:
    hidden = name.startswith((".", "__MACOSX", "$RECYCLE.BIN"))
    return not hidden and not name.endswith(UNFINISHED)


def _likely_first(path: Path) -> tuple[int, int, str]:
    return len(path.parts), len(path.name), str(path)


def _refuse_folder(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        path = error.filename
        raise DataError(
            f"{path}: this folder cannot be read ({error.strerror}); run `chmod u+rx '{path}'`"
        ) from error


@contextmanager
def _plain(location: Location) -> Iterator[None]:
    """Turn any error raised while reading into a DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # zipfile and gzip raise about ten types, including struct.error
        raise unreadable(location, error) from error


def unreadable(location: Location, error: Exception) -> DataError:
    """The DataError for a file that could not be read."""
    if isinstance(error, PermissionError):
        return DataError(
            f"{location}: cannot be read ({error.strerror}); run `chmod u+r '{location.path}'`"
        )
    if isinstance(error, OSError) and error.errno:
        return DataError(f"{location}: cannot be read ({error.strerror}); {REMEDY}")
    what = _shown(str(error)) or type(error).__name__
    size = location.path.stat().st_size
    return DataError(
        f"{location} ({counted(size, 'byte')}) is truncated or corrupt ({what}); {REMEDY}"
    )
