"""What a person sees while a stage runs: progress, tables, and errors without a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, JustifyMethod
from rich.table import Table

from ablation.base.errors import UserError, explain

LOG_WIDTH = 80

INTERRUPTED = 130  # the exit status that shells give a program that Ctrl-C ends

_is_terminal = sys.stdout is not None and sys.stdout.isatty()  # None: it was closed before
console = Console(width=None if _is_terminal else LOG_WIDTH, highlight=False)


def announce(what: str, note: str) -> None:
    """The headline of a stage, and what has to be said of the data set that it works on."""
    console.rule(what)
    if note:
        console.print(note, style="italic")


def narrow_table(first: str, *numbers: str, **words: JustifyMethod) -> Table:
    """A table for 80 columns: a name on the left, then numbers, then columns of words."""
    table = Table(first, box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for head in numbers:
        table.add_column(head, justify="right", no_wrap=True)
    for head, justify in words.items():
        table.add_column(head, justify=justify)
    return table


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
