"""The tables of a study in Markdown, one function each, for the report and docs/.

Gains are percentage points with 95 % intervals, bold where the whole interval lies above zero.
"""

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from string import ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd

from ablation.base.formatting import markdown, percent, points, short
from ablation.judge.evaluation import look_alike_errors
from ablation.show import style
from ablation.show.study import Study
from ablation.show.style import family_title

MINUTE = 60
# What is found of an incumbent, by what is found of the setting that takes its place.


def answer(study: Study) -> str:
    """The gain of each technique in the final recipe, for each family.

    For techniques that the chain changed, the result of leave-one-out; for the others, the best
    alternative to the baseline's setting, as measured by its stage.
    """
    worth = {model: worth_of(study, model) for model in study.models}
    techniques = next(iter(worth.values())).index
    rows = [
        ["all changes" if name == "all" else name]
        + [_worth_cell(study, model, table.loc[name]) for model, table in worth.items()]
        for name in techniques
    ]
    return markdown(["technique", *titles(study)], rows)


def worth_of(study: Study, model: str) -> pd.DataFrame:
    """The leave-one-out gain of each technique, and of all changes in the last row, `all`."""
    return study.table(f"plots/{model}/leave_one_out/gains.csv").set_index("technique")


def shares(study: Study) -> str:
    """Shapley values of the changed techniques, the total gain, and pairwise interactions."""
    named = zip(titles(study), study.models, strict=True)
    return shares_of({title: (study, model) for title, model in named})


def shares_of(families: Mapping[str, tuple[Study, str]]) -> str:
    """The same for families of several studies.

    Args:
        families: head of the column to the study and the family.
    """
    columns = {}
    kinds: list[dict[str, None]] = [{}, {}, {}]
    for head, (study, model) in families.items():
        parts = study.table(f"plots/{model}/leave_one_out/shapley.csv").set_index("technique")
        pairs = study.table(f"plots/{model}/leave_one_out/interactions.csv")
        pairs.index = pd.Index(pairs["first"] + " x " + pairs["second"])
        whole = worth_of(study, model).loc[["all"]].rename({"all": "all changes"})
        for names, table in zip(kinds, (parts, whole, pairs), strict=True):
            names.update(dict.fromkeys(table.index))
        rows = pd.concat([parts, whole, pairs])[["gain", "low", "high"]]
        columns[head] = {name: gain_with_interval(row) for name, row in rows.iterrows()}
    rows = [
        [name, *(column.get(name, "") for column in columns.values())]
        for names in kinds
        for name in names
    ]
    return markdown(["technique", *columns], rows)


def chain(study: Study) -> str:
    """The winner and the verdict of each stage, for each family."""
    concluded = {model: chain_of(study, model) for model in study.models}
    techniques = next(iter(concluded.values())).index
    rows = [
        [name, *(_chain_cell(table.loc[name]) for table in concluded.values())]
        for name in techniques
    ]
    return markdown(["stage", *titles(study)], rows)


def chain_of(study: Study, model: str) -> pd.DataFrame:
    """The rows of chain.csv for one family, indexed by stage."""
    together = study.chain()
    return together[together["model"] == model].set_index("stage")


def every_setting(study: Study, technique: str, model: str) -> str:
    """A stage's ranking of all settings, including every point of a grid."""
    return _ranking(_candidates(study, technique, model), _seconds(study, technique, model))


def scores(study: Study) -> str:
    """The accuracy of each released model, and the gain of its recipe over the baseline."""
    models = study.table("plots/comparison/models.csv")
    gains = [gain_with_interval(over_baseline(study, model)) for model in models["model"]]
    rows = [["accuracy", *_accuracies(models)], ["points over the baseline", *gains]]
    return markdown([f"on the test {study.things}", *titles(study)], rows)


def test(study: Study) -> str:
    """The test results of each released model, and its cost."""
    models = study.table("plots/comparison/models.csv").set_index("model")
    times = pd.DataFrame(
        {model: study.table(f"data/times/{model}/test.csv").iloc[0] for model in models.index}
    ).T
    lines = {
        "accuracy of the released model (95 % interval)": _accuracies(models),
        "final recipe over all seeds: mean, spread": _with_spread(models, "seeds"),
        "baseline recipe over all seeds: mean, spread": _with_spread(models, "baseline"),
        "final recipe over the baseline recipe": [
            gain_with_interval(over_baseline(study, model)) for model in models.index
        ],
        "top-2 accuracy": map(percent, models["top2"]),
        "macro precision": map(percent, models["precision"]),
        "macro recall": map(percent, models["recall"]),
        "macro F1": map(percent, models["f1"]),
        "expected calibration error": map(percent, models["calibration_error"]),
        "parameters": (f"{count:,}" for count in models["parameters"]),
        "training, one core or GPU": (f"{seconds:.0f} s" for seconds in times["train_seconds"]),
        "prediction, one core": (f"{rate:,.0f} images/s" for rate in times["images_per_second"]),
    }
    rows = [[head, *cells] for head, cells in lines.items()]
    return markdown([f"on the test {study.things}", *titles(study)], rows)


def calibration(study: Study) -> str:
    """The calibration of each released model, before and after division by its temperature."""
    models = study.table("plots/comparison/models.csv")
    rows = [
        [head, *(_before_and_after(row, name, form) for _, row in models.iterrows())]
        for head, name, form in (
            ("expected calibration error", "calibration_error", percent),
            ("Brier score", "brier_score", "{:.4f}".format),
            ("log-likelihood, nats", "log_likelihood", "{:.4f}".format),
        )
    ]
    rows.insert(0, ["temperature", *(f"{each:.2f}" for each in models["temperature"])])
    return markdown([f"on the test {study.things}", *titles(study)], rows)


def _before_and_after(row: pd.Series, name: str, form: Callable[[float], str]) -> str:
    return f"{form(row[f'{name}_before'])} before, {form(row[name])} after"


def over_baseline(study: Study, model: str) -> pd.Series:
    """Gain in test accuracy of the final recipe over the baseline recipe, over all seeds."""
    numbers = study.numbers(f"metrics/{model}/test_over_baseline.json")
    return pd.Series(numbers).reindex(["gain", "low", "high"])


def pairs(study: Study) -> str:
    """Each pair of families on the same test characters: recipes, and released models."""
    table = study.table("plots/comparison/pairs.csv")
    rows = [
        [
            f"{family_title(row['second'])} minus {family_title(row['first'])}",
            gain_with_interval(row),
            points(row["released"]),
            f"{row['mcnemar_p']:.2g}",
        ]
        for _, row in table.iterrows()
    ]
    heads = ["pair", "final recipes, over all seeds", "released models", "their McNemar p"]
    return markdown(heads, rows)


def agreement(study: Study) -> str:
    """How often all models, some of them, or none are correct."""
    table = study.table("plots/comparison/agreement.csv")
    name = re.compile(rf"\b({'|'.join(map(re.escape, study.models))})\b")
    rows = [
        [
            name.sub(lambda found: family_title(found[0]), row.outcome),
            f"{row.count:,}",
            percent(row.share),
        ]
        for row in tuples(table)
    ]
    return markdown(["outcome", study.things, "share"], rows)


def look_alikes(study: Study) -> str:
    """The share of each model's errors that are between look-alikes."""
    table = study.table("plots/comparison/ambiguous.csv")
    shares = table.pivot(index="group", columns="model", values="share_of_errors")
    groups = [*dict.fromkeys(table["group"])]
    rows = [
        ["total" if group == "all" else group]
        + [f"{100 * shares.loc[group, model]:.1f} %" for model in study.models]
        for group in groups
    ]
    return markdown(["look-alikes", *(f"of the {title}'s errors" for title in titles(study))], rows)


def kinds(study: Study) -> str:
    """Number of errors between look-alikes, between the cases of a letter, and others."""
    columns = [
        kinds_of_errors(predictions, study.dataset.look_alikes)
        for predictions in study.tables("test/predictions.csv").values()
    ]
    rows = [[kind, *(_share_of_errors(column, kind) for column in columns)] for kind in columns[0]]
    return markdown(["errors", *(f"the {title}'s" for title in titles(study))], rows)


def kinds_of_errors(predictions: pd.DataFrame, look_alikes: Mapping[str, str]) -> dict[str, int]:
    """Number of one model's errors by kind; errors between look-alikes count only as such.

    Args:
        predictions: columns actual and predicted, one row per test character.
        look_alikes: name of a group to its characters; no character is in two groups.
    """
    cases = {
        letter: letter + letter.lower()
        for letter in ascii_uppercase
        if not any({letter, letter.lower()} <= {*group} for group in look_alikes.values())
    }
    actual, predicted = predictions["actual"], predictions["predicted"]
    alike, case = (
        int(look_alike_errors(actual, predicted, groups)["errors"].iloc[-1])
        for groups in (look_alikes, cases)
    )
    errors = int((actual != predicted).sum())
    return {
        "between look-alikes": alike,
        "between upper and lower case of one letter": case,
        "others: the shapes differ": errors - alike - case,
        "all": errors,
    }


def confused(study: Study) -> str:
    """The pairs of classes that each model confuses most often."""
    columns = [
        [f"{plain(row.first)} / {plain(row.second)}: {row.errors}" for row in tuples(table)]
        for table in study.tables("test/confused.csv").values()
    ]
    return markdown(titles(study), zip_longest(*columns, fillvalue=""))


def times(study: Study) -> str:
    """Number and time of each stage's trainings, and the hardware that they ran on.

    The trainings of an incumbent are counted in the stage that ran them.
    """
    stages = [*chain_of(study, study.models[0]).index, "leave_one_out", "fit"]
    made = {stage: [_new_times(study, model, stage) for model in study.models] for stage in stages}
    made["total"] = [pd.concat(tables) for tables in zip(*made.values(), strict=True)]
    rows = [
        [stage, *(cell for table in tables for cell in _time_cells(table)), _computed_on(tables)]
        for stage, tables in made.items()
    ]
    heads = [head for title in titles(study) for head in (f"{title}: trainings", "minutes")]
    alike = len({row[-1] for row in rows}) == 1
    return markdown(
        ["stage", *heads, "computed on"][: -alike or None], [row[: -alike or None] for row in rows]
    )


def names_in_pictures(study: Study) -> str:
    """The display names in pictures of classes whose names cannot be drawn."""
    displayed = style.names_in_pictures(study.classes())
    rows = [[plain(other), plain(name)] for name, other in displayed.items() if other != name]
    return markdown(["in pictures", "class"], rows) if rows else ""


def plain(name: str) -> str:
    """Escape a name for Markdown."""
    return re.sub(r"([\\`*_\[\]#~$])", r"\\\1", html.escape(name, quote=False))


def titles(study: Study) -> list[str]:
    """Display names of the families."""
    return [*map(family_title, study.models)]


def gain_with_interval(row: pd.Series) -> str:
    """`+0.31 (+0.10 to +0.52)` in percentage points; bold if the whole interval is above 0."""
    if pd.isna(row["gain"]):
        return "not tested"
    if pd.isna(row["low"]):
        return points(row["gain"])
    said = f"{points(row['gain'])} ({bounds(row['low'], row['high'], points)})"
    return f"**{said}**" if row["low"] > 0 else said


def bounds(low: float, high: float, say: Callable[[float], str]) -> str:
    """`84.49 to 86.14 %`, `-0.10 to +0.20`: the unit is given once."""
    return f"{say(low).removesuffix(' %')} to {say(high)}"


def tuples(table: pd.DataFrame) -> Iterable[Any]:
    """The rows of a table as named tuples."""
    rows: Iterable[Any] = table.itertuples(index=False)
    return rows


def _worth_cell(study: Study, model: str, row: pd.Series) -> str:
    if row.name == "all":
        return gain_with_interval(row) if pd.notna(row["gain"]) else "nothing changed"
    before, after = row["baseline_setting"], row["final_setting"]
    if before == after:
        return f"`{after}` kept; {_best_of_the_others(study, model, str(row.name))}"
    found = "without it the training fails" if pd.isna(row["gain"]) else gain_with_interval(row)
    return f"`{before}` → `{after}`: {found}"


def _best_of_the_others(study: Study, model: str, technique: str) -> str:
    """The best alternative to the setting that was kept, as measured by its last stage."""
    stage = study.last_stage(model, technique)
    table = _candidates(study, stage, model)
    others = others_of(table, study.table(f"plots/{model}/{stage}/trials.csv"))
    if others.empty:
        return (
            "nothing else was tried" if len(table) == 1 else "only other learning rates were tried"
        )
    others = others[~failed(others)]
    if others.empty:
        return "all others failed"
    finished = others[others["repeats"] == table["repeats"].max()]
    best = others.loc[(others if finished.empty else finished)["gain"].idxmax()]
    return f"`{best['setting']}`: {gain_with_interval(best)}"


def others_of(candidates: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """The settings of a stage that have not won, with their gains over the winner.

    The winner at another learning rate is no other setting. A stage estimates gains over its
    incumbent; if that was replaced, it is as much worse as the winner is better, and the gains of
    the others have no interval.

    Args:
        candidates: as in candidates.csv.
        trials: as in trials.csv.
    """
    won = candidates[candidates["role"] == "winner"].iloc[0]
    replaced = candidates["role"] == "incumbent"
    if replaced.any():
        scores = trials.pivot(index="repeat", columns="setting", values="score")
        gains = scores.sub(scores[won["setting"]], axis=0).mean()
        mirrored = {"gain": -won["gain"], "low": -won["high"], "high": -won["low"]}
        candidates = candidates.assign(
            gain=candidates["setting"].map(gains).mask(replaced, mirrored["gain"]),
            low=np.where(replaced, mirrored["low"], np.nan),
            high=np.where(replaced, mirrored["high"], np.nan),
        )
    label, rate, _ = str(won["setting"]).partition(" lr=")
    same = candidates["setting"].str.startswith(f"{label} lr=") & bool(rate)
    return candidates[(candidates["role"] != "winner") & ~same]


def _candidates(study: Study, technique: str, model: str) -> pd.DataFrame:
    return study.table(f"plots/{model}/{technique}/candidates.csv")


def failed(candidates: pd.DataFrame) -> pd.Series:
    """Whether each setting diverged or collapsed."""
    marks = candidates.reindex(columns=["diverged", "collapsed"], fill_value=False)
    return marks.astype(bool).any(axis=1)


def _chain_cell(row: pd.Series) -> str:
    if row.name == "baseline":
        return f"start: {percent(row['accuracy'])}"
    if pd.isna(row["gain"]):
        return f"{row['verdict']} `{row['winner']}`"
    gain = gain_with_interval(row)
    return f"{row['verdict']} `{row['winner']}`: {percent(row['accuracy'])}, {gain}"


def _seconds(study: Study, technique: str, model: str) -> pd.Series:
    """Setting to the mean time of one training, in seconds."""
    times = study.table(f"data/times/{model}/{technique}.csv")
    return times.groupby("setting")["train_seconds"].mean()


def _ranking(candidates: pd.DataFrame, seconds: pd.Series) -> str:
    """Settings by descending gain over the incumbent; those that failed come last."""
    place = candidates["gain"].where(candidates.index > 0, 0.0).mask(failed(candidates))
    ranked = candidates.loc[place.sort_values(ascending=False, kind="stable").index]
    rows = [
        {
            "setting": f"`{row['setting']}`"
            + ("" if row["role"] == "candidate" else f", {row['role']}"),
            "accuracy": percent(row["accuracy"]),
            "gain": gain_cell(row, incumbent=place == 0),
            "repeats": str(row["repeats"]),
            "parameters": short(row["parameters"]),
            "seconds": f"{seconds[row['setting']]:.1f}",
        }
        for place, row in ranked.astype(object).fillna({"finding": ""}).iterrows()
    ]
    table = pd.DataFrame(rows)
    if candidates["parameters"].nunique() == 1:
        table = table.drop(columns="parameters")
    return markdown(table.columns, table.to_numpy())


def gain_cell(row: pd.Series, *, incumbent: bool) -> str:
    """`+0.31 (+0.10 to +0.52), better`; `diverged` or `collapsed` if it failed."""
    failed_as = [word for word in ("diverged", "collapsed") if row.get(word, False)]
    if failed_as or incumbent:
        return failed_as[0] if failed_as else ""
    finding = row.get("finding", "")
    return gain_with_interval(row) + (f", {finding}" if finding else "")


def _accuracies(models: pd.DataFrame) -> list[str]:
    return [
        f"**{percent(row.accuracy)}** ({bounds(row.low, row.high, percent)})"
        for row in models.itertuples()
    ]


def _with_spread(models: pd.DataFrame, which: str) -> list[str]:
    """`85.06 %, 0.14`: mean and standard deviation over the seeds, if there are several."""
    numbers = zip(models[f"{which}_mean"], models[f"{which}_spread"], strict=True)
    return [
        percent(mean) + ("" if pd.isna(spread) else f", {100 * spread:.2f}")
        for mean, spread in numbers
    ]


def _share_of_errors(errors: Mapping[str, int], kind: str) -> str:
    return f"{errors[kind]:,} ({100 * errors[kind] / max(errors['all'], 1):.1f} %)"


def _new_times(study: Study, model: str, stage: str) -> pd.DataFrame:
    table = study.table(f"data/times/{model}/{stage}.csv")
    if stage in ("baseline", "leave_one_out", "fit"):
        return table
    return table[table["setting"] != table["setting"].iloc[0]]


def _time_cells(table: pd.DataFrame) -> tuple[str, str]:
    return str(len(table)), f"{table['train_seconds'].sum() / MINUTE:.1f}"


def _computed_on(tables: Sequence[pd.DataFrame]) -> str:
    """`AMD EPYC (Zen 5), bf16`; several if a stage ran on different hardware."""
    together = pd.concat(tables)
    return "; ".join((together["computer"] + ", " + together["precision"]).unique())
