"""A process that ends when the one ends that it works for.

Nobody waits for its result then. A stage would work on without dvc's lock, and a worker would keep
a gigabyte of memory, just when memory has run out.
"""

import os
import select
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

# dvc gives it to what it starts, and does not have it itself.
STAGE_VARIABLE = "DVC_STAGE"
STANDARD_ERROR = 2
DVC_HAS_ENDED = "dvc has ended, so its stage ends as well; finished trials are kept"


def end_with_dvc() -> None:
    """End when the dvc ends that runs this process as a stage; without dvc, nothing happens.

    A shell may stand between the two: the one that dvc starts becomes the stage or waits for it.
    """
    if sys.platform != "linux" or STAGE_VARIABLE not in os.environ:
        return
    child, parent = os.getpid(), os.getppid()
    while _is_part_of_a_stage(parent):
        end_with(parent, child, DVC_HAS_ENDED)
        child, parent = parent, _parent_of(parent)
    # dvc and its stages are of one session; who adopts orphans is of another.
    if parent and os.getsid(parent) != os.getsid(0):
        _end(DVC_HAS_ENDED)
    end_with(parent, child, DVC_HAS_ENDED)


def end_with(parent: int, child: int, last_words: str = "") -> None:
    """End this process when `parent` ends, or now if it has ended already.

    Args:
        parent: the number of a process.
        child: what it is the parent of, as long as it runs: this process, or one that started it.
        last_words: to say then.
    """
    if sys.platform != "linux":
        return
    try:
        handle = os.pidfd_open(parent)
    except ProcessLookupError:
        _end(last_words)
    except OSError:
        return  # an old kernel, or the parent lives in another container
    # Asked last: the handle is this process's for good, its number may become another one's.
    if _parent_of(child) != parent:
        _end(last_words)
    threading.Thread(target=_end_after, args=(handle, last_words), daemon=True).start()


def _end_after(handle: int, last_words: str) -> None:
    ended = select.poll()
    ended.register(handle, select.POLLIN)
    ended.poll()
    _end(last_words)


def _end(last_words: str) -> NoReturn:
    if last_words:
        with suppress(OSError):
            os.write(STANDARD_ERROR, f"{last_words}\n".encode())
    os._exit(1)


def _is_part_of_a_stage(process: int) -> bool:
    try:
        environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(variable.startswith(f"{STAGE_VARIABLE}=".encode()) for variable in environment)


def _parent_of(process: int) -> int:
    """The number of its parent; 0 if it has ended."""
    try:
        after_its_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2]
    except OSError:
        return 0
    return int(after_its_name.split()[1])
