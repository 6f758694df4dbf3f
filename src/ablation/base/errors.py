"""Errors that the user can fix, and one-line messages for errors of the system."""

import errno
import reprlib
from pathlib import Path

AGAIN = "run `dvc repro` again; finished trials are kept"
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Remedies by error code; other errors have the system's message alone.
REMEDIES = {
    errno.ENOENT: "run from the repository's root; `dvc repro` writes the inputs of a stage",
    errno.EACCES: "change its permissions (chmod, chown)",
    errno.EPERM: "change its permissions (chmod, chown)",
    errno.EROFS: "write to another disk",
    errno.EISDIR: "name a file, or move the folder away",
    errno.ENOTDIR: "name a folder, or move the file away",
    errno.EEXIST: "name a folder, or move the file away",
    errno.ENAMETOOLONG: "use a shorter name",
}
# Parts of messages of libraries that raise general exceptions: torch, CUDA, the dynamic loader.
NO_MEMORY = ("allocate memory", "out of memory", "start new thread", "failed to map segment")

# The first bytes of a Git LFS pointer file, and the message for one.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
NOT_FETCHED = "a Git LFS pointer instead of the file; run `git lfs pull` to fetch it"

_brief = reprlib.Repr()
_brief.maxlevel = 4
_brief.maxdict = _brief.maxlist = _brief.maxtuple = 12
_brief.maxstring = _brief.maxother = _brief.maxlong = 80


class UserError(ValueError):
    """A mistake in a file or a parameter; the message names it and the remedy."""


def explain(error: BaseException) -> str | None:
    """Describe an error of the system and its remedy on one line; None for other errors."""
    if isinstance(error, OSError):
        return describe_os_error(error)
    message = str(error).strip().partition("\n")[0]
    if isinstance(error, MemoryError) or any(words in message.lower() for words in NO_MEMORY):
        return (
            f"out of memory ({message or type(error).__name__}); close other programs or use fewer "
            f"workers (here: training.workers in params.yaml), and {AGAIN}"
        )
    return None


def describe_os_error(error: OSError, place: object = None) -> str:
    """Describe an OSError on one line: the file, the reason and the remedy.

    place: the name of the file; by default that in the error.
    """
    named = place if place is not None else error.filename
    why = error.strerror or one_line(error)
    if error.errno in NO_SPACE:
        path = Path(str(named or "a file"))
        return f"no space in {path.parent} for {path.name} ({why}); free some and {AGAIN}"
    remedy = REMEDIES.get(error.errno or 0)
    return (f"{named}: " if named is not None else "") + why + (f"; {remedy}" if remedy else "")


def short_repr(found: object) -> str:
    """The repr of a value, shortened in the middle if it is long."""
    try:
        return _brief.repr(found)
    except ValueError:  # an integer of more digits than Python converts
        return "an integer of thousands of digits"


def one_line(error: Exception) -> str:
    """The message of an error, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
