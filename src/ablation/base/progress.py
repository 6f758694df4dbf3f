"""Progress reports: a bar on a terminal, occasional lines in a log."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ablation.base.console import console

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 30


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """Show progress; nothing is shown if the total is 0.

    Yields:
        A function to call with the number of items done and the total, which may change.
    """
    if not total:
        yield lambda _done, _total: None
    elif console.is_terminal:
        columns = (
            *(SpinnerColumn(), TextColumn(what), BarColumn(), MofNCompleteColumn()),
            *(TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        yield _log(what, total)


def track(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Iterate over items and show progress."""
    with progress(what, total) as update:
        for done, item in enumerate(items, start=1):
            yield item
            update(done, total)


def _log(what: str, total: int) -> Callable[[int, int], None]:
    console.print(f"{what}: {total} to do")
    started = reported = time.monotonic()

    def update(done: int, total: int) -> None:
        nonlocal reported
        now = time.monotonic()
        if done and now - reported >= SECONDS_BETWEEN_LINES:
            left = (now - started) / done * (total - done)
            console.print(f"{what}: {done}/{total}, about {left / 60:.0f} min left")
            reported = now

    return update
