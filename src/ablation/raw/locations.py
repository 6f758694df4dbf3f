"""Where raw files lie: in folders and in zip archives, under the names that people's tools give.

A name says what a file may hold and nothing more: whether it is packed, its first bytes say.
Nothing is ever unpacked to the disk, so no archive can write outside its folder.
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
from ablation.base.text import harmless
from ablation.data.characters import DataError

FOLDERS_DOWN = 3  # raw/, raw/gzip/, raw/EMNIST/raw/, raw/EMNIST/raw/gzip/
REMEDY = "replace it with the original, or take it away; what is missing is downloaded"
UNFINISHED = ".unfinished"
MOST_OF_A_LIST = 2**20  # bytes of the list of what is in a zip archive; NIST's has 3 KB
MOST_SHOWN = 300  # characters

# `gzip (1).zip`, `gzip(1).zip`, `gzip - Copy.zip`, `gzip copy 2.zip`
_COPY = re.compile(r" ?\(\d+\)| - copy| copy( \d+)?(?=\.|$)")
_GZIP = b"\x1f\x8b"
_ZIP_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


@dataclass(frozen=True)
class Place:
    """A file, or an entry of a zip archive.

    Attributes:
        path: of the file or of the archive.
        entry: the entry's name in the archive; never used as a path.
    """

    path: Path
    entry: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.entry is None else f"{self.path}: {_shown(self.entry)}"

    @property
    def name(self) -> str:
        """The name as NIST or Kaggle gave it: without marks of a copy, `.gz` and upper case."""
        last = _parts(self.entry or self.path.name)[-1].lower()
        return _COPY.sub("", last).removesuffix(".gz").replace(".idx", "-idx")

    @contextmanager
    def stored(self) -> Iterator[IO[bytes]]:
        """The bytes as they lie there.

        Raises:
            DataError: if they cannot be read.
        """
        with _plain(self), ExitStack() as stack:
            if self.entry is None:
                yield _fetched(stack.enter_context(self.path.open("rb")), self.path)
                return
            archive = stack.enter_context(_archive(self.path))
            information = archive.getinfo(self.entry)
            if information.compress_type not in _ZIP_METHODS:
                raise DataError(
                    f"{self}: packed in a way that is not read here; unpack {self.path}"
                )
            with archive.open(information) as file:
                yield file

    @contextmanager
    def unpacked(self) -> Iterator[IO[bytes]]:
        """The bytes without gzip, if they are packed; a stream, so that a bomb stays small.

        Raises:
            DataError: if they cannot be read.
        """
        packed = self.is_packed()
        with self.stored() as file, _plain(self):
            yield cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file

    def is_packed(self) -> bool:
        """Whether the bytes are packed with gzip, whatever the name says."""
        with self.stored() as file:
            return file.read(2) == _GZIP


def files(raw: Path) -> list[Place]:
    """The files under a folder, three levels down, likely ones first; none if there is no folder.

    Hidden files and folders are left out, a desktop's trash among them, and unfinished downloads.

    Raises:
        DataError: if a folder may not be read.
    """
    found = []
    for folder, folders, names in os.walk(raw, onerror=_refuse_folder, followlinks=True):
        here = Path(folder)
        if len(here.relative_to(raw).parts) == FOLDERS_DOWN:
            folders.clear()
        folders[:] = sorted(name for name in folders if _is_visible(name))
        found += [here / name for name in names if _is_visible(name) and (here / name).is_file()]
    return [Place(path) for path in sorted(found, key=_likely_first)]


def entries(places: Iterable[Place]) -> list[Place]:
    """What is in the zip archives among the files.

    Raises:
        DataError: if an archive cannot be read.
    """
    found = []
    for place in places:
        if place.name.endswith(".zip"):
            with _plain(place), _archive(place.path) as archive:
                names = [entry for entry in archive.namelist() if not entry.endswith("/")]
            visible = [name for name in names if all(map(_is_visible, _parts(name)))]
            found += [Place(place.path, name) for name in visible]
    return found


def first(places: Iterable[Place], name: str) -> Place | None:
    """The first of the places that has this name."""
    return next((place for place in places if place.name == name), None)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with path.open("rb") as file:
        _fetched(file, path)
        if _length_of_list(file) > MOST_OF_A_LIST:
            raise DataError(f"{path}: lists far more files than EMNIST's archives have; {REMEDY}")
        with zipfile.ZipFile(file) as archive:
            yield archive


def _fetched(file: IO[bytes], path: Path) -> IO[bytes]:
    if file.read(len(LFS_POINTER)) == LFS_POINTER:
        raise DataError(f"{path}: {NOT_FETCHED}")
    file.seek(0)
    return file


def _length_of_list(file: IO[bytes]) -> int:
    """Bytes of the central directory: zipfile reads all of it, however much that is."""
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
    """The folders and the name of an entry; Windows separates them with a backslash."""
    return entry.replace("\\", "/").removeprefix("./").split("/")


def _shown(text: str) -> str:
    """What a file says of itself, as it may stand in a message: no controls, no end of them."""
    return harmless(text[:MOST_SHOWN])


def _is_visible(name: str) -> bool:
    hidden = name.startswith((".", "__MACOSX", "$RECYCLE.BIN"))
    return not hidden and not name.endswith(UNFINISHED)


def _likely_first(path: Path) -> tuple[int, int, str]:
    return len(path.parts), len(path.name), str(path)


def _refuse_folder(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        path = error.filename
        raise DataError(
            f"{path}: this folder cannot be read ({error.strerror}); allow it with "
            f"`chmod u+rx '{path}'`"
        ) from error


@contextmanager
def _plain(place: Place) -> Iterator[None]:
    """Whatever the bytes are that a library stumbles on, a person sees what to do about them."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # zipfile and gzip raise ten kinds, and struct.error among them
        raise unreadable(place, error) from error


def unreadable(place: Place, error: Exception) -> DataError:
    """The error of a file that a library could not read."""
    if isinstance(error, PermissionError):
        return DataError(
            f"{place}: you may not read it ({error.strerror}); allow it with "
            f"`chmod u+r '{place.path}'`"
        )
    if isinstance(error, OSError) and error.errno:
        return DataError(f"{place}: cannot be read ({error.strerror}); {REMEDY}")
    what = _shown(str(error)) or type(error).__name__
    size = place.path.stat().st_size
    return DataError(
        f"{place}, of {size:,} bytes, cannot be read ({what}), it is cut short or damaged; {REMEDY}"
    )
