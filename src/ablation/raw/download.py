"""Resumable downloads, verified before the target file is created.

Own code, because pooch, which also verifies, starts an interrupted download over and does not limit
its size.
"""

import fcntl
import hashlib
import shutil
from pathlib import Path
from typing import IO

import requests

from ablation.base.console import console
from ablation.base.formatting import counted
from ablation.base.progress import track
from ablation.data.characters import DataError
from ablation.raw.locations import UNFINISHED

TIMEOUT_SECONDS = 10  # between two bytes
CHUNK = 2**20  # bytes


def download(url: str, target: Path, md5: str, max_bytes: int) -> None:
    """Download a file atomically.

    Partial data is kept next to the target as `<name>.unfinished`, even if the program is killed.
    The next call resumes from it if the server supports ranges, and starts over if it does not.

    Args:
        md5: of the complete file.
        max_bytes: longer responses are refused.

    Raises:
        DataError: the content is not the expected file, or another program is downloading it.
        OSError: no connection (requests' errors are OSErrors), or the disk is full.
    """
    unfinished = target.with_name(target.name + UNFINISHED)
    resumed = _fetch(url, unfinished, max_bytes)
    if resumed and _md5(unfinished) != md5:  # part of another file, or the server's file changed
        console.print(f"{unfinished} is not the start of this file; downloading it again")
        unfinished.unlink()
        _fetch(url, unfinished, max_bytes)
    if (found := _md5(unfinished)) != md5:
        unfinished.unlink()
        raise DataError(f"{url}: the downloaded file has the MD5 {found}, expected {md5}")
    unfinished.replace(target)


def _fetch(url: str, unfinished: Path, max_bytes: int) -> bool:
    """Append the missing bytes; return whether the download was resumed."""
    start = unfinished.stat().st_size if unfinished.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
        if start and answer.status_code == requests.codes.requested_range_not_satisfiable:
            return True  # already complete
        answer.raise_for_status()
        is_rest = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if not (answer.status_code == requests.codes.partial_content and is_rest):
            _check_restart(answer, start, unfinished)
            start = 0
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        _check_size(answer, start, unfinished.parent, max_bytes)
        with unfinished.open("ab", buffering=0) as file:
            _lock(file, unfinished)
            file.truncate(start)
            if start:
                console.print(f"resuming after the first {start / 1e6:.0f} MB")
            length = -(-_length(answer) // CHUNK)
            for chunk in track(answer.iter_content(CHUNK), length, "downloading, MB"):
                file.write(chunk)
                if file.tell() > max_bytes:
                    unfinished.unlink()
                    raise _too_long(url, max_bytes)
    return start > 0


def _check_restart(answer: requests.Response, start: int, unfinished: Path) -> None:
    """Refuse a response shorter than the partial file: a captive portal's login page, say."""
    if (length := _length(answer)) < start:
        raise DataError(
            f"{answer.url}: sends {counted(length, 'byte')}, but {start:,} are already "
            f"downloaded; open it in a browser to see what it is, or delete {unfinished} to "
            "start over"
        )


def _check_size(answer: requests.Response, start: int, folder: Path, max_bytes: int) -> None:
    if start + (length := _length(answer)) > max_bytes:
        raise _too_long(answer.url, max_bytes)
    if length > (free := shutil.disk_usage(folder).free):
        raise DataError(
            f"{folder}: {free / 1e6:,.0f} MB free, but the download needs "
            f"{length / 1e6:,.0f} MB; free some space and run `dvc repro` again"
        )


def _length(answer: requests.Response) -> int:
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else 0


def _too_long(url: str, max_bytes: int) -> DataError:
    return DataError(f"{url}: sends more than {max_bytes:,} bytes, so it is not the expected file")


def _lock(file: IO[bytes], unfinished: Path) -> None:
    try:
        fcntl.flock(
            file, fcntl.LOCK_EX | fcntl.LOCK_NB
        )  # released when the program ends, even if killed
    except BlockingIOError:
        raise DataError(
            f"{unfinished}: another program is downloading to this file; wait for it to finish"
        ) from None


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
