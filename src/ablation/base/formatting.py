"""Numbers, names and tables as text for people."""

from collections.abc import Iterable, Sequence


def percent(fraction: float) -> str:
    """A fraction as a percentage: 0.8712 -> 87.12 %"""
    return f"{100 * fraction:.2f} %"


def points(difference: float) -> str:
    """A difference of two fractions in percentage points: 0.0031 -> +0.31; no zero is negative."""
    return f"{100 * difference:+z.2f}"


def short(count: float) -> str:
    """A count to three digits: 573103 -> 573 k; below 10,000 in full."""
    if count >= 1e6:
        return f"{count / 1e6:.3g} M"
    return f"{count / 1e3:.3g} k" if count >= 1e4 else f"{count:,.0f}"


def counted(count: int, singular: str, plural: str = "") -> str:
    """A count with its noun: 1, "epoch" -> 1 epoch; 1234 -> 1,234 epochs

    plural: by default the singular with an s.
    """
    return f"{count:,} {singular if count == 1 else plural or f'{singular}s'}"


def shortened(name: str, longest: int) -> str:
    """A name of more than `longest` characters with an ellipsis in place of its middle."""
    half = longest // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[1 - half :]}"


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in GitHub's Markdown, with bars in cells escaped.

    Own code: `tabulate`, and with it `DataFrame.to_markdown`, leaves a bar in a cell, which ends
    the cell, and reads cells as numbers (`0.10` becomes `0.1`).
    """
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines
    )
