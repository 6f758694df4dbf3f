"""Prints predictions for a terminal."""

import sys
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from ablation.base.console import console
from ablation.base.formatting import percent, shortened
from ablation.base.text import printable
from ablation.use.prediction import Prediction

NAME_LENGTH = 20  # letters of a class name in the table; --json has complete names


def show_predictions(predictions: Sequence[Prediction]) -> None:
    """Print warnings and errors to standard error, and the guesses as a table."""
    for each in predictions:  # before the guesses that they are about
        for kind, what in (("warning", each.warning), ("error", each.error)):
            if what:
                print(f"{kind}: {printable(f'{each.image}: {what}')}", file=sys.stderr)
    table = Table(box=None)
    table.add_column("image", overflow="fold")
    table.add_column("model")
    for place in ("first guess", "second", "third"):
        table.add_column(place, no_wrap=True)
    for each in predictions:
        image = Text(printable(each.image))  # not interpreted as markup
        for name, some in (each.guesses or {}).items():
            guesses = [
                Text(
                    printable(
                        f"{shortened(one.character, NAME_LENGTH)}  {percent(one.probability)}"
                    )
                )
                for one in some
            ]
            if count := each.several.get(name):
                guesses = [Text(f"{count} characters")]
            table.add_row(image, name, *guesses)
            image = Text("")
    if table.row_count:
        console.print(table)
