"""Classes may have any name, and there may be a thousand of them."""

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.text import Text

from ablation.base.formatting import markdown
from ablation.show import charts, figures, tables
from ablation.show.style import LONGEST_NAME, MOST_CLASSES, for_matplotlib, names_in_pictures

CLOTHES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Ankle boot"]
ODD = ["あ", "ひらがな", "$", "a $x$", "[red]", "<b>", "pipe|d", "*star*", "👍", "שלום", "سلام"]
MANY = [f"class {number:04}" for number in range(1000)]
IMAGES = np.zeros((6, 28, 28), np.uint8)


@pytest.fixture(autouse=True)
def _no_glyph_is_missing() -> Iterator[None]:
    """matplotlib warns of each missing glyph, which fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def predictions(names: list[str]) -> pd.DataFrame:
    """For each class, three correct predictions and one of the next class."""
    actual = names * 4
    return pd.DataFrame({"actual": actual, "predicted": [*names * 3, *names[1:], names[0]]})


def drawn(figure: Figure) -> list[str]:
    """The texts of a figure, as drawn."""
    figure.draw_without_rendering()
    found = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    return [text.get_text() for text in found if text.get_visible()]


def outside(figure: Figure, names: list[str]) -> list[str]:
    """The texts with a name that extend beyond the figure."""
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    return [
        text.get_text()
        for text in figure.findobj(Text)
        if isinstance(text, Text) and any(name in text.get_text() for name in names)
        for box in [text.get_window_extent()]
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]


def test_a_name_that_the_font_can_draw_is_unchanged() -> None:
    assert names_in_pictures([*"0Aq", "Ankle boot", "ß", "→", "$x$"]) == {
        name: name for name in [*"0Aq", "Ankle boot", "ß", "→", "$x$"]
    }


def test_a_name_that_the_font_lacks_is_a_code_point_or_a_class_index() -> None:
    assert names_in_pictures(["A", "あ", "ひらがな", "👍"]) == {
        "A": "A",
        "あ": "U+3042",
        "ひらがな": "class 2",
        "👍": "U+1F44D",
    }


def test_a_long_name_is_shortened_in_the_middle() -> None:
    called = names_in_pictures(["oak_leaves_in_autumn", "just long enoug"])
    assert [*called.values()] == ["oak_lea…autumn", "just lo… enoug"]
    assert all(len(name) == LONGEST_NAME for name in called.values())


def test_display_names_are_unique() -> None:
    same = ["elm leaves, spring, green", "elm leaves, autumn, green"]
    called = names_in_pictures([*same, "ひらがな", "class 2", "class 0", "U+3042", "あ"])
    assert len(set(called.values())) == 7
    assert called[same[1]] == "class 1"


@pytest.mark.parametrize("names", [CLOTHES, ODD, MANY[:60]], ids=["words", "odd", "sixty"])
def test_pictures_show_the_names(names: list[str]) -> None:
    called = [*map(for_matplotlib, names_in_pictures(names).values())]
    counts = pd.DataFrame({"character": called, "train": 4, "test": 1})
    columns = {"actual": np.array(called[:6]), "predicted": np.array(called[1:7])}
    shown = {"images": IMAGES, "confidence": np.full(6, 0.5)} | columns
    recalls = pd.DataFrame({"class": called, "mlp": 0.9})
    pictures = [
        figures.class_distribution(counts),
        figures.class_samples(np.repeat(IMAGES[:1], len(names), 0), np.arange(len(names)), called),
        figures.confusion_matrix("mlp", "#000000", predictions(called), called),
        figures.first_predictions({"mlp": shown, "cnn": shown}),
        figures.worst_mistakes("mlp", shown),
        figures.recalls(recalls, ["mlp"]),
    ]
    for figure in pictures:
        assert outside(figure, called) == []
        assert any(called[1] in text for text in drawn(figure))


def test_of_a_thousand_classes_those_with_the_most_errors_are_drawn() -> None:
    table = predictions(MANY)
    right = table["actual"].isin(MANY[100:])
    table.loc[right, "predicted"] = table.loc[right, "actual"]
    figure = figures.confusion_matrix("mlp", "#000000", table, MANY)
    axes = figure.axes[0]
    mesh = axes.collections[0]
    assert isinstance(mesh, QuadMesh)
    assert np.asarray(mesh.get_array()).size == MOST_CLASSES**2
    assert "of the 62 classes with the most errors, test accuracy 97.50 %" in axes.get_title()
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == sorted(labels)
    assert set(labels) <= set(MANY[:101])


def test_a_thousand_classes_have_a_bar_each_and_no_label() -> None:
    counts = pd.DataFrame({"character": MANY, "train": 4, "test": 1})
    axes = figures.class_distribution(counts).axes[0]
    assert len([bar for bar in axes.patches if bar.get_height()]) == 2000  # type: ignore[attr-defined]
    assert [label.get_text() for label in axes.get_xticklabels()] == []
    assert axes.get_xlabel() == "class, in the order of data/classes.csv"


def test_of_very_many_classes_the_first_have_samples() -> None:
    images = np.zeros((1000, 28, 28), np.uint8)
    figure = figures.class_samples(images, np.arange(1000), MANY, "pictures")
    labels = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    assert labels == MANY[:MOST_CLASSES]
    assert "The first 1 training pictures of 62 of 1,000 classes" in drawn(figure)


def test_the_chart_of_very_many_classes_normalises_over_all() -> None:
    table = charts.confusion({"mlp": predictions(MANY)})
    assert table["actual"].nunique() <= MOST_CLASSES
    assert set(table["share"].round(2)) == {0.25, 0.75}


def test_markup_in_a_name_is_escaped() -> None:
    names = [*ODD, "a_b_c", "`code`", "\\", "&amp;", "[x](y)", "#", "~~no~~"]
    table = markdown(["class"], [[tables.plain(name)] for name in names])
    page = MarkdownIt("commonmark").enable("table").render(table)
    cells = [cell.partition("</td>")[0] for cell in page.split("<td>")[1:]]
    escapes = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))
    for name, cell in zip(names, cells, strict=True):
        for character, entity in escapes:
            name = name.replace(character, entity)
        assert cell == name


@pytest.mark.parametrize("name", ["שלום", "سلام"])
def test_text_after_a_right_to_left_name_stays_after_it(name: str) -> None:
    assert for_matplotlib("leaf") == "leaf"
    for called, place in ((for_matplotlib(name), "last"), (name, "elsewhere")):
        one, seven = (_pixels(f"{called} → {called}: {number}").any(axis=2) for number in (1, 7))
        written = np.flatnonzero((one | seven).any(axis=0))
        changed = np.flatnonzero((one != seven).any(axis=0))
        assert (changed.min() > np.quantile(written, 0.9)) == (place == "last")


def _pixels(text: str) -> np.ndarray:
    """(height, width, 3), 0 where nothing is drawn."""
    figure = Figure(figsize=(4, 0.5))
    canvas = FigureCanvasAgg(figure)
    figure.text(0.05, 0.3, text)
    canvas.draw()
    return 255 - np.asarray(canvas.buffer_rgba())[..., :3]
