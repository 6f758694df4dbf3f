"""Figures of a study, one function each: tables and arrays in, a matplotlib Figure out.

Sized for the width of a README, about 900 pixels, in the style of style.py. Models are in the order
of params.yaml, which determines their colours.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from ablation.base.formatting import percent, points, short
from ablation.show.charts import hardest
from ablation.show.style import (
    DARKEST,
    EDGE,
    GRID,
    MOST_CLASSES,
    PARTS,
    QUIET,
    RIGHT,
    WRONG,
    are_words,
    canvas,
    change_text,
    family_colours,
    family_title,
    gain_text,
    in_percent,
    in_points,
    interval_points,
    row_labels,
    stacked,
    untested_text,
)  # fmt: skip

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
    """Training and validation loss and accuracy per epoch, of one recipe for each model.

    Args:
        curves: model to a table with columns epoch, train_loss, validation_loss, train_accuracy and
            validation_accuracy.
    """
    figure = canvas(height=5.2)
    grid = figure.subplots(2, len(curves), squeeze=False, sharey="row")
    colours = family_colours(curves)
    for column, (model, table) in zip(grid.T, curves.items(), strict=True):
        for axes, quantity in zip(column, ("loss", "accuracy"), strict=True):
            for part, style in (("train", "--"), ("validation", "-")):
                label = "training" if part == "train" else part
                axes.plot(
                    table["epoch"], table[f"{part}_{quantity}"], style,
                    color=colours[model], label=label, alpha=0.65 if part == "train" else 1,
                )  # fmt: skip
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set(xlabel="epoch" if quantity == "accuracy" else None)
        column[0].set_title(f"{family_title(model)}, final recipe")
        column[0].legend(loc="upper right")
    grid[0, 0].set(ylabel="loss", ylim=(0, None))
    grid[1, 0].set(ylabel="accuracy")
    grid[1, 0].yaxis.set_major_formatter(in_percent())
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
    drawn = hardest(predictions, names)
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
    size = 8.5 * min(1, 47 / len(drawn))
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
    """Validation accuracy after every stage, with each winner, its verdict and its gain.

    The bar around a point is the interval of the gain over the recipe that the stage started from;
    the tick is that recipe's accuracy. Stages that kept the incumbent have hollow points.

    Args:
        chain: columns model, technique, winner, verdict, accuracy, gain, low, high;
            rows in the order of the stages. Gain and interval are NaN if nothing was tested.
    """
    figure = canvas(height=0.6 + 0.36 * len(chain) + 0.3 * chain["model"].nunique())
    colours = family_colours(chain["model"].unique())
    for axes, (model, colour) in zip(stacked(figure, len(colours)), colours.items(), strict=True):
        rows = chain[chain["model"] == model].reset_index(drop=True)
        before = rows["accuracy"] - rows["gain"]
        kept = (rows["verdict"] != "adopted") & (rows.index > 0)
        places = np.arange(len(rows))
        axes.plot(rows["accuracy"], places, color=colour, alpha=0.35)
        axes.plot(before, places, "|", color=QUIET, markersize=9, markeredgewidth=1.2)
        interval_points(
            axes, colour, rows["accuracy"], before + rows["low"],
            before + rows["high"], filled=~kept,
        )  # fmt: skip
        row_labels(
            axes,
            list(rows["stage"]),
            ["start of the chain"] + [_verdict_text(row) for row in rows[1:].itertuples()],
            list(rows["winner"]),
        )
        axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(in_percent())
        axes.set_title(f"{family_title(model)}: validation accuracy along the chain", loc="left")
    axes.set_xlabel(
        "validation accuracy; bar: 95 % interval of the gain over the start of the stage (tick)\n"
        "filled: adopted, hollow: the incumbent was kept"
    )
    return figure


def leave_one_out(gains: dict[str, pd.DataFrame]) -> Figure:
    """The gain of each technique in the final recipe, best first; all changes below the line.

    Args:
        gains: model to a table with columns technique, baseline_setting, final_setting, gain,
            low, high and failed, the three numbers NaN if the setting is the baseline's or the
            recipe fails without the technique; the row "all" is the final recipe against the
            baseline recipe.
    """
    height = 0.8 + sum(0.36 * len(table) + 0.3 for table in gains.values())
    figure = canvas(height=height)
    colours = family_colours(gains)
    for axes, (model, table) in zip(
        stacked(figure, len(gains), sharex=True), gains.items(), strict=True
    ):
        rows = _ranked(table)
        axes.axvline(0, color=QUIET, linewidth=1)
        axes.axhline(len(rows) - 1.5, color=QUIET, linewidth=0.8)
        interval_points(
            axes, colours[model], rows["gain"], rows["low"], rows["high"],
            filled=rows["gain"].notna(),
        )  # fmt: skip
        row_labels(
            axes,
            ["all changes" if name == "all" else name for name in rows["technique"]],
            [
                gain_text(row.gain, row.low, row.high) or untested_text(row.failed)
                for row in rows.itertuples()
            ],
            [change_text(row.baseline_setting, row.final_setting) for row in rows.itertuples()],
        )
        axes.xaxis.set_major_formatter(in_points())
        axes.set_title(
            f"{family_title(model)}: gain of each technique in the final recipe", loc="left"
        )
    axes.set_xlabel(
        "gain in validation accuracy, points; bar: 95 % interval, on fresh repeats\n"
        "unchanged: the setting is the baseline's, so there is nothing to test"
    )
    return figure


def shares(
    gains: dict[str, pd.DataFrame],
    shapley: dict[str, pd.DataFrame],
    interactions: dict[str, pd.DataFrame],
) -> Figure:
    """Shapley values of the techniques, which add up to the total gain, and interactions.

    Args:
        gains: model to the table of `leave_one_out`, for the settings and the total gain.
        shapley: model to a table with columns technique, gain, low and high.
        interactions: model to a table with columns first, second, gain, low and high.
    """
    rows = sum(len(shapley[model]) + 1 + len(interactions[model]) for model in gains)
    figure = canvas(height=0.9 + 0.36 * rows + 0.4 * len(gains))
    colours = family_colours(gains)
    for axes, (model, table) in zip(
        stacked(figure, len(gains), sharex=True), gains.items(), strict=True
    ):
        _share_rows(axes, colours[model], table, shapley[model], interactions[model])
        axes.xaxis.set_major_formatter(in_points())
        axes.set_title(f"{family_title(model)}: shares of the gain of all changes", loc="left")
    beyond = "; x: beyond the sum of both" if any(map(len, interactions.values())) else ""
    axes.set_xlabel(
        "gain in validation accuracy, points; line: 95 % interval, on fresh repeats\n"
        f"share: mean gain over the orders of adding the techniques{beyond}"
    )
    return figure


def comparison(models: pd.DataFrame, classes: pd.DataFrame, pairs: pd.DataFrame) -> Figure:
    """The families on the test set: accuracy, mean over seeds, size, and recall of each class.

    Args:
        models: columns model, accuracy, low, high, parameters, seeds_mean and seeds_spread.
        classes: column class, and one with the recall of each model, named as the model.
        pairs: see `pair_texts`.
    """
    figure = canvas(height=4.9 + 0.25 * len(models) + 0.2 * len(pairs))
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=[1, 1.25]).ravel()
    accuracy, seeds, parameters = top.subplots(1, 3, width_ratios=[1.4, 1.4, 1])
    middle, spread = models["seeds_mean"], models["seeds_spread"]
    _score_panel(
        accuracy, models, models["accuracy"], models["low"], models["high"],
        "test accuracy, 95 % interval",
    )  # fmt: skip
    _score_panel(
        seeds, models, middle, middle - spread, middle + spread,
        "mean of the seeds, standard deviation",
    )  # fmt: skip
    _size_panel(parameters, models)
    _recall_panel(bottom, classes, family_colours(models["model"]))
    figure.suptitle("\n".join(pair_texts(pairs)))
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


def pair_texts(pairs: pd.DataFrame) -> list[str]:
    """One line per pair of families: the gain of the second over the first, with its interval.

    Args:
        pairs: columns first, second; gain (second minus first), low and high of their recipes over
            all seeds; released, of their released models, and mcnemar_p of that.
    """
    return [
        f"{family_title(pair.second)} against {family_title(pair.first)}: "
        f"{gain_text(pair.gain, pair.low, pair.high)}, all seeds; "
        f"released: {points(pair.released)}, McNemar p "
        + (f"= {pair.mcnemar_p:.3f}" if pair.mcnemar_p >= 0.001 else "< 0.001")
        for pair in pairs.itertuples()
    ]


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


def _share_rows(
    axes: Axes,
    colour: str,
    gains: pd.DataFrame,
    shapley: pd.DataFrame,
    interactions: pd.DataFrame,
) -> None:
    """A waterfall of the shares, the total gain, and a point for each interaction."""
    settings = gains.set_index("technique")
    whole = settings.loc[["all"]].rename_axis("technique").reset_index()
    pairs = [f"{row.first} x {row.second}" for row in interactions.itertuples()]
    bars = pd.concat([shapley, whole[shapley.columns]], ignore_index=True)
    starts = bars["gain"].cumsum().shift(fill_value=0.0)
    starts.iloc[-1] = 0.0
    axes.axvline(0, color=QUIET, linewidth=1)
    axes.barh(bars.index, bars["gain"], left=starts, color=colour, alpha=0.35, height=0.6)
    axes.axhline(len(shapley) - 0.5, color=QUIET, linewidth=0.8)
    every = pd.concat([bars, interactions], ignore_index=True)
    shift = starts.reindex(every.index, fill_value=0.0)
    interval_points(
        axes, colour, every["gain"] + shift, every["low"] + shift, every["high"] + shift,
        filled=every.index < len(bars),
    )  # fmt: skip
    changes = [
        change_text(*settings.loc[name, ["baseline_setting", "final_setting"]])
        for name in bars["technique"]
    ]
    row_labels(
        axes,
        [*shapley["technique"], "all changes", *pairs],
        [
            gain_text(row.gain, row.low, row.high)
            or ("unknown: a recipe failed" if len(shapley) else "unchanged")
            for row in every.itertuples()
        ],
        [*changes, *["beyond the sum of both"] * len(pairs)],
    )


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """In descending order of gain, the row "all" last."""
    is_all = table["technique"] == "all"
    return pd.concat([table[~is_all].sort_values("gain", ascending=False), table[is_all]])


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


def _score_panel(
    axes: Axes, models: pd.DataFrame, centre: pd.Series, low: pd.Series, high: pd.Series, title: str
) -> None:
    colours = family_colours(models["model"])
    for place, colour in enumerate(colours.values()):
        axes.plot([low[place], high[place]], [place, place], color=colour)
        axes.plot(centre[place], place, "o", color=colour, markersize=7)
        axes.annotate(
            percent(centre[place]), (centre[place], place), (0, 7), textcoords="offset points",
            ha="center", fontsize=9.5, color=colour, fontweight="bold",
        )  # fmt: skip
    axes.set_yticks(range(len(models)), labels=[family_title(model) for model in colours])
    axes.set_ylim(len(models) - 0.5, -0.6)
    axes.margins(x=0.2)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(in_percent())
    axes.set_title(title, fontsize=9.5)


def _size_panel(axes: Axes, models: pd.DataFrame) -> None:
    colours = family_colours(models["model"])
    titles = [family_title(model) for model in colours]
    bars = axes.barh(titles, models["parameters"], color=list(colours.values()), height=0.5)
    axes.bar_label(bars, labels=[short(count) for count in models["parameters"]], padding=3)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.5 * models["parameters"].max())
    axes.grid(visible=False)
    axes.xaxis.set_major_locator(NullLocator())
    axes.set_title("parameters", fontsize=9.5)


def _recall_panel(figure: SubFigure, classes: pd.DataFrame, colours: dict[str, str]) -> None:
    models = list(colours)
    worst = classes[models].mean(axis=1).argsort(kind="stable")
    rows = classes.iloc[worst][:MOST_CLASSES].reset_index(drop=True)
    axes = figure.subplots()
    axes.vlines(rows.index, rows[models].min(axis=1), rows[models].max(axis=1), color=EDGE)
    for model, colour in colours.items():
        axes.plot(rows.index, rows[model], "o", color=colour, label=family_title(model))
    axes.xaxis.set_major_locator(FixedLocator(list(rows.index)))
    axes.set_xticklabels(list(rows["class"]), rotation=90 if are_words(rows["class"]) else 0)
    axes.set_xlim(-0.8, len(rows) - 0.2)
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_formatter(in_percent())
    every = "each class" if len(rows) == len(classes) else f"the {len(rows)} hardest classes"
    axes.set_title(f"recall of {every}, the hardest first", fontsize=9.5)
    axes.legend(loc="lower right")


def _verdict_text(row: Any) -> str:
    if row.verdict != "adopted":
        return str(row.verdict)
    return f"adopted, {gain_text(row.gain, row.low, row.high)}"
