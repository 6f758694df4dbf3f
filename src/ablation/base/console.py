"""Console output of stages: headlines, tables, and errors without a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, JustifyMethod
from rich.table import Table

from ablation.base.errors import UserError, explain

LOG_WIDTH = 80
STUDY = Path()

INTERRUPTED = 130  # exit status that shells report after Ctrl-C

_is_terminal = sys.stdout is not None and sys.stdout.isatty()  # None: it is closed
console = Console(width=None if _is_terminal else LOG_WIDTH, highlight=False)


def announce(what: str, note: str = "", root: Path = STUDY) -> None:
    """Print the headline of a stage.

    note: about the data set; root: the folder of the stage's results, named if not the study's.
    """
    console.rule(what if root == STUDY else f"{root}: {what}")
    if note:
        console.print(note, style="italic")


def narrow_table(first: str, *numbers: str, **words: JustifyMethod) -> Table:
    """A table that fits 80 columns: names on the left, then numbers, then text."""
    table = Table(first, box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for head in numbers:
        table.add_column(head, justify="right", no_wrap=True)
    for head, justify in words.items():
        table.add_column(head, justify=justify)
    return table


@contextmanager
def plain_errors() -> Iterator[None]:
    """Exit with a message, without traceback, on errors that the user can fix.

    These are `UserError`, and errors of the system, such as a missing file or a full disk.
    """
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        if (message := explain(error)) is None:
            raise
        sys.exit(f"error: {message}")
