"""The one kind of error that is a person's to mend, and how the machine's troubles are said."""

import errno
import reprlib
from pathlib import Path

AGAIN = "run `dvc repro` again, finished trials are kept"
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What to do where the system refuses a file; anything else is said in the system's own words.
REMEDIES = {
    errno.ENOENT: "run from the repository's root; `dvc repro` writes what a stage reads",
    errno.EACCES: "give yourself the right to it (chmod, chown)",
    errno.EPERM: "give yourself the right to it (chmod, chown)",
    errno.EROFS: "the disk can only be read; work on another",
    errno.EISDIR: "a folder stands where a file should; name a file, or move it away",
    errno.ENOTDIR: "a file stands where a folder should; name a folder, or move it away",
    errno.EEXIST: "a file stands where a folder should; name a folder, or move it away",
    errno.ENAMETOOLONG: "give it a shorter name",
}
# What libraries say who have no kind of error of their own for it: torch, CUDA, the loader.
NO_MEMORY = ("allocate memory", "out of memory", "start new thread", "failed to map segment")

# How a file starts that Git LFS has put in place of another one, and what is said of it.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
NOT_FETCHED = "a pointer of Git LFS, not what it points to; `git lfs pull` fetches that"

_brief = reprlib.Repr()
_brief.maxlevel = 4
_brief.maxdict = _brief.maxlist = _brief.maxtuple = 12
_brief.maxstring = _brief.maxother = _brief.maxlong = 80


class UserError(ValueError):
    """Something in a file or a parameter is wrong; the message names it and says what to do."""


def explain(error: BaseException) -> str | None:
    """What the machine refused, and the remedy, in one line; None for any other kind of error."""
    if isinstance(error, OSError):
        return refused(error)
    said = str(error).strip().partition("\n")[0]
    if isinstance(error, MemoryError) or any(words in said.lower() for words in NO_MEMORY):
        return (
            f"memory was refused ({said or 'there is none left'}); end other programs or have "
            f"fewer workers (here by training.workers in params.yaml), and {AGAIN}"
        )
    return None


def refused(error: OSError, place: object = None) -> str:
    """What the system refuses, in one line: the file, why, and what to do.

    place: what to call the file; by default as the error names it.
    """
    named = place if place is not None else error.filename
    why = error.strerror or one_line(error)
    if error.errno in NO_ROOM:
        path = Path(str(named or "a file"))
        return f"no room in {path.parent} for {path.name} ({why}); free some and {AGAIN}"
    remedy = REMEDIES.get(error.errno or 0)
    return (f"{named}: " if named is not None else "") + why + (f"; {remedy}" if remedy else "")


def shown(found: object) -> str:
    """What was found, as Python writes it, and of a long value the ends: a line stays a line."""
    try:
        return _brief.repr(found)
    except ValueError:  # a number of more digits than Python writes out
        return "a number of thousands of digits"


def one_line(error: Exception) -> str:
    """What an error of a library says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
