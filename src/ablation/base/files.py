"""Files that stages exchange; each is written completely or not at all."""

import fcntl
import glob
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import pandas as pd

from ablation.base.errors import UserError, one_line, refused

DIGITS = 6


def repository() -> Path:
    """The repository: the working folder, or the repository that the working folder is a copy of.

    `dvc exp run --temp` and `--queue` work in a copy inside `.dvc`. Files outside git, such as raw
    files and remembered trials, are in the repository itself.
    """
    copies = [place for place in Path.cwd().parents if place.name == ".dvc"]
    return copies[-1].parent if copies else Path()


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write a JSON object, floats to 6 digits; values that are None or not finite are omitted."""
    kept = {key: value for key, value in content.items() if not _is_missing(value)}
    text = json.dumps({key: _rounded(value) for key, value in kept.items()}, indent=2)
    write_bytes(f"{text}\n".encode(), path)


def read_json(path: Path, keys: Iterable[str] = ()) -> dict[str, Any]:
    """Read a JSON object that `write_json` wrote.

    keys: required keys.

    Raises:
        UserError: the file is missing or malformed, or lacks a key.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(refused(error, path)) from None
    except (ValueError, RecursionError) as error:
        raise _not_written(path, one_line(error)) from None
    if not isinstance(content, dict):
        raise _not_written(path, "not a JSON object")
    if missing := [name for name in keys if name not in content]:
        raise _not_written(path, f"without {', '.join(missing)}")
    return content


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table with a header and without its index, floats to 6 digits."""
    write_bytes(table.to_csv(index=False, float_format=f"%.{DIGITS}g").encode(), path)


def read_csv(path: Path, columns: Iterable[str] = (), text: Iterable[str] = ()) -> pd.DataFrame:
    """Read a table that `write_csv` wrote; an empty cell is a missing value, `NA` is text.

    columns: required columns, with at least one row; by default the table may be empty.
    text: columns of characters or labels, which stay text where all of them look like numbers.

    Raises:
        UserError: the file is missing, malformed or empty, or lacks a column.
    """
    types = dict.fromkeys(text, str)
    try:
        table: pd.DataFrame = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
    except OSError as error:
        raise UserError(refused(error, path)) from None
    except ValueError as error:  # also the base class of pandas' EmptyDataError and ParserError
        raise _not_written(path, one_line(error)) from None
    if missing := [name for name in columns if name not in table.columns]:
        raise _not_written(path, f"a table without {', '.join(missing)}")
    if columns and table.empty:
        raise _not_written(path, "a table without rows")
    return table


def write_bytes(content: bytes, path: Path) -> None:
    """Write a file completely or not at all; creates its folder.

    Raises:
        UserError: no space, or no permission; names the file and the remedy.
    """
    with whole_file(path) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that replaces `path` once it is complete, and leaves it unchanged until then.

    Creates its folder, and deletes what killed writers of the same file left behind.

    Raises:
        UserError: no space, or no permission; names the file and the remedy.
    """
    unfinished = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        collect_unfinished(path.parent, path.name)
        unfinished, file = _open_unfinished(path)
        with file:
            yield file
            file.flush()
            unfinished.replace(path)  # still locked, so that no other writer deletes it
    except OSError as error:
        raise UserError(refused(error, path)) from error
    finally:
        if unfinished:
            with suppress(OSError):
                unfinished.unlink()


def collect_unfinished(folder: Path, name: str = "") -> None:
    """Delete what killed writers left behind of one file, or of all files in a folder.

    A writer holds a lock, which ends with its process. Uses neither timestamps nor process ids: a
    writer may run in another container.
    """
    for path in folder.glob(f"{glob.escape(name)}*.unfinished"):
        with suppress(OSError), path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _open_unfinished(path: Path) -> tuple[Path, BinaryIO]:
    while True:
        unfinished = path.with_name(f"{path.name}.{uuid4().hex}.unfinished")
        file = unfinished.open("xb")
        with suppress(OSError):  # some network file systems have no locks: then nothing is deleted
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return unfinished, file
        file.close()  # deleted before it was locked


def _not_written(path: Path, what: str) -> UserError:
    return UserError(
        f"{path}: not in the format that a stage writes ({what}); `dvc repro` recreates it"
    )


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
