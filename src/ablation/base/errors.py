"""The kinds of errors that are a person's to mend, and what to say of them."""

import errno
import os
from pathlib import Path

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_ALLOWED = {errno.EROFS, errno.EACCES, errno.EPERM}
# What libraries say who have no kind of error of their own for it: torch, CUDA, the loader.
NO_MEMORY = ("allocate memory", "out of memory", "start new thread", "failed to map segment")
AGAIN = "run `dvc repro` again, finished trials are kept"


class UserError(ValueError):
    """Something in a file or a parameter is wrong; the message names it and says what to do."""


def explain(error: BaseException, path: Path | None = None) -> str | None:
    """What the machine refused, and the remedy, in one line; None for any other kind of error.

    Args:
        path: the file that was written, where the error does not name it.
    """
    if isinstance(error, OSError) and error.errno in NO_ROOM | NOT_ALLOWED:
        place = path or Path(str(error.filename or "a file"))
        reason = os.strerror(error.errno or 0)
        if error.errno in NOT_ALLOWED:
            what = "written" if path else "read or written"
            return f"{place}: it cannot be {what} ({reason}); allow it and {AGAIN}"
        return f"no room in {place.parent} for {place.name} ({reason}); free some and {AGAIN}"
    refused = str(error).strip().partition("\n")[0]
    if isinstance(error, MemoryError) or any(words in refused.lower() for words in NO_MEMORY):
        return (
            f"memory was refused ({refused or 'there is none left'}); end other programs or lower "
            f"training.workers in params.yaml, and {AGAIN}"
        )
    return None
