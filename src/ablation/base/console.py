"""What a person sees while a stage runs: progress, tables, and errors without a traceback."""

import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ablation.base.errors import UserError, explain
from ablation.processes.lifetime import end_with_dvc

Item = TypeVar("Item")

LOG_WIDTH = 120
SECONDS_BETWEEN_LINES = 30
INTERRUPTED = 128 + signal.SIGINT  # as shells say it

console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH, highlight=False)


def announce(what: str, note: str) -> None:
    """The headline of a stage, and what has to be said of the data set that it works on."""
    console.rule(what)
    if note:
        console.print(note, style="italic")


@contextmanager
def plain_errors() -> Iterator[None]:
    """Mistakes that a person can mend end the program with their message alone.

    So does what the system refuses, wherever it does: a missing file, a full disk.
    """
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        if (said := explain(error)) is None:
            raise
        sys.exit(f"error: {said}")


@contextmanager
def stage_process() -> Iterator[None]:
    """What every stage runs in: it ends with its dvc, without a traceback, and says its memory."""
    end_with_dvc()
    try:
        with plain_errors():
            yield
            console.print(f"peak memory: {peak_memory() / 1e9:.2f} GB in the largest process")
    except KeyboardInterrupt:
        print("interrupted; finished trials are kept, `dvc repro` goes on", file=sys.stderr)
        sys.exit(INTERRUPTED)


def peak_memory() -> int:
    """Bytes that the largest of this process and of all that it has started took; ends these."""
    for worker in active_children():
        worker.terminate()
        worker.join()  # who runs is not counted yet
    own, started = (getrusage(whose).ru_maxrss for whose in (RUSAGE_SELF, RUSAGE_CHILDREN))
    if sys.platform == "linux":  # there a process also counts what it was before: dvc, a shell
        _, _, value = Path("/proc/self/status").read_text().partition("VmHWM:")
        own = int(value.split()[0])
    return max(own, started) * (1 if sys.platform == "darwin" else 1024)


def progress(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Pass the items on; a bar with the time left on a terminal, a line now and then in a log."""
    if console.is_terminal:
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            yield from bar.track(items, total=total)
        return
    started = said = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - said >= SECONDS_BETWEEN_LINES:
            left = (now - started) / done * (total - done)
            console.print(f"{what}: {done}/{total}, about {left / 60:.0f} min left")
            said = now


def percent(fraction: float) -> str:
    """0.8712 -> 87.12 %"""
    return f"{100 * fraction:.2f} %"


def points(fraction: float) -> str:
    """A difference of two fractions in percentage points: 0.0031 -> +0.31; no zero is negative"""
    return f"{100 * fraction:+z.2f}"


def short(value: float) -> str:
    """A count for people: 573103 -> 573 k"""
    if value >= 1e6:
        return f"{value / 1e6:.3g} M"
    return f"{value / 1e3:.3g} k" if value >= 1e4 else f"{value:,.0f}"


def shortened(name: str, longest: int) -> str:
    """A name without its middle, if it has more characters than that."""
    half = longest // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[1 - half :]}"
