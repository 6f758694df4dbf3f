"""Colours, labels and layout shared by all figures and charts.

A model family has the same colour everywhere, by its position in params.yaml. All colours can be
distinguished by colour-blind people, and no family has the blue and red for correct and wrong.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import FuncFormatter

from ablation.base.formatting import points, shortened

FAMILIES = ("#6a51a3", "#e08214", "#009e73", "#cc79a7", "#56b4e9", "#8c510a")
# Okabe & Ito's palette with a darker yellow, for lines on white. Black is the incumbent.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#9a8c00")
RIGHT, WRONG = "#0072b2", "#c1272d"
PARTS = {"train": "#525b66", "test": "#b4bcc6"}
INK, QUIET = "#30353b", "#7a828c"
EDGE, GRID, SHADE = "#c8cdd3", "#e7eaee", "#f3f5f7"
DARKEST = "#26202b"  # end of the confusion matrix's colour map
WIDTH = 9.0  # inches; 900 pixels at the report's resolution and a README's scale
FONT = "DejaVu Sans"  # comes with matplotlib, so pictures are the same everywhere
MOST_CLASSES = 62  # in one picture
LEFT_TO_RIGHT = "\u200e"  # an invisible Unicode mark
LONGEST_NAME = 14  # characters of a class's name in a picture


def family_colours(models: Iterable[str]) -> dict[str, str]:
    """The colour of each family, by its position; colours repeat if there are more families."""
    return {model: FAMILIES[place % len(FAMILIES)] for place, model in enumerate(models)}


def family_title(model: str) -> str:
    """The display name of a family: mlp -> MLP"""
    return model.upper()


def canvas(height: float) -> Figure:
    """An empty figure in the style of this study, with the font that comes with matplotlib."""
    sns.set_theme(
        style="whitegrid",
        font=FONT,
        rc={
            "font.size": 9.5,
            "axes.labelsize": 9.5,
            "axes.titlesize": 11,
            "axes.edgecolor": EDGE,
            "axes.linewidth": 0.8,
            "axes.labelcolor": INK,
            "figure.titlesize": 12,
            "grid.color": GRID,
            "grid.linewidth": 0.8,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "lines.markersize": 4.5,
            "text.color": INK,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "xtick.color": INK,
            "ytick.color": INK,
        },
    )
    return Figure(figsize=(WIDTH, height), layout="constrained")


def names_in_pictures(classes: Sequence[str]) -> dict[str, str]:
    """Class name to its distinct display name in pictures.

    Long names are shortened in the middle. A character that the font lacks is shown as its code
    point, such as U+3042; a word with such characters, or one whose shortened name is ambiguous, as
    its index in data/classes.csv, such as class 17.
    """
    known = FT2Font(findfont(FONT)).get_charmap()
    short = {name: shortened(name, LONGEST_NAME) for name in classes}
    times = Counter(short.values())
    displayed: dict[str, str] = {}
    for place, name in enumerate(classes):
        drawable = all(ord(character) in known for character in name)
        candidate = short[name] if drawable and times[short[name]] == 1 else f"class {place}"
        if not drawable and len(name) == 1:
            candidate = f"U+{ord(name):04X}"
        while candidate in displayed.values():
            candidate += "*"
        displayed[name] = candidate
    return displayed


def for_matplotlib(name: str) -> str:
    """Escape a name, so that matplotlib draws it literally and keeps the text order around it.

    Text after a right-to-left name would be reordered: `שלום: 1` would begin with the number.
    """
    name = name.replace("$", r"\$")
    turns = any(unicodedata.bidirectional(character) in ("R", "AL") for character in name)
    return f"{LEFT_TO_RIGHT}{name}{LEFT_TO_RIGHT}" if turns else name


def are_words(names: Iterable[str]) -> bool:
    """Whether any name is too wide for horizontal labels."""
    return any(len(name.strip(LEFT_TO_RIGHT)) > 2 for name in names)


def in_percent() -> FuncFormatter:
    """Ticks of fractions: 0.875 -> 87.5 %"""
    return FuncFormatter(lambda fraction, _: f"{round(100 * fraction, 6):g} %")


def in_points() -> FuncFormatter:
    """Ticks of differences of fractions: 0.005 -> 0.5"""
    return FuncFormatter(lambda fraction, _: f"{round(100 * fraction, 6):g}")


def gain_text(gain: float, low: float, high: float) -> str:
    """A gain with its interval: +0.31 [+0.10, +0.52]; empty if it was not tested."""
    if not np.isfinite(gain):
        return ""
    interval = f" [{points(low)}, {points(high)}]" if np.isfinite([low, high]).all() else ""
    return points(gain) + interval


def change_text(before: str, after: str) -> str:
    """relu, gelu -> relu → gelu"""
    return after if before == after else f"{before} → {after}"
