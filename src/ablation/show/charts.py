"""The tables behind the charts of `dvc plots show`, one function each: tables in, a table out.

Each table holds everything that its template in .dvc/plots draws: panels, colours, text and
coordinates. Marks far outside a panel are drawn at its edge, labelled with their true value.
"""

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from ablation.base.formatting import counted, percent, short
from ablation.show.style import (
    INK,
    LINES,
    MOST_CLASSES,
    change_text,
    family_colours,
    family_title,
    gain_text,
    untested_text,
)

MOST_LINES = 8
FAR = 5  # larger multiples of the typical distance are off scale
LEAST = 0.001  # minimum reach of a panel to either side of 0
NEAR = 0.015  # smaller gains are always drawn to scale
EDGE = 0.06  # of a panel's width: distance of off-scale marks from the others
LABEL_GAP = 0.055  # of a panel's height: minimum distance between the labels of lines


def chain(stages: pd.DataFrame) -> pd.DataFrame:
    """Validation accuracy along the chain, with each winner, its verdict and its interval.

    Args:
        stages: columns model, stage, winner, verdict, accuracy, gain, low, high, in the order
            of the chain; gain and interval are NaN where nothing was tested.
    """
    before = stages["accuracy"] - stages["gain"].fillna(0)
    start = ~stages["model"].duplicated()
    adopted = stages["verdict"] == "adopted"
    table = stages.assign(
        row=stages.groupby("model").cumcount(),
        name=stages["stage"],
        role=np.where(adopted | start, "adopted", "kept"),
        before=before,
        low=(before + stages["low"]).fillna(stages["accuracy"]),
        high=(before + stages["high"]).fillna(stages["accuracy"]),
        said=[
            f"adopted, {gain_text(row.gain, row.low, row.high)}" if row.verdict == "adopted"
            else "start" if first else row.verdict
            for first, row in zip(start, stages.itertuples(), strict=True)
        ],
        detail=[f"{row.winner}, {percent(row.accuracy)}" for row in stages.itertuples()],
    )  # fmt: skip
    columns = ["row", "name", "role", "accuracy", "before", "low", "high", "said", "detail"]
    return _panels({model: rows[columns] for model, rows in table.groupby("model", sort=False)})


def gains(candidates: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The gain of each contender over the incumbent, which is the first row.

    Args:
        candidates: model to the candidates.csv of one stage.
    """
    return _panels({model: _contenders(table) for model, table in candidates.items()})


def leave_one_out(worth: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The gain of each technique in the final recipe; untested techniques are labelled as such.

    Args:
        worth: model to its leave_one_out/gains.csv.
    """
    return _panels({model: _techniques(table) for model, table in worth.items()})


def curves(
    candidates: Mapping[str, pd.DataFrame], epochs: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Validation accuracy per epoch: the winner, the incumbent, the best of each candidate.

    Args:
        candidates: model to the candidates.csv of one stage.
        epochs: model to the curves.csv of the same stage.
    """
    shown = {model: drawn_rows(table) for model, table in candidates.items()}
    names = pd.concat(table[1:] for table in shown.values())["candidate"].unique()
    colours = {name: LINES[place % len(LINES)] for place, name in enumerate(names)}
    return _panels({model: _lines(shown[model], epochs[model], colours) for model in shown})


def confusion(predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Confusion matrices, normalised over each true class; cells without predictions are omitted.

    If there are very many classes, only those with the most errors are included.

    Args:
        predictions: model to a table with columns actual and predicted, one row per test character.
    """
    return _panels({model: _pairs(table) for model, table in predictions.items()})


def hardest(predictions: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """The classes with the most errors, at most `MOST_CLASSES`, in label order.

    An error counts for both the true and the predicted class.

    Args:
        predictions: columns actual and predicted.
        classes: all classes, in label order.
    """
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    errors = pd.concat([wrong["actual"], wrong["predicted"]]).value_counts()
    counts = errors.reindex(list(classes), fill_value=0)
    kept = {*counts.sort_values(ascending=False, kind="stable").index[:MOST_CLASSES]}
    return [name for name in classes if name in kept]


def drawn_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of candidates.csv whose curves are drawn.

    The incumbent (the first row), the winner, and the best setting of each candidate; at most
    `MOST_LINES`, so that the lines remain distinguishable.
    """
    needed = (table.index == 0) | (table["role"] == "winner")
    best = table.sort_values(["won_grid", "accuracy"], ascending=False).drop_duplicates("candidate")
    others = best[~needed[best.index]][: MOST_LINES - needed.sum()]
    return table[needed | table.index.isin(others.index)]


def file_names(techniques: Sequence[str]) -> list[str]:
    """File names that sort in the order of the chain: 0-baseline, 1-scheduler."""
    digits = len(str(len(techniques) - 1))
    return [f"{place:0{digits}}-{technique}" for place, technique in enumerate(techniques)]


def _panels(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Concatenate tables, one panel per family; rows without a colour get their family's."""
    colours = family_colours(tables)
    return pd.concat(
        pd.DataFrame(
            {"panel": place, "model": family_title(model), "colour": colours[model]} | dict(table)
        )
        for place, (model, table) in enumerate(tables.items())
    )


def _contenders(table: pd.DataFrame) -> pd.DataFrame:
    gain = table["gain"].where(table.index > 0, 0.0)
    drawn = _placed(table.assign(name=table["setting"], gain=gain))
    rows = table.astype(object).fillna({"finding": ""}).assign(size=_sizes(table))
    drawn["detail"] = [_remarks(row) for row in rows.to_dict("records")]
    drawn.loc[0, "said"] = "incumbent"
    return drawn


def _sizes(table: pd.DataFrame) -> pd.Series:
    """The size of each network as text; empty if all have the same size."""
    sizes = table["parameters"].map(lambda count: f"{short(count)} parameters")
    return sizes if sizes.nunique() > 1 else pd.Series("", table.index)


def _techniques(table: pd.DataFrame) -> pd.DataFrame:
    whole, tested = table["technique"] == "all", table["gain"].notna()
    drawn = _placed(
        table.assign(
            name=table["technique"].mask(whole, "all changes"),
            role=np.where(whole, "winner", np.where(tested, "candidate", "unchanged")),
        )
    )
    changes = zip(table["baseline_setting"], table["final_setting"], strict=True)
    drawn["detail"] = [change_text(before, after) for before, after in changes]
    drawn.loc[~tested, "said"] = table.loc[~tested, "failed"].map(untested_text)
    return drawn


def _placed(table: pd.DataFrame) -> pd.DataFrame:
    """Coordinates and labels of gains and their intervals.

    Missing intervals get length 0, and missing gains are placed at 0.
    """
    failure = _failures(table)
    left, right = _window(table[failure == ""])
    outside = (failure != "") | (table["gain"] < left)
    edge = left - EDGE * (right - left)
    at = table["gain"].fillna(0).clip(left, right).mask(outside, edge)
    said = [gain_text(row.gain, row.low, row.high) for row in table.itertuples()]
    return pd.DataFrame(
        {
            "row": range(len(table)),
            "name": table["name"],
            "role": table["role"].mask(outside, "outside"),
            "at": at,
            "start": table["low"].clip(left, right).mask(outside).fillna(at),
            "end": table["high"].clip(left, right).mask(outside).fillna(at),
            "said": failure.where(failure != "", pd.Series(said, table.index)),
        }
    )


def _window(table: pd.DataFrame) -> tuple[float, float]:
    """The range of gains to draw, which holds most of them and their intervals."""
    reach = max(_reach(table["gain"].abs(), table["gain"].max()), NEAR)
    near = table[table["gain"] >= -reach]
    left = near[["gain", "low"]].min(axis=None)
    right = near[["gain", "high"]].max(axis=None)
    return min(left, -LEAST), max(right, LEAST)


def _reach(distances: pd.Series, best: float = 0.0) -> float:
    """The largest distance drawn to scale: a multiple of the lower quartile, or of the best."""
    quarter = distances[distances > 0].quantile(0.25, "lower")
    return FAR * float(np.nanmax([quarter, best, LEAST]))


def _failures(table: pd.DataFrame) -> pd.Series:
    """`collapsed` or `diverged` for each row; empty if its training succeeded."""
    words = pd.Series("", table.index)
    for word in ("collapsed", "diverged"):
        if word in table:
            words = words.mask(table[word].astype(bool), word)
    return words


def _remarks(row: dict[Hashable, Any]) -> str:
    remarks = [
        "winner" if row["role"] == "winner" else "",
        row["size"],
        f"only {counted(row['repeats'], 'repeat')}" if row["raced_out"] else "",
        "at the edge of its grid" if row["won_grid"] and row["grid_edge"] else "",
        row.get("finding", ""),
    ]
    return ", ".join(remark for remark in remarks if remark)


def _lines(shown: pd.DataFrame, epochs: pd.DataFrame, colours: Mapping[str, str]) -> pd.DataFrame:
    """The curves of rows, from where they enter the panel; the last epoch has the label."""
    bottom, top = _heights(shown, epochs["validation_accuracy"])
    ends = shown["accuracy"].clip(bottom, top)
    words = _failures(shown)
    lines = shown.assign(
        name=shown["setting"],
        colour=shown["candidate"].map(colours).mask(shown.index == 0, INK),
        score=words.where(words != "", shown["accuracy"].map(percent)),
        label_at=_spread(ends, LABEL_GAP * (top - bottom)),
    )
    lines = lines.rename(columns={"accuracy": "ending"}).merge(epochs, on="setting")
    lowest = lines[::-1].groupby("setting")["validation_accuracy"].cummin()
    near = (lowest >= bottom) | (lines["ending"] < bottom)
    last = lines["epoch"] == lines.groupby("setting")["epoch"].transform("max")
    role = lines["role"].where(lines["role"] != "candidate", "")
    label = (lines["name"] + " " + lines["score"] + " " + role).str.strip()
    drawn = lines.assign(
        accuracy=lines["validation_accuracy"],
        at=lines["validation_accuracy"].clip(bottom, top),
        label=label.where(last, ""),
    )
    columns = ["name", "role", "colour", "score", "epoch", "accuracy", "at", "label", "label_at"]
    return drawn.loc[near | last, columns]


def _heights(shown: pd.DataFrame, accuracies: pd.Series) -> tuple[float, float]:
    """The range of accuracies to draw: that of the final ones, and three times as much below."""
    scores = shown["accuracy"][_failures(shown) == ""]
    behind = scores.max() - scores
    depth = behind[behind <= _reach(behind)].max()
    top = accuracies.max()
    return max(accuracies.min(), scores.max() - 4 * max(depth, 0.02)), top


def _spread(places: pd.Series, gap: float) -> pd.Series:
    """Move places down until each is at least a gap below the one above it."""
    spread = places.sort_values(ascending=False)
    for above, below in pairwise(spread.index):
        spread[below] = min(spread[below], spread[above] - gap)
    return spread


def _pairs(table: pd.DataFrame) -> pd.DataFrame:
    shown = hardest(table, sorted({*table["actual"], *table["predicted"]}))
    pairs = table.groupby(["actual", "predicted"]).size().rename("characters").reset_index()
    of_class = pairs.groupby("actual")["characters"].transform("sum")
    pairs = pairs.assign(share=pairs["characters"] / of_class)
    return pairs[pairs["actual"].isin(shown) & pairs["predicted"].isin(shown)]
