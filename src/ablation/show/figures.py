"""Figures of a study, one function each: tables and arrays in, a matplotlib Figure out.

Sized to be read at README width (about 900 pixels). A model family has one colour everywhere, and
no model has the blue and red that mean right and wrong.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ablation.base.console import STAND_IN, percent, points

MODEL_NAMES = {"mlp": "MLP", "cnn": "CNN"}
MODEL_COLOURS = {"mlp": "#6a51a3", "cnn": "#e08214"}
RIGHT, WRONG = "#0072b2", "#c1272d"
PART_COLOURS = {"train": "#525b66", "test": "#b4bcc6"}
INK, QUIET = "#30353b", "#7a828c"
WIDTH = 9.0  # inches; 900 pixels at the report's resolution and a README's scale


def class_distribution(counts: pd.DataFrame) -> Figure:
    """How many training and test characters every class has.

    Args:
        counts: columns character, train, test; one row a class, drawn in this order.
    """
    figure = _canvas(height=2.9)
    axes = figure.subplots()
    named = {part: f"{part} ({counts[part].sum():,})" for part in PART_COLOURS}
    parts = counts.rename(columns=named).melt("character", var_name="part", value_name="characters")
    sns.barplot(
        parts, x="character", y="characters", hue="part", ax=axes, width=0.82, linewidth=0,
        palette=list(PART_COLOURS.values()), saturation=1,
    )  # fmt: skip
    axes.set(xlabel=None)
    axes.set_title(f"Characters in each of the {len(counts)} classes", loc="left")
    axes.set_xlim(-0.8, len(counts) - 0.2)
    axes.grid(visible=False, axis="x")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    return figure


def class_samples(images: np.ndarray, names: Sequence[str], columns: int = 12) -> Figure:
    """One labelled sample of every class.

    Args:
        images: (k, height, width), white on black.
        names: (k,) the character each image shows.
        columns: samples in a row.
    """
    rows = -(-len(images) // columns)
    figure = _canvas(height=0.55 + 0.82 * rows)
    grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, image, name in zip(grid, images, names, strict=False):
        axes.imshow(image, cmap="gray_r")
        axes.set_title(name, fontsize=10, pad=2)
    figure.suptitle("The first training character of every class")
    return figure


def training_curves(curves: dict[str, pd.DataFrame]) -> Figure:
    """Loss and accuracy against epoch, training and validation, of one recipe for each model.

    Args:
        curves: model to a table with columns epoch, train_loss, validation_loss, train_accuracy and
            validation_accuracy.
    """
    figure = _canvas(height=5.2)
    grid = figure.subplots(2, len(curves), squeeze=False, sharey="row")
    for column, (model, table) in zip(grid.T, curves.items(), strict=True):
        for axes, quantity in zip(column, ("loss", "accuracy"), strict=True):
            for part, style in (("train", "--"), ("validation", "-")):
                label = "training" if part == "train" else part
                axes.plot(
                    table["epoch"], table[f"{part}_{quantity}"], style,
                    color=MODEL_COLOURS[model], label=label, alpha=0.65 if part == "train" else 1,
                )  # fmt: skip
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set(xlabel="epoch" if quantity == "accuracy" else None)
        column[0].set_title(f"{MODEL_NAMES[model]}, final recipe")
        column[0].legend(loc="upper right")
    grid[0, 0].set(ylabel="loss", ylim=(0, None))
    grid[1, 0].set(ylabel="accuracy")
    grid[1, 0].yaxis.set_major_formatter(_in_percent())
    return figure


def confusion_matrix(model: str, predictions: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Which characters are taken for which: each row the shares of one true class.

    Args:
        model: which family predicted.
        predictions: columns actual and predicted, one row a test character.
        names: every class, in the order to draw.
    """
    shares = pd.crosstab(predictions["actual"], predictions["predicted"], normalize="index")
    shares = shares.reindex(index=list(names), columns=list(names), fill_value=0.0)
    accuracy = (predictions["actual"] == predictions["predicted"]).mean()

    figure = _canvas(height=8.6)
    axes = figure.subplots()
    # The square root keeps the few per cent off the diagonal visible beside the 90 % on it.
    sns.heatmap(
        np.sqrt(shares), ax=axes, square=True, vmin=0, vmax=1,
        cmap=sns.blend_palette(["white", MODEL_COLOURS[model], "#26202b"], as_cmap=True),
        xticklabels=list(names), yticklabels=list(names), linewidths=0.4, linecolor="#edeff2",
        cbar_kws={"shrink": 0.5, "pad": 0.02, "label": "share of the true class"},
    )  # fmt: skip
    bar = axes.collections[0].colorbar
    assert bar is not None
    shown = np.array([0.01, 0.05, 0.1, 0.25, 0.5, 1.0])
    bar.set_ticks(np.sqrt(shown).tolist(), labels=[f"{100 * share:g} %" for share in shown])
    axes.tick_params(axis="both", labelsize=8.5, labelrotation=0, length=0, pad=2)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(f"{MODEL_NAMES[model]}: confusion matrix, test accuracy {percent(accuracy)}")
    return figure


def first_predictions(
    images: np.ndarray, actual: Sequence[str], predicted: dict[str, Sequence[str]]
) -> Figure:
    """The first test characters with each model's prediction: right in blue, wrong in red.

    Args:
        images: (n, height, width), white on black.
        actual: (n,) true characters.
        predicted: model to its (n,) predicted characters.
    """
    figure = _canvas(height=2.3 + 0.22 * len(predicted))
    for axes, image, truth, *answers in zip(
        figure.subplots(1, len(images)), images, actual, *predicted.values(), strict=True
    ):
        axes.imshow(image, cmap="gray_r")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"true: {truth}", fontsize=10.5)
        for line, (model, answer) in enumerate(zip(predicted, answers, strict=True)):
            axes.annotate(
                f"{MODEL_NAMES[model]}: {answer}", (0.5, 0), (0, -6 - 16 * line),
                xycoords="axes fraction", textcoords="offset points", ha="center", va="top",
                fontsize=11, fontweight="bold", color=RIGHT if answer == truth else WRONG,
            )  # fmt: skip
    figure.suptitle(f"The first {len(images)} test characters: right in blue, wrong in red")
    return figure


def accuracy_chain(chain: pd.DataFrame) -> Figure:
    """Validation accuracy after every stage, with each winner, its verdict and its gain.

    The bar around a point is the interval of the gain over the recipe the stage started from, whose
    accuracy is the short tick. A hollow point is a stage that kept its incumbent.

    Args:
        chain: columns model, technique, winner, verdict, val_accuracy, gain, gain_low, gain_high;
            rows in the order of the stages. An undefined gain or interval is NaN.
    """
    figure = _canvas(height=0.6 + 0.36 * len(chain) + 0.3 * chain["model"].nunique())
    models = list(chain["model"].unique())
    for axes, model in zip(_stacked(figure, len(models)), models, strict=True):
        rows = chain[chain["model"] == model].reset_index(drop=True)
        before = rows["val_accuracy"] - rows["gain"]
        kept = (rows["verdict"] != "adopted") & (rows.index > 0)
        places = np.arange(len(rows))
        axes.plot(rows["val_accuracy"], places, color=MODEL_COLOURS[model], alpha=0.35)
        axes.plot(before, places, "|", color=QUIET, markersize=9, markeredgewidth=1.2)
        _points(
            axes, MODEL_COLOURS[model], rows["val_accuracy"], before + rows["gain_low"],
            before + rows["gain_high"], filled=~kept,
        )  # fmt: skip
        _row_labels(
            axes,
            list(rows["technique"]),
            ["start of the chain"] + [_verdict_text(row) for row in rows[1:].itertuples()],
            list(rows["winner"]),
        )
        axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(_in_percent())
        axes.set_title(f"{MODEL_NAMES[model]}: validation accuracy along the chain", loc="left")
    axes.set_xlabel(
        "validation accuracy; bar: 95 % interval of the gain over where the stage started (tick)\n"
        "filled: adopted, hollow: the incumbent was kept"
    )
    return figure


def leave_one_out(gains: dict[str, pd.DataFrame]) -> Figure:
    """What each technique is worth in the final recipe, best first, the whole study below the line.

    Args:
        gains: model to a table with columns technique, baseline_setting, final_setting, gain,
            gain_low and gain_high; the row "all" is the final recipe against the baseline recipe.
    """
    height = 0.8 + sum(0.36 * len(table) + 0.3 for table in gains.values())
    figure = _canvas(height=height)
    for axes, (model, table) in zip(
        _stacked(figure, len(gains), sharex=True), gains.items(), strict=True
    ):
        rows = _ranked(table)
        changed = rows["baseline_setting"] != rows["final_setting"]
        changed |= rows["technique"] == "all"
        axes.axvline(0, color=QUIET, linewidth=1)
        axes.axhline(len(rows) - 1.5, color=QUIET, linewidth=0.8)
        _points(
            axes, MODEL_COLOURS[model], rows["gain"], rows["gain_low"], rows["gain_high"],
            filled=changed,
        )  # fmt: skip
        _row_labels(
            axes,
            ["whole study" if name == "all" else name for name in rows["technique"]],
            [
                _gain_text(row.gain, row.gain_low, row.gain_high) if moved else "unchanged"
                for moved, row in zip(changed, rows.itertuples(), strict=True)
            ],
            [_change_text(row.baseline_setting, row.final_setting) for row in rows.itertuples()],
        )
        axes.xaxis.set_major_formatter(_in_points())
        axes.set_title(
            f"{MODEL_NAMES[model]}: gain of each technique in the final recipe", loc="left"
        )
    axes.set_xlabel(
        "gain in validation accuracy, points; bar: 95 % interval, on repeats no stage selected on\n"
        "hollow: as in the baseline"
    )
    return figure


def comparison(models: pd.DataFrame, classes: pd.DataFrame, verdict: dict[str, float]) -> Figure:
    """MLP against CNN on the test set: accuracy with intervals, cost, and recall class by class.

    Args:
        models: columns model, accuracy, accuracy_low, accuracy_high, parameters, train_seconds and
            images_per_second.
        classes: columns class, mlp_recall, cnn_recall, difference (cnn minus mlp).
        verdict: difference, difference_low, difference_high (cnn minus mlp) and mcnemar_p.
    """
    figure = _canvas(height=5.6)
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=[1, 1.25]).ravel()
    accuracy, parameters, seconds, speed = top.subplots(1, 4, width_ratios=[1.7, 1, 1, 1])
    _accuracy_panel(accuracy, models)
    _cost_panel(parameters, models, "parameters", "parameters")
    _cost_panel(seconds, models, "train_seconds", "training, seconds")
    _cost_panel(speed, models, "images_per_second", "predicted images/s")
    _recall_panel(bottom, classes)
    figure.suptitle(difference_text(verdict))
    return figure


def reliability(curves: dict[str, pd.DataFrame], errors: dict[str, float]) -> Figure:
    """How often a model is right when it says it is sure, and how often it says so.

    Args:
        curves: model to a table with columns confidence, accuracy (means of a bin) and count.
        errors: model to its expected calibration error, a fraction.
    """
    figure = _canvas(height=3.9)
    right, often = figure.subplots(1, 2, width_ratios=[1.25, 1])
    right.plot([0, 1], [0, 1], ":", color=QUIET, linewidth=1.2, label="perfectly calibrated")
    for model, table in curves.items():
        colour = MODEL_COLOURS[model]
        label = f"{MODEL_NAMES[model]}, calibration error {percent(errors[model])}"
        right.plot(table["confidence"], table["accuracy"], "o-", color=colour, label=label)
        often.plot(table["confidence"], table["count"], "o-", color=colour)
    right.set(ylabel="test accuracy", ylim=(0, 1.02))
    right.set_title("Is a confident prediction a right one?", loc="left")
    right.legend(loc="upper left")
    right.yaxis.set_major_formatter(_in_percent())
    often.set(ylabel="test characters", yscale="log")
    often.set_title("How often is it that confident?", loc="left")
    for axes in (right, often):
        axes.set(xlabel="confidence of the prediction", xlim=(0, 1.02))
        axes.xaxis.set_major_formatter(_in_percent())
    return figure


def mark_stand_in(figure: Figure, dataset: str) -> Figure:
    """Say under a figure made from glyphs that it does not show real characters."""
    if dataset == "glyphs":
        figure.supxlabel(STAND_IN, fontsize=8.5, color=WRONG, style="italic")
    return figure


def difference_text(verdict: dict[str, float]) -> str:
    """The comparison in a line: how much more accurate the CNN is, and how surely.

    Args:
        verdict: difference, difference_low, difference_high (cnn minus mlp) and mcnemar_p.
    """
    gain = _gain_text(verdict["difference"], verdict["difference_low"], verdict["difference_high"])
    chance = verdict["mcnemar_p"]
    told = f"= {chance:.3f}" if chance >= 0.001 else "< 0.001"
    return f"CNN against MLP: {gain}, McNemar p {told}"


def _canvas(height: float) -> Figure:
    """A figure in the one style of this study; the font is the one that comes with matplotlib."""
    sns.set_theme(
        style="whitegrid",
        font="DejaVu Sans",
        rc={
            "font.size": 9.5,
            "axes.labelsize": 9.5,
            "axes.titlesize": 11,
            "axes.edgecolor": "#c8cdd3",
            "axes.linewidth": 0.8,
            "axes.labelcolor": INK,
            "figure.titlesize": 12,
            "grid.color": "#e7eaee",
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


def _stacked(figure: Figure, rows: int, *, sharex: bool = False) -> list[Axes]:
    return list(figure.subplots(rows, 1, squeeze=False, sharex=sharex).ravel())


def _points(
    axes: Axes, colour: str, centre: pd.Series, low: pd.Series, high: pd.Series, filled: pd.Series
) -> None:
    """One point a row, from the top down, with its interval where it is finite."""
    for place, (middle, left, right, full) in enumerate(
        zip(centre, low, high, filled, strict=True)
    ):
        if np.isfinite([left, right]).all():
            axes.plot([left, right], [place, place], color=colour, linewidth=1.6, alpha=0.75)
        axes.plot(
            middle, place, "o", markersize=7, color=colour,
            markerfacecolor=colour if full else "white", markeredgewidth=1.6,
        )  # fmt: skip


def _row_labels(
    axes: Axes, names: Sequence[str], headlines: Sequence[str], details: Sequence[str]
) -> None:
    """Names left of the rows; right of them a line of numbers above a quiet line of settings."""
    places = range(len(names))
    axes.set_yticks(list(places), labels=list(names))
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(visible=False, axis="y")
    for place, headline, detail in zip(places, headlines, details, strict=True):
        for text, shift, side, size, colour in (
            (headline, 1, "bottom", 8.5, INK),
            (detail, -1, "top", 8.0, QUIET),
        ):
            axes.annotate(
                text, (1.015, place), (0, shift), va=side, fontsize=size, color=colour,
                xycoords=axes.get_yaxis_transform(), textcoords="offset points",
            )  # fmt: skip


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Largest gain first, the row "all" last."""
    is_all = table["technique"] == "all"
    return pd.concat([table[~is_all].sort_values("gain", ascending=False), table[is_all]])


def _accuracy_panel(axes: Axes, models: pd.DataFrame) -> None:
    for place, row in enumerate(models.itertuples()):
        colour = MODEL_COLOURS[row.model]
        axes.plot([row.accuracy_low, row.accuracy_high], [place, place], color=colour)
        axes.plot(row.accuracy, place, "o", color=colour, markersize=7)
        axes.annotate(
            percent(row.accuracy), (row.accuracy, place), (0, 7), textcoords="offset points",
            ha="center", fontsize=9.5, color=colour, fontweight="bold",
        )  # fmt: skip
    axes.set_yticks(range(len(models)), labels=[MODEL_NAMES[model] for model in models["model"]])
    axes.set_ylim(len(models) - 0.5, -0.6)
    axes.margins(x=0.18)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(_in_percent())
    axes.set_title("test accuracy, 95 % interval", fontsize=9.5)


def _cost_panel(axes: Axes, models: pd.DataFrame, column: str, title: str) -> None:
    bars = axes.bar(
        [MODEL_NAMES[model] for model in models["model"]],
        models[column],
        color=[MODEL_COLOURS[model] for model in models["model"]],
        width=0.6,
    )
    axes.bar_label(bars, labels=[_short(value) for value in models[column]], fontsize=9, padding=2)
    axes.margins(y=0.16)
    axes.grid(visible=False)
    axes.yaxis.set_major_locator(NullLocator())
    axes.set_title(title, fontsize=9.5)


def _recall_panel(figure: SubFigure, classes: pd.DataFrame) -> None:
    rows = classes.sort_values("difference", ascending=False, kind="stable")
    axes = figure.subplots()
    better = [MODEL_COLOURS["cnn" if gain >= 0 else "mlp"] for gain in rows["difference"]]
    axes.bar(range(len(rows)), rows["difference"], color=better, width=0.75)
    axes.axhline(0, color=QUIET, linewidth=1)
    axes.xaxis.set_major_locator(FixedLocator(range(len(rows))))
    axes.set_xticklabels(list(rows["class"]))
    axes.set_xlim(-0.8, len(rows) - 0.2)
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_formatter(_in_points())
    axes.set_ylabel("difference in points")
    axes.set_title("recall of each class, CNN minus MLP (above 0 the CNN is better)", fontsize=9.5)


def _in_percent() -> FuncFormatter:
    return FuncFormatter(lambda fraction, _: f"{round(100 * fraction, 6):g} %")


def _in_points() -> FuncFormatter:
    return FuncFormatter(lambda fraction, _: f"{round(100 * fraction, 6):g}")


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.3g} M"
    return f"{value / 1e3:.3g} k" if value >= 1e4 else f"{value:,.0f}"


def _gain_text(gain: float, low: float, high: float) -> str:
    if not np.isfinite(gain):
        return ""
    if not np.isfinite([low, high]).all():
        return f"{points(gain)} points"
    return f"{points(gain)} points [{points(low)}, {points(high)}]"


def _verdict_text(row: Any) -> str:
    if row.verdict != "adopted":
        return str(row.verdict)
    return f"adopted, {_gain_text(row.gain, row.gain_low, row.gain_high)}"


def _change_text(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"
