"""Fetching a file: checked before it enters its place, and never from the start twice."""

import fcntl
import hashlib
import shutil
from pathlib import Path
from typing import IO

import requests

from ablation.base.console import console
from ablation.base.progress import track
from ablation.data.characters import DataError
from ablation.raw.locations import UNFINISHED

TIMEOUT_SECONDS = 10  # without a byte
PIECE = 2**20


def download(url: str, target: Path, md5: str, most: int) -> None:
    """Fetch a file whole or not at all.

    What has come stays beside the target as `<name>.unfinished`, also when the program is killed.
    The next call goes on there if the server allows, and starts again if it does not.

    Args:
        md5: of the whole file.
        most: bytes; a longer answer is refused.

    Raises:
        DataError: if what came is not the file, or another program is fetching it.
        OSError: if there is no connection (requests' errors are OSErrors), or no room.
    """
    unfinished = target.with_name(target.name + UNFINISHED)
    resumed = _fetch(url, unfinished, most)
    if resumed and _md5(unfinished) != md5:  # another file's beginning, or a new file there
        console.print(f"{unfinished} does not go on as it began, starting again")
        unfinished.unlink()
        _fetch(url, unfinished, most)
    if (found := _md5(unfinished)) != md5:
        unfinished.unlink()
        raise DataError(f"{url}: what came has the MD5 {found}, expected {md5}")
    unfinished.replace(target)


def _fetch(url: str, unfinished: Path, most: int) -> bool:
    """Append what is missing; whether something was there before."""
    start = unfinished.stat().st_size if unfinished.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
        if start and answer.status_code == requests.codes.requested_range_not_satisfiable:
            return True  # all of it is there
        answer.raise_for_status()
        goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if not (answer.status_code == requests.codes.partial_content and goes_on):
            _check_beginning(answer, start, unfinished)
            start = 0
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        _check_room(answer, start, unfinished.parent, most)
        with unfinished.open("ab", buffering=0) as file:
            _lock(file, unfinished)
            file.truncate(start)
            if start:
                console.print(f"going on after the {start / 1e6:.0f} MB that have come before")
            length = -(-_length(answer) // PIECE)
            for piece in track(answer.iter_content(PIECE), length, "downloading, MB"):
                file.write(piece)
                if file.tell() > most:
                    unfinished.unlink()
                    raise _too_long(url, most)
    return start > 0


def _check_beginning(answer: requests.Response, start: int, unfinished: Path) -> None:
    """What would take the place of more than it has is no file: a hotel's login page, say."""
    if (length := _length(answer)) < start:
        raise DataError(
            f"{answer.url}: sends {length:,} bytes, and {start:,} have come before; open it in "
            f"a browser to see what it is, or delete {unfinished} to start again"
        )


def _check_room(answer: requests.Response, start: int, folder: Path, most: int) -> None:
    if start + (length := _length(answer)) > most:
        raise _too_long(answer.url, most)
    if length > (free := shutil.disk_usage(folder).free):
        raise DataError(
            f"{folder}: {free / 1e6:,.0f} MB are free, the download needs "
            f"{length / 1e6:,.0f} MB; make room and run it again"
        )


def _length(answer: requests.Response) -> int:
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else 0


def _too_long(url: str, most: int) -> DataError:
    return DataError(f"{url}: sends more than {most:,} bytes, which is not the file")


def _lock(file: IO[bytes], unfinished: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # falls with the program, even if killed
    except BlockingIOError:
        raise DataError(
            f"{unfinished}: another program is downloading into it; wait until it has ended"
        ) from None


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
