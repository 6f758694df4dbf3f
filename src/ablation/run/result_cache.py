"""A cache of results, keyed by a hash of everything that determines them."""

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from ablation.base.errors import UserError
from ablation.base.files import repository, whole_file
from ablation.run.code import trial_code_digest as trial_code_digest

FOLDER_VARIABLE = "ABLATION_CACHE"

log = logging.getLogger(__name__)


def folder() -> Path:
    """The cache folder: $ABLATION_CACHE or the repository's .cache/trials.

    Deleting it is always safe.

    Raises:
        UserError: the path is a file.
    """
    place = Path(os.environ.get(FOLDER_VARIABLE) or repository() / ".cache/trials").absolute()
    if place.is_file():
        raise UserError(
            f"{place}: a file, but trials are cached in a folder; set {FOLDER_VARIABLE} to "
            "another path, or move the file away"
        )
    return place


def key(**determinants: Any) -> str:
    """The key of a result: a hash of its determinants and of the code that computes it.

    Args:
        determinants: JSON-like values.
    """
    content = {**determinants, "code": trial_code_digest()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def put(key: str, payload: bytes, place: Path | None = None) -> None:
    """Store a payload atomically; several studies may write the same one at once.

    Args:
        place: the folder; for workers, whose environment may be older than the study's.

    Raises:
        UserError: the disk is full, or the folder is not writable.
    """
    place = place or folder()
    with whole_file(place / key) as file:
        file.write(hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
        file.flush()
        os.fsync(file.fileno())


def contains(key: str) -> bool:
    """Whether a payload is stored under this key; only `get` verifies it."""
    return (folder() / key).is_file()


def get(key: str, place: Path | None = None) -> bytes | None:
    """The payload, or None if it is missing, or unreadable or corrupt, which is logged."""
    path = (place or folder()) / key
    try:
        digest, _, payload = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s: cannot be read (%s); training again", path, error.strerror)
        return None
    if hashlib.sha256(payload).hexdigest().encode() != digest:
        log.warning("%s: corrupt; training again", path)
        return None
    return payload
