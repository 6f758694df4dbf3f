"""Reading and writing what the stages tell each other; a file is written whole or not at all."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pandas as pd

DIGITS = 6
# Columns of characters and of labels: `1` is no number there, and `NA` no missing value.
TEXT = [
    *("character", "class", "actual", "predicted", "first", "second"),
    *("candidate", "setting", "winner", "baseline_setting", "final_setting"),
]


def repository() -> Path:
    """The repository that is worked in: the working folder, or the one that it is a copy of.

    `dvc exp run --temp` and `--queue` work in a copy of the repository inside its .dvc. What git
    does not hold, such as raw files and remembered trials, is in the repository itself.
    """
    copies = [place for place in Path.cwd().parents if place.name == ".dvc"]
    return copies[-1].parent if copies else Path()


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write words, and numbers to 6 digits; a number that was never found is left out."""
    kept = {key: value for key, value in content.items() if not _is_missing(value)}
    text = json.dumps({key: _rounded(value) for key, value in kept.items()}, indent=2)
    write_bytes(f"{text}\n".encode(), path)


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table with a header and without an index, numbers to 6 digits."""
    write_bytes(table.to_csv(index=False, float_format=f"%.{DIGITS}g").encode(), path)


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table that `write_csv` wrote; an empty cell is a missing value."""
    text = dict.fromkeys(TEXT, str)
    table: pd.DataFrame = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=[""])
    return table


def write_bytes(content: bytes, path: Path) -> None:
    """Write bytes to a file, which is there whole or not at all; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
