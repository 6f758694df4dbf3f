"""The tables behind the charts of `dvc plots show`, one function each: tables in, a table out.

A table says all that its template in .dvc/plots draws: each family's panel, the colours, the words
and the place of every mark. What lies far outside a panel stands at its edge, with its true value
beside it.
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
FAR = 5  # times the distance that the nearer ones have: out of the panel
LEAST = 0.001  # a tenth of a point: no panel is narrower
NEAR = 0.015  # a gain of so few points is never far out
EDGE = 0.06  # of a panel's width: how far beside the others stands what is far outside
LABEL_GAP = 0.055  # of a panel's height; the lines' names do not touch


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
    """Every contender's gain over the incumbent, which is the first row.

    Args:
        candidates: model to its table of a stage, as in candidates.csv.
    """
    return _panels({model: _contenders(table) for model, table in candidates.items()})


def leave_one_out(worth: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What every technique is worth in the final recipe; one that was not tested says so.

    Args:
        worth: model to its table, as in leave_one_out/gains.csv.
    """
    return _panels({model: _techniques(table) for model, table in worth.items()})


def curves(
    candidates: Mapping[str, pd.DataFrame], epochs: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Validation accuracy against epoch: the winner, the incumbent, the best of each candidate.

    Args:
        candidates: model to its table of a stage, as in candidates.csv.
        epochs: model to its table of the same stage, as in curves.csv.
    """
    shown = {model: told_apart(table) for model, table in candidates.items()}
    names = pd.concat(table[1:] for table in shown.values())["candidate"].unique()
    colours = {name: LINES[place % len(LINES)] for place, name in enumerate(names)}
    return _panels({model: _lines(shown[model], epochs[model], colours) for model in shown})


def confusion(predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What each true class was taken for, as shares of it; no row for what never happened.

    Of very many classes, those with the most errors.

    Args:
        predictions: model to a table with columns actual and predicted, one row a test character.
    """
    return _panels({model: _pairs(table) for model, table in predictions.items()})


def hardest(predictions: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """The classes with the most errors, as many as a picture has room for, in their own order.

    An error counts for the true class and for the one that it was taken for.

    Args:
        predictions: columns actual and predicted.
        classes: all of them.
    """
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    errors = pd.concat([wrong["actual"], wrong["predicted"]]).value_counts()
    counts = errors.reindex(list(classes), fill_value=0)
    kept = {*counts.sort_values(ascending=False, kind="stable").index[:MOST_CLASSES]}
    return [name for name in classes if name in kept]


def told_apart(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of candidates.csv whose curves are drawn; the incumbent is the first.

    The winner, and the best setting of each candidate, as far as so many lines can be told apart.
    """
    needed = (table.index == 0) | (table["role"] == "winner")
    best = table.sort_values(["won_grid", "accuracy"], ascending=False).drop_duplicates("candidate")
    others = best[~needed[best.index]][: MOST_LINES - needed.sum()]
    return table[needed | table.index.isin(others.index)]


def file_names(techniques: Sequence[str]) -> list[str]:
    """Names that sort in the order of the chain: 0-baseline, 1-scheduler."""
    digits = len(str(len(techniques) - 1))
    return [f"{place:0{digits}}-{technique}" for place, technique in enumerate(techniques)]


def _panels(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One table, a panel a family; what has no colour of its own is drawn in its family's."""
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
    told = table.astype(object).fillna({"finding": ""}).assign(size=_sizes(table))
    drawn["detail"] = [_remarks(row) for row in told.to_dict("records")]
    drawn.loc[0, "said"] = "incumbent"
    return drawn


def _sizes(table: pd.DataFrame) -> pd.Series:
    """How large each network is in words; empty where all are of one size."""
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
    """Where every gain and its interval are drawn, and what stands beside them.

    What has no interval gets one of no length, and what has no gain stands at 0.
    """
    broken = _broken(table)
    left, right = _window(table[broken == ""])
    outside = (broken != "") | (table["gain"] < left)
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
            "said": broken.where(broken != "", pd.Series(said, table.index)),
        }
    )


def _window(table: pd.DataFrame) -> tuple[float, float]:
    """From where to where gains are drawn: far enough for most of them and their intervals."""
    reach = max(_reach(table["gain"].abs(), table["gain"].max()), NEAR)
    near = table[table["gain"] >= -reach]
    left = near[["gain", "low"]].min(axis=None)
    right = near[["gain", "high"]].max(axis=None)
    return min(left, -LEAST), max(right, LEAST)


def _reach(distances: pd.Series, best: float = 0.0) -> float:
    """How far is far: a multiple of what a quarter of the distances keep to, or of the best."""
    quarter = distances[distances > 0].quantile(0.25, "lower")
    return FAR * float(np.nanmax([quarter, best, LEAST]))


def _broken(table: pd.DataFrame) -> pd.Series:
    """What went wrong with a row's trainings in a word; empty where nothing did."""
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
    """The epochs of the rows shown, from where they come near; the last one names its line."""
    bottom, top = _heights(shown, epochs["validation_accuracy"])
    ends = shown["accuracy"].clip(bottom, top)
    words = _broken(shown)
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
    """The part of the curves that is drawn: where they end, and three times as much below."""
    scores = shown["accuracy"][_broken(shown) == ""]
    behind = scores.max() - scores
    depth = behind[behind <= _reach(behind)].max()
    top = accuracies.max()
    return max(accuracies.min(), scores.max() - 4 * max(depth, 0.02)), top


def _spread(places: pd.Series, gap: float) -> pd.Series:
    """The same places, each moved down until it is at least a gap below the one above it."""
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
