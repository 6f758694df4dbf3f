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


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write numbers to 6 digits; what is not finite becomes null."""
    text = json.dumps({key: _plain(value) for key, value in content.items()}, indent=2)
    write_bytes(f"{text}\n".encode(), path)


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


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
