"""The report of a search: all techniques at once, against the chain."""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablation.base.files import write_bytes
from ablation.base.formatting import counted, markdown, percent, points
from ablation.judge.evaluation import FINAL, fits_of, recipe_difference
from ablation.show import charts, figures, tables
from ablation.show.answer import join
from ablation.show.report import save_picture
from ablation.show.story import PAGE, embedded, markup, render, without_charts
from ablation.show.study import Study
from ablation.show.style import LINES, QUIET, canvas, family_title, in_percent
from ablation.show.tables import bounds, failed, gain_cell, gain_with_interval
from ablation.trial.recipe import TECHNIQUES

FOLDER = Path("search")
PICTURES = FOLDER / "plots/pictures"
TEMPLATE = Path(__file__).with_name("search.md.jinja")
TITLE = "Does a staged ablation lose to a search over all techniques at once?"
CHAIN = "chain"
BEST = 0.2  # the share of the draws that counts as good
FEWEST = 5  # good draws, of which shares are told
RESAMPLES = 200
INNER = (0.1, 0.9)
SEED = 0
ROOM = 0.25  # above and below the scores of a picture

# What a finding of the contest answers to the question; {} is the gain over the chain.
ANSWERS = {
    "better": "the search is better. Its answer gains {} over the chain's final recipe",
    "worse": "the chain is better. The search's answer gains {} over the chain's final recipe",
    "practically equal": "both are equal. The search's answer gains {} over the chain's final "
    "recipe, which makes no practical difference",
    "within the noise": "undecided. The search's answer gains {} over the chain's final recipe, "
    "which is within the noise",
    "unsteady": "undecided. The search's answer gains {} over the chain's final recipe, but the "
    "scores vary too much",
    "unknown": "undecided. The search's answer gains {} over the chain's final recipe, but one "
    "repeat does not show the noise",
    "diverged": "the chain is better. The search's answer diverged on a fresh repeat",
    "collapsed": "the chain is better. The search's answer collapsed on fresh repeats",
    "chain failed": "the search is better. The chain's final recipe failed on fresh repeats, but "
    "the search's answer did not",
    "both failed": "undecided. Both final recipes failed on fresh repeats",
}


@dataclass(frozen=True)
class SearchFiles:
    """The files of a search, beside those of the study.

    Attributes:
        study: the chain's files.
        strategies: in the order of params.yaml; the winner of the last one is the answer.
        costs: model to what the chain spent: columns stage, accuracy, score, trainings and spent.
        epochs: model to those of each draw and of the chain's final recipe.
    """

    study: Study
    strategies: tuple[str, ...]
    costs: dict[str, pd.DataFrame]
    epochs: dict[str, tuple[int, int]]

    @property
    def models(self) -> tuple[str, ...]:
        return self.study.models

    @cached_property
    def own(self) -> Study:
        """The files that the search wrote."""
        study = self.study
        return replace(study, root=study.root / FOLDER, pipeline=f"{FOLDER}/dvc.yaml:")

    def contest(self, model: str) -> pd.DataFrame:
        """The rows of contest.csv, by the name of the entry."""
        table = self.own.table(f"plots/{model}/contest/contest.csv")
        return table.set_index("entry")

    def draws(self, model: str, strategy: str) -> pd.DataFrame:
        """The rows of draws.csv, settings as text."""
        table = self.own.table(f"plots/{model}/{strategy}/draws.csv")
        techniques = [name for name in TECHNIQUES if name in table]
        return table.astype(dict.fromkeys(techniques, str))

    def numbers(self, model: str, strategy: str) -> dict[str, Any]:
        """The content of a strategy's metrics."""
        return self.own.numbers(f"metrics/{model}/{strategy}.json")

    def spent(self, model: str, strategy: str) -> float:
        """What a strategy has spent, with its finalists."""
        return float(self.numbers(model, strategy)["spent"])


def write_search_report(searched: SearchFiles) -> list[Path]:
    """Write `search/report.md`, `search/report.html` and their pictures.

    Returns:
        The paths of the two reports.

    Raises:
        UserError: a file of the study or of the search is missing.
    """
    root = searched.study.root
    for name, figure in _pictures(searched).items():
        save_picture(figure, searched.study.note, root / PICTURES / f"{name}.png")
    facts = _facts(searched)
    relative = PICTURES.relative_to(FOLDER)
    host = render(
        TEMPLATE,
        facts | {"html": False, "picture": lambda name, said: f"![{said}]({relative}/{name}.png)"},
    )
    browser = render(
        TEMPLATE,
        facts
        | {
            "html": True,
            "picture": lambda name, said: embedded(root / PICTURES / f"{name}.png", said),
        },
    )
    page = without_charts((root / PAGE).read_text(), TITLE, markup(browser))
    paths = [root / FOLDER / "report.md", root / FOLDER / "report.html"]
    for path, text in zip(paths, (host, page), strict=True):
        write_bytes(text.encode(), path)
    return paths


def _pictures(searched: SearchFiles) -> dict[str, Figure]:
    return {
        "cost": score_against_cost(searched),
        "leave_one_out": figures.worth(
            charts.worth_rows(searched.own.tables("leave_one_out/gains.csv")),
            "Gain of each technique in the search's answer",
        ),
    }


def _facts(searched: SearchFiles) -> dict[str, Any]:
    study = searched.study
    return {
        "note": study.note,
        "title": TITLE,
        "dataset": study.title,
        "things": study.things,
        "families": join(tables.titles(study)),
        "strategies": join(searched.strategies),
        "answer": searched.strategies[-1],
        "answers": [answer(searched, model) for model in study.models],
        "models": {family_title(model): model for model in study.models},
        "contest": partial(contest_table, searched),
        "settings": partial(settings_table, searched),
        "best": percent(BEST).removesuffix(".00 %"),
        "worth": worth_table(searched),
        "shares": tables.shares_of(_columns(searched)),
        "test": test_table(searched),
        "costs": partial(cost_table, searched),
        "epochs": searched.epochs,
        "counted": counted,
    }


def answer(searched: SearchFiles, model: str) -> str:
    """The answer to the question of the title for one family: what was found, and its cost."""
    contest, chosen = searched.contest(model), searched.strategies[-1]
    row, lost = contest.loc[chosen], failed(contest)
    finding = row["finding"]
    if lost[CHAIN]:
        finding = "both failed" if lost[chosen] else "chain failed"
    gain = f"{gain_with_interval(row)} points on fresh repeats"
    optimism = _optimism(contest)
    chain, best = searched.costs[model], searched.draws(model, chosen)["best"].max()
    spent = searched.spent(model, chosen)
    reached = _reached(searched, model, chosen)
    scores = [f"{percent(chain['score'].iloc[-1])} at the end"]
    if spent < chain["spent"].iloc[-1]:
        so_far = chain.loc[chain["spent"] <= spent, "score"].iloc[-1:]
        scores = [*(f"{percent(score)} at that cost" for score in so_far), *scores]
    return (
        f"{family_title(model)}: {ANSWERS[finding].format(gain)}. The search spent "
        f"{_times(searched, model, spent)}. On the first repeat, the best of its draws scores "
        f"{percent(best)}; the chain scored {join(scores)}, which the search "
        f"{f'reached {reached}' if reached else 'did not reach'}. "
        "The optimism, the score when chosen minus the fresh score, is "
        f"{optimism[chosen] or 'unknown'} for the search's answer and "
        f"{optimism[CHAIN] or 'unknown'} for the chain's final recipe."
    )


def _times(searched: SearchFiles, model: str, spent: float) -> str:
    return f"{spent / searched.costs[model]['spent'].iloc[-1]:.2f} times the chain's cost"


def _reached(searched: SearchFiles, model: str, strategy: str) -> str:
    """The cost at which a draw first had the chain's score on the first repeat, or ""."""
    draws, score = searched.draws(model, strategy), searched.costs[model]["score"].iloc[-1]
    enough = draws.loc[draws["best"] >= score, "spent"]
    return "" if enough.empty else f"at {_times(searched, model, enough.iloc[0])}"


def _over_chain(contest: pd.DataFrame, name: str) -> str:
    """The gain over the chain's final recipe and its finding; how a recipe failed, if it did."""
    lost = failed(contest)
    if lost[CHAIN] and not lost[name]:
        return "not comparable"
    return gain_cell(contest.loc[name], incumbent=name == CHAIN)


def _optimism(contest: pd.DataFrame) -> pd.Series:
    """The optimism of each recipe of the contest in percentage points; empty if it failed."""
    optimism = contest["optimism"].mask(failed(contest))
    return optimism.map(lambda value: "" if pd.isna(value) else points(value))


def contest_table(searched: SearchFiles, model: str) -> str:
    """Every recipe of the contest: its score when it was chosen and on fresh repeats."""
    contest = searched.contest(model)
    optimism = _optimism(contest)
    rows = [
        [
            f"**{name}**" if row["role"] == "winner" else str(name),
            percent(row["chosen"]),
            percent(row["accuracy"]),
            optimism[name],
            _over_chain(contest, str(name)),
        ]
        for name, row in contest.iterrows()
    ]
    heads = ["recipe of", "when chosen", "fresh", "optimism", "over the chain's"]
    return markdown(heads, rows)


def settings_table(searched: SearchFiles, model: str) -> str:
    """The share of each setting among the best draws and among all, of all strategies."""
    draws = pd.concat(
        [searched.draws(model, strategy) for strategy in searched.strategies], ignore_index=True
    )
    ranked = draws.dropna(subset=["score"]).sort_values("score", ascending=False, kind="stable")
    good = ranked.head(round(BEST * len(draws)))
    if len(good) < FEWEST:
        return f"{counted(len(draws), 'draw')} are too few to compare."
    rows = []
    for technique in (name for name in TECHNIQUES if name in draws):
        every = draws[technique].value_counts(normalize=True, sort=False)
        among = good[technique].value_counts(normalize=True)
        best = among.reindex(every.index).fillna(0.0)
        cells = [f"`{name}` {_share(best[name])} ({_share(every[name])})" for name in every.index]
        order = np.argsort(-best.to_numpy(), kind="stable")
        rows.append([technique, ", ".join(cells[place] for place in order)])
    rates = (_quartiles(each["learning_rate"]) for each in (good, draws))
    rows.append(["learning rate", "{} ({})".format(*rates)])
    return markdown(["technique", "among the best draws (among all)"], rows)


def _share(share: float) -> str:
    return f"{100 * share:.0f} %"


def _quartiles(rates: pd.Series) -> str:
    least, middle, most = rates.quantile([0.25, 0.5, 0.75], interpolation="nearest")
    return f"median {middle:g}, quartiles {least:g} and {most:g}"


def _columns(searched: SearchFiles) -> dict[str, tuple[Study, str]]:
    """The search and the chain of each family, by their heads in a table."""
    return {
        f"{family_title(model)}: {name}": (study, model)
        for model in searched.models
        for name, study in (("search", searched.own), (CHAIN, searched.study))
    }


def worth_table(searched: SearchFiles) -> str:
    """Leave-one-out of the search's answer beside that of the chain's final recipe."""
    columns = {head: tables.worth_of(*each) for head, each in _columns(searched).items()}
    names = dict.fromkeys(name for table in columns.values() for name in table.index)
    rows = [
        [
            "all changes" if name == "all" else name,
            *(_worth_cell(table, name) for table in columns.values()),
        ]
        for name in [*(each for each in names if each != "all"), "all"]
    ]
    return markdown(["technique", *columns], rows)


def _worth_cell(table: pd.DataFrame, name: str) -> str:
    if name not in table.index:
        return ""
    row = table.loc[name]
    settings = f"`{row['baseline_setting']}` → `{row['final_setting']}`: "
    if name == "all":
        settings = ""
    if row["failed"]:
        return f"{settings}fails without it"
    if pd.isna(row["gain"]):
        return f"`{row['baseline_setting']}`" if settings else "nothing changed"
    return f"{settings}{gain_with_interval(row)}"


def test_table(searched: SearchFiles) -> str:
    """The search's answer on the test set, and against the chain's final recipe there."""
    heads = ["", "released model", "over the baseline recipe", "over the chain's final recipe"]
    rows = []
    for model in searched.models:
        found = searched.own.numbers(f"metrics/{model}/test.json")
        rights = [
            fits_of(study.table(f"plots/{model}/test/correct.csv"), FINAL)
            for study in (searched.study, searched.own)
        ]
        gain = pd.Series(
            dict(zip(("gain", "low", "high"), recipe_difference(*rights), strict=True))
        )
        rows.append(
            [
                family_title(model),
                f"{percent(found['accuracy'])} ({bounds(found['low'], found['high'], percent)})",
                gain_with_interval(tables.over_baseline(searched.own, model)),
                gain_with_interval(gain),
            ]
        )
    return markdown(heads, rows)


def cost_table(searched: SearchFiles, model: str) -> str:
    """What the chain and each strategy spent, and on what."""
    chain = searched.costs[model]
    trainings = counted(int(chain["trainings"].sum()), "training")
    score = percent(chain["score"].iloc[-1])
    rows = [[CHAIN, f"{chain['spent'].iloc[-1]:.3g}", trainings, "", score, ""]]
    for strategy in searched.strategies:
        draws, numbers = searched.draws(model, strategy), searched.numbers(model, strategy)
        spent = searched.spent(model, strategy)
        rows.append(
            [
                strategy,
                f"{spent:.3g}, {_times(searched, model, spent)}",
                f"{counted(len(draws), 'draw')}, {failed(draws).sum()} failed",
                f"{numbers['finalists_paid']} of {numbers['finalists']}",
                percent(draws["best"].max()),
                _reached(searched, model, strategy) or "not reached",
            ]
        )
    heads = ["", "PFLOP", "trained", "finalists", "best score", "chain's score reached"]
    return markdown(heads, rows)


def score_against_cost(searched: SearchFiles) -> Figure:
    """Score on the first repeat against cost, and the scores on fresh repeats at the right end."""
    figure = canvas(height=0.5 + 3.2 * len(searched.models))
    rows = figure.subplots(len(searched.models), squeeze=False).ravel()
    for axes, model in zip(rows, searched.models, strict=True):
        _scores_of_family(axes, searched, model)
    axes.set_xlabel(
        f"cost in PFLOP; band: {100 * INNER[0]:.0f} to {100 * INNER[1]:.0f} % of searches "
        "resampled from the random draws\n"
        "points on the right: fresh repeats, with the 95 % interval of the gain over the chain"
    )
    return figure


def _scores_of_family(axes: Axes, searched: SearchFiles, model: str) -> None:
    names = [CHAIN, *searched.strategies]
    colours = dict(zip(names, (QUIET, *LINES), strict=False))
    chain = searched.costs[model]
    axes.step(
        chain["spent"], chain["score"], where="post", color=colours[CHAIN], label=CHAIN,
        marker="o", markersize=3,
    )  # fmt: skip
    for strategy in searched.strategies:
        draws = searched.draws(model, strategy)
        axes.step(
            draws["spent"], draws["best"], where="post", color=colours[strategy], label=strategy
        )
        if strategy == "random":
            grid, low, high = other_seeds(draws)
            axes.fill_between(
                grid, low, high, step="post", color=colours[strategy], alpha=0.15, linewidth=0
            )
    contest = searched.contest(model)
    end = max(chain["spent"].iloc[-1], *(searched.spent(model, each) for each in names[1:]))
    base = contest.loc[CHAIN, "accuracy"]
    for place, name in enumerate(names, start=1):
        at, row = end * (1.02 + 0.03 * place), contest.loc[name]
        if pd.notna(row["low"]):
            ends = [base + row["low"], base + row["high"]]
            axes.plot([at, at], ends, color=colours[name], alpha=0.75)
        axes.plot(at, row["accuracy"], "o", markersize=6, color=colours[name])
    drawn = [searched.draws(model, strategy)["best"] for strategy in searched.strategies]
    best = pd.concat([chain["score"], contest["accuracy"], *drawn]).max()
    least = min(chain["score"].iloc[0], contest["accuracy"].min())
    axes.set_ylim(least - ROOM * (best - least), best + ROOM * (best - least))
    axes.yaxis.set_major_formatter(in_percent())
    axes.set_ylabel("validation accuracy")
    axes.set_title(
        f"{family_title(model)}, first repeat: the chain's winner, and each strategy's best so far",
        loc="left",
    )
    axes.legend(loc="upper left", ncols=len(names))


def other_seeds(draws: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best so far of searches resampled from random draws: what other seeds might have found.

    Draws are resampled with replacement, until they cost as much as these.

    Args:
        draws: columns score, diverged, collapsed and cost.

    Returns:
        (n,) costs, and the quantiles `INNER` of the best score up to each: 0 where a search has
        none yet.

    Source:
        Dodge et al., "Show Your Work: Improved Reporting of Experimental Results", EMNLP 2019,
        who give the expected value of the best.
    """
    scores = draws["score"].mask(failed(draws)).fillna(0.0).to_numpy(float)
    costs = draws["cost"].to_numpy(float)
    generator = np.random.default_rng(SEED)
    grid = np.linspace(0, costs.sum(), 101)
    best = np.stack([_best_at(grid, scores, costs, generator) for _ in range(RESAMPLES)])
    low, high = (np.quantile(best, part, axis=0, method="nearest") for part in INNER)
    return grid, low, high


def _best_at(
    grid: np.ndarray, scores: np.ndarray, costs: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """(n,) the best score of one resampled search up to each cost."""
    drawn = np.array([], dtype=int)
    while costs[drawn].sum() <= grid[-1]:
        drawn = np.append(drawn, generator.integers(len(scores), size=len(scores)))
    best = np.concatenate([[0.0], np.maximum.accumulate(scores[drawn])])
    found: np.ndarray = best[np.searchsorted(np.cumsum(costs[drawn]), grid, side="right")]
    return found
