"""Figures of a study, one function each: tables and arrays in, a matplotlib Figure out.

Sized for the width of a README, about 900 pixels, in the style of style.py. Models are in the order
of params.yaml, which determines their colours.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator

from ablation.base.formatting import percent, points
from ablation.show.charts import hardest
from ablation.show.style import (
    DARKEST,
    EDGE,
    GRID,
    INK,
    MOST_CLASSES,
    PARTS,
    QUIET,
    RIGHT,
    WRONG,
    are_words,
    canvas,
    family_colours,
    family_title,
    in_percent,
    in_points,
)

SAMPLE_BLOCKS = 3  # columns of classes
MISTAKES_IN_ROW = 6


def class_distribution(counts: pd.DataFrame, things: str = "characters") -> Figure:
    """Number of training and test characters in each class.

    Args:
        counts: columns character, train, test; one row per class, in display order.
        things: what the images are called.
    """
    figure = canvas(height=2.9)
    axes = figure.subplots()
    named = {part: f"{part} ({counts[part].sum():,})" for part in PARTS}
    parts = counts.rename(columns=named).melt("character", var_name="part", value_name="characters")
    sns.barplot(
        parts, x="character", y="characters", hue="part", ax=axes, width=0.82, linewidth=0,
        palette=list(PARTS.values()), saturation=1,
    )  # fmt: skip
    axes.set(xlabel=None, ylabel=things)
    axes.set_title(f"{things.capitalize()} in each of the {len(counts):,} classes", loc="left")
    axes.set_xlim(-0.8, len(counts) - 0.2)
    if len(counts) > MOST_CLASSES:
        axes.set_xticks([])
        axes.set(xlabel="class, in the order of data/classes.csv")
    elif are_words(counts["character"]):
        axes.tick_params(axis="x", labelrotation=90)
    axes.grid(visible=False, axis="x")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return figure


def class_samples(
    images: np.ndarray, labels: np.ndarray, classes: Sequence[str], things: str = "characters"
) -> Figure:
    """Samples of each class, one row per class; of very many classes, only the first ones.

    Args:
        images: (n, height, width), white on black; bright pixels are drawn dark.
        labels: (n,) indices into the classes, ascending.
        classes: (k,) class names, in label order.
        things: what the images are called.
    """
    each = int(np.bincount(labels).max())
    shown = classes[:MOST_CLASSES]
    blocks = np.array_split(
        np.arange(len(shown)), min(SAMPLE_BLOCKS - are_words(shown), len(shown))
    )
    figure = canvas(height=0.6 + 0.27 * len(blocks[0]))
    for axes, block in zip(figure.subplots(1, len(blocks), squeeze=False)[0], blocks, strict=True):
        rows = [_row(images[labels == label][:each], each) for label in block]
        height = images.shape[1]
        axes.imshow(np.concatenate(rows), cmap="gray_r")
        middles = height * (np.arange(len(block)) + 0.5) - 0.5
        axes.set_yticks(middles, labels=[classes[label] for label in block], fontsize=10)
        axes.set_xticks([])
        axes.set_ylim(height * len(blocks[0]) - 0.5, -0.5)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
    every = (
        "every class" if len(shown) == len(classes) else f"{len(shown)} of {len(classes):,} classes"
    )
    figure.suptitle(f"The first {each} training {things} of {every}")
    return figure


def training_curves(curves: dict[str, pd.DataFrame]) -> Figure:
    """Training and validation accuracy per epoch, of one recipe for each model.

    Args:
        curves: model to a table with columns epoch, train_accuracy and validation_accuracy.
    """
    figure = canvas(height=2.9)
    grid = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    colours = family_colours(curves)
    for axes, (model, table) in zip(grid, curves.items(), strict=True):
        for part, style in (("train", "--"), ("validation", "-")):
            accuracy = table[f"{part}_accuracy"]
            label = f"{'training' if part == 'train' else part}, {percent(accuracy.iloc[-1])}"
            axes.plot(table["epoch"], accuracy, style, color=colours[model], label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        axes.set(xlabel="epoch")
        axes.set_title(f"{family_title(model)}, final recipe", loc="left")
        axes.legend(loc="lower right")
    grid[0].set(ylabel="accuracy")
    grid[0].yaxis.set_major_formatter(in_percent())
    return figure


def confusion_matrix(
    model: str, colour: str, predictions: pd.DataFrame, names: Sequence[str]
) -> Figure:
    """Confusion matrix, normalised over each true class.

    Args:
        model: the family.
        colour: its colour.
        predictions: columns actual and predicted, one row per test character.
        names: all classes, in display order; of very many, only those with the most errors are
            drawn.
    """
    hard = {*hardest(predictions, names)}
    drawn = [name for name in names if name in hard]
    shares = pd.crosstab(predictions["actual"], predictions["predicted"], normalize="index")
    shares = shares.reindex(index=drawn, columns=drawn, fill_value=0.0)
    accuracy = (predictions["actual"] == predictions["predicted"]).mean()

    words = are_words(drawn)
    figure = canvas(height=6.4 if words else 7.1)  # a smaller square leaves more room beside it
    axes = figure.subplots()
    # The square root keeps the few per cent off the diagonal visible beside the 90 % on it.
    sns.heatmap(
        np.sqrt(shares), ax=axes, square=True, vmin=0, vmax=1,
        cmap=sns.blend_palette(["white", colour, DARKEST], as_cmap=True),
        xticklabels=drawn, yticklabels=drawn, linewidths=0.4, linecolor=GRID,
        cbar_ax=axes.inset_axes((1.03, 0.6, 0.025, 0.4)),
        cbar_kws={"label": "share of the true class"},
    )  # fmt: skip
    bar = axes.collections[0].colorbar
    assert bar is not None
    shown = np.array([0.01, 0.05, 0.1, 0.25, 0.5, 1.0])
    bar.set_ticks(np.sqrt(shown).tolist(), labels=[f"{100 * share:g} %" for share in shown])
    size = min(12, 400 / len(drawn))
    axes.tick_params(axis="both", labelsize=size, labelrotation=0, length=0, pad=2)
    if words:
        axes.tick_params(axis="x", labelrotation=90)
    axes.set(xlabel="predicted", ylabel="true")
    part = "" if len(drawn) == len(names) else f" of the {len(drawn)} classes with the most errors"
    axes.set_title(
        f"{family_title(model)}: confusion matrix{part}, test accuracy {percent(accuracy)}"
    )
    _call_out(axes, _worst_pairs(predictions), drawn)
    return figure


def first_predictions(
    shown: dict[str, dict[str, np.ndarray]], things: str = "characters"
) -> Figure:
    """The first test characters with each model's prediction: correct in blue, wrong in red.

    Args:
        shown: model to images (n, height, width), as for `class_samples`, and to actual, predicted
            and confidence, (n,) each; the images are the same for all models.
        things: what the images are called.
    """
    first = next(iter(shown.values()))
    words = are_words(
        name
        for each in shown.values()
        for column in ("actual", "predicted")
        for name in each[column]
    )
    # Line spacing and font size in points, separator of guess and confidence, inches per line.
    step, size, comma, line_height = (28, 8.5, "\n", 0.48) if words else (16, 10, ", ", 0.32)
    figure = canvas(height=(2.2 if words else 2.1) + line_height * len(shown))
    for place, axes in enumerate(figure.subplots(1, len(first["images"]))):
        truth = first["actual"][place]
        _picture(axes, first["images"][place])
        axes.set_title(f"true: {truth}", fontsize=size if words else 10.5)
        for line, (model, answers) in enumerate(shown.items()):
            guess, confidence = answers["predicted"][place], answers["confidence"][place]
            axes.annotate(
                f"{family_title(model)}: {guess}{comma}{_confidence_text(confidence)}", (0.5, 0),
                (0, -6 - step * line), xycoords="axes fraction",
                textcoords="offset points", ha="center", va="top", fontsize=size, fontweight="bold",
                color=RIGHT if guess == truth else WRONG,
            )  # fmt: skip
    figure.suptitle(
        f"The first {len(first['images'])} test {things}, with each model's confidence: "
        "correct in blue, wrong in red"
    )
    return figure


def worst_mistakes(model: str, shown: dict[str, np.ndarray]) -> Figure:
    """The most confident mistakes of a model: true class, predicted class and confidence.

    Args:
        model: the family.
        shown: images (n, height, width), as for `class_samples`, and actual, predicted and
            confidence, (n,) each, in descending order of confidence; n may be 0.
    """
    rows = max(1, -(-len(shown["images"]) // MISTAKES_IN_ROW))
    figure = canvas(height=0.4 + 1.95 * rows)
    grid = figure.subplots(rows, MISTAKES_IN_ROW, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    words = are_words([*shown["actual"], *shown["predicted"]])
    columns = (shown[name] for name in ("images", "actual", "predicted", "confidence"))
    for axes, (image, truth, guess, confidence) in zip(
        grid, zip(*columns, strict=True), strict=False
    ):
        _picture(axes, image)
        axes.set_title(f"true: {truth}", fontsize=8.5 if words else 10, pad=3)
        axes.annotate(
            f"predicted: {guess}\n{percent(confidence)}", (0.5, 0), (0, -4),
            xycoords="axes fraction", textcoords="offset points", ha="center", va="top",
            fontsize=8 if words else 9, color=WRONG,
        )  # fmt: skip
    title = "its most confident mistakes" if len(shown["images"]) else "no mistakes"
    figure.suptitle(f"{family_title(model)}: {title}")
    return figure


def accuracy_chain(chain: pd.DataFrame) -> Figure:
    """Validation accuracy after every stage, with the gains of those that replaced their incumbent.

    The bar around a point is the interval of the gain over the recipe that the stage started from;
    the tick is that recipe's accuracy. Stages that kept the incumbent have hollow points.

    Args:
        chain: columns model, stage, verdict, accuracy, gain, low and high; rows in the order of
            the stages, the same for all models. Gain and interval are NaN if nothing was tested.
    """
    colours = family_colours(chain["model"].unique())
    names = list(chain["stage"].unique())
    figure = canvas(height=1.2 + 0.32 * len(names))
    grid = figure.subplots(1, len(colours), sharey=True, squeeze=False)[0]
    for axes, (model, colour) in zip(grid, colours.items(), strict=True):
        rows = chain[chain["model"] == model].reset_index(drop=True)
        before = rows["accuracy"] - rows["gain"]
        axes.plot(rows["accuracy"], rows.index, color=colour, alpha=0.35)
        axes.plot(before, rows.index, "|", color=QUIET, markersize=9, markeredgewidth=1.2)
        axes.hlines(rows.index, before + rows["low"], before + rows["high"], color=colour)
        for row in rows.itertuples():
            left = row.verdict == "adopted" or not row.Index
            axes.plot(
                row.accuracy, row.Index, "o", markersize=7, color=colour,
                markerfacecolor=colour if left else "white", markeredgewidth=1.6,
            )  # fmt: skip
            if row.verdict == "adopted":
                axes.annotate(
                    points(row.gain), (row.accuracy, row.Index), (0, 6), ha="center", fontsize=8.5,
                    textcoords="offset points",
                )  # fmt: skip
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(in_percent())
        axes.set_title(family_title(model), loc="left")
    grid[0].set_yticks(range(len(names)), labels=names)
    grid[0].set_ylim(len(names) - 0.5, -0.7)
    figure.suptitle(
        "Validation accuracy along the chain. Filled: adopted, with its gain in points and its "
        "95 % interval.\nTick: accuracy before. Hollow: the incumbent was kept.",
        x=0.01, ha="left", fontsize=9.5,
    )  # fmt: skip
    return figure


def worth(rows: dict[str, pd.DataFrame], title: str) -> Figure:
    """Gains of techniques, a row for each technique and in it a line for each model.

    Args:
        rows: model to a table, see `charts.worth_rows`; the names are the same for all models.
        title: of the figure.
    """
    names = list(next(iter(rows.values()))["name"])
    figure = canvas(height=1.1 + (0.19 * len(rows) + 0.1) * len(names))
    axes = figure.subplots()
    axes.axvline(0, color=QUIET, linewidth=1)
    step = 1 / (len(rows) + 0.6)
    colours = family_colours(rows)
    for place, (model, table) in enumerate(rows.items()):
        heights = np.arange(len(names)) + step * (place - (len(rows) - 1) / 2)
        axes.hlines(heights, table["low"], table["high"], color=colours[model], linewidth=1.6)
        axes.plot(
            table["gain"], heights, "o", color=colours[model], markersize=6,
            label=family_title(model),
        )  # fmt: skip
        for height, row in zip(heights, table.itertuples(), strict=True):
            tested = row.role != "unchanged"
            axes.annotate(
                f"{family_title(model)}  {row.said}  {row.detail}" if row.said else "",
                (1.015, height), xycoords=axes.get_yaxis_transform(), va="center", fontsize=8,
                color=INK if tested else QUIET,
            )  # fmt: skip
    axes.set_yticks(range(len(names)), labels=names)
    for place, pair in enumerate(pairwise(names)):
        axes.axhline(place + 0.5, color=QUIET if "all changes" in pair else GRID, linewidth=0.8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(in_points())
    axes.set_xlabel("gain in validation accuracy, points; line: 95 % interval, on fresh repeats")
    axes.set_title(title, loc="left", pad=24)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=len(rows), borderpad=0)
    return figure


def recalls(classes: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Recall of each class, the hardest first.

    Args:
        classes: column class, and one with the recall of each model, named as the model.
        models: the families.
    """
    colours = family_colours(models)
    worst = classes[[*models]].mean(axis=1).argsort(kind="stable")
    rows = classes.iloc[worst][:MOST_CLASSES].reset_index(drop=True)
    figure = canvas(height=2.9)
    axes = figure.subplots()
    columns = rows[[*models]]
    axes.vlines(rows.index, columns.min(axis=1), columns.max(axis=1), color=EDGE)
    for model, colour in colours.items():
        axes.plot(rows.index, rows[model], "o", color=colour, label=family_title(model))
    axes.xaxis.set_major_locator(FixedLocator(list(rows.index)))
    axes.set_xticklabels(list(rows["class"]), rotation=90 if are_words(rows["class"]) else 0)
    axes.set_xlim(-0.8, len(rows) - 0.2)
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_formatter(in_percent())
    every = "each class" if len(rows) == len(classes) else f"the {len(rows)} hardest classes"
    axes.set_title(f"Recall of {every} on the test set, the hardest first", loc="left")
    axes.legend(loc="lower right")
    return figure


def reliability(
    curves: dict[str, pd.DataFrame], errors: dict[str, float], things: str = "characters"
) -> Figure:
    """Accuracy against confidence, and how often each confidence occurs.

    Args:
        curves: model to a table with columns confidence, accuracy (means of a bin) and count.
        errors: model to its expected calibration error, a fraction.
        things: what the images are called.
    """
    figure = canvas(height=3.9)
    right, often = figure.subplots(1, 2, width_ratios=[1.25, 1])
    right.plot([0, 1], [0, 1], ":", color=QUIET, linewidth=1.2, label="perfectly calibrated")
    colours = family_colours(curves)
    for model, table in curves.items():
        colour = colours[model]
        label = f"{family_title(model)}, calibration error {percent(errors[model])}"
        right.plot(table["confidence"], table["accuracy"], "o-", color=colour, label=label)
        often.plot(table["confidence"], table["count"], "o-", color=colour)
    right.set(ylabel="test accuracy", ylim=(0, 1.02))
    right.set_title("Are confident predictions correct?", loc="left")
    right.legend(loc="upper left")
    right.yaxis.set_major_formatter(in_percent())
    often.set(ylabel=f"test {things}", yscale="log")
    often.set_title("How often is each confidence predicted?", loc="left")
    for axes in (right, often):
        axes.set(xlabel="confidence of the prediction", xlim=(0, 1.02))
        axes.xaxis.set_major_formatter(in_percent())
    return figure


def add_note(figure: Figure, note: str) -> Figure:
    """Add a note about the data below a figure, unless it is empty."""
    if note:
        figure.supxlabel(note, fontsize=8.5, color=WRONG, style="italic")
    return figure


def _row(images: np.ndarray, length: int) -> np.ndarray:
    """Concatenate images horizontally, padded to `length` images."""
    count, height, width = images.shape
    row = np.zeros((height, length * width), dtype=images.dtype)
    row[:, : count * width] = images.transpose(1, 0, 2).reshape(height, count * width)
    return row


def _picture(axes: Axes, image: np.ndarray) -> None:
    axes.set_axis_on()
    axes.imshow(image, cmap="gray_r")
    axes.set_xticks([])
    axes.set_yticks([])


def _confidence_text(confidence: float) -> str:
    """0.9871 -> 98.7 %"""
    return f"{100 * confidence:.1f} %"


def _worst_pairs(predictions: pd.DataFrame) -> pd.DataFrame:
    """The ten most frequent mistakes: actual, predicted, errors."""
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    pairs = wrong.groupby(["actual", "predicted"]).size().rename("errors").reset_index()
    return pairs.nlargest(10, "errors")


def _call_out(axes: Axes, pairs: pd.DataFrame, names: list[str]) -> None:
    """Outline pairs in the matrix, and list them beside it."""
    for pair in pairs[pairs[["actual", "predicted"]].isin(names).all(axis=1)].itertuples():
        corner = names.index(pair.predicted), names.index(pair.actual)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=WRONG, linewidth=1.3))
    words = are_words(names)
    taken_for, size = ("→", 8) if words else ("taken for", 9)
    lines = [
        f"{pair.actual} {taken_for} {pair.predicted}: {pair.errors}" for pair in pairs.itertuples()
    ]
    axes.annotate(
        "\n".join([f"Worst pairs{', true → predicted' if words else ''}", *lines]), (1.03, 0.45),
        xycoords="axes fraction", va="top", fontsize=size, linespacing=1.5,
    )  # fmt: skip
