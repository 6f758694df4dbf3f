"""Finished work, remembered under a hash of everything that determines it."""

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from ablation.base.errors import UserError
from ablation.base.files import repository, whole_file
from ablation.run.code import code_digest as code_digest

FOLDER_VARIABLE = "ABLATION_CACHE"

log = logging.getLogger(__name__)


def folder() -> Path:
    """Where things are remembered: $ABLATION_CACHE or the repository's .cache/trials.

    Deleting it is always safe.

    Raises:
        UserError: a file stands there.
    """
    place = Path(os.environ.get(FOLDER_VARIABLE) or repository() / ".cache/trials").absolute()
    if place.is_file():
        raise UserError(
            f"{place}: a file, but trials are remembered in a folder; name one in "
            f"{FOLDER_VARIABLE}, or move the file away"
        )
    return place


def key(**determinants: Any) -> str:
    """Name of a piece of work: the hash of what determines it and of the code that does it.

    Args:
        determinants: JSON-like values.
    """
    content = {**determinants, "code": code_digest()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def remember(key: str, payload: bytes, place: Path | None = None) -> None:
    """Keep a payload: a reader, or a second study that writes the same, sees all of it or none.

    Args:
        place: the folder; for a worker, whose environment may be older than the study's.

    Raises:
        UserError: there is no room in the folder, or it may not be written.
    """
    place = place or folder()
    with whole_file(place / key) as file:
        file.write(hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
        file.flush()
        os.fsync(file.fileno())


def remembers(key: str) -> bool:
    """Whether a payload was kept under this name; whether it is sound, `recall` knows."""
    return (folder() / key).is_file()


def recall(key: str, place: Path | None = None) -> bytes | None:
    """The payload, or None if it was never kept or is not what was kept (said in the log)."""
    path = (place or folder()) / key
    try:
        digest, _, payload = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s: cannot be read (%s); trained again", path, error.strerror)
        return None
    if hashlib.sha256(payload).hexdigest().encode() != digest:
        log.warning("%s: damaged, so it is not trusted; trained again", path)
        return None
    return payload
