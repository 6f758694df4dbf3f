"""The result of a study in a few sentences, each of them made from what its stages found.

A technique is in one group of a family, by what was done with it and what came out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd

from ablation.base.formatting import counted, percent, points
from ablation.show import tables
from ablation.show.study import Study
from ablation.show.style import family_title
from ablation.show.tables import bounds, gain_with_interval

Group = Literal["helps", "not shown", "chosen later", "kept", "not tried"]

# What is said of a group; {} is what each family has in it.
SENTENCES: dict[Group, str] = {
    "helps": "Shown to help the final recipe, on fresh repeats, the largest gain first: {}.",
    "not shown": "In the final recipe, but not shown to help it on fresh repeats: {}.",
    "chosen later": (
        "Adopted by a later stage and not tested on fresh repeats, so that the gain is flattered: "
        "{}."
    ),
    "kept": (
        "Left as in the baseline; in parentheses, what its stage found of the other settings: {}."
    ),
    "not tried": "Not tried: {}.",
}
# What a stage finds of a setting, the best first, as several settings of a stage are summed up.
FOUND = (
    *("better", "practically equal", "within the noise", "unsteady", "unknown", "worse"),
    "failed",
)


def answer(study: Study) -> list[str]:
    """Accuracy, gain and, group by group, every technique of the chain.

    A group that no family has a technique in goes unsaid, but for what helps.
    """
    models = study.table("plots/comparison/models.csv").set_index("model")
    ranked = models.sort_values("seeds_mean", ascending=False, kind="stable")
    read = [
        f"the released {family_title(model)} reads {percent(row['accuracy'])} "
        f"({bounds(row['low'], row['high'], percent)})"
        for model, row in models.loc[ranked.index].iterrows()
    ]
    gained = [
        f"{gain_with_interval(tables.over_baseline(study, model))} in the {family_title(model)}"
        for model in ranked.index
    ]
    sentences = [
        f"Of the test {study.things}, with 95 % intervals, {listed(read)}.",
        "Over the baseline recipe, the final recipe gains, in percentage points, "
        f"{listed(gained)}. {_what_it_holds_for(study)}",
    ]
    if ahead := _ahead(study, [*ranked.index]):
        sentences.append(f"By the same measure, {ahead}.")
    groups = {model: group_techniques(study, model) for model in ranked.index}
    for group, sentence in SENTENCES.items():
        said = {model: listed(each[group]) for model, each in groups.items() if each[group]}
        if group == "helps":
            said |= {model: "no technique" for model in groups if model not in said}
            said = {model: said[model] for model in groups}
        if said:
            sentences.append(sentence.format(_for_each(said)))
    return sentences


def in_short(study: Study) -> list[str]:
    """Of `answer` the accuracies, the gain over the baseline recipe, and what helps.

    For a terminal, so without Markdown's marks.
    """
    sentences = [each.replace("**", "").replace("`", "") for each in answer(study)]
    helps = SENTENCES["helps"].partition("{}")[0]
    return [*sentences[:2], *(each for each in sentences if each.startswith(helps))]


def group_techniques(study: Study, model: str) -> dict[Group, list[str]]:
    """The techniques of one family by group, each with its number or with what was found.

    helps: the final recipe has another setting than the baseline, and is better for it on fresh
    repeats: all of the interval is, or the training fails without it. The largest gain comes first.
    not shown: that was tested and not shown. chosen later: a stage after the recipe that
    leave-one-out takes apart has adopted a setting. kept: the setting is the baseline's, although
    others were tried. not tried: nothing else was.
    """
    worth = tables.worth_of(study, model).drop("all")
    chain = tables.chain_of(study, model)
    groups: dict[Group, list[str]] = {group: [] for group in SENTENCES}
    helping = worth[(worth["low"] > 0) | worth["failed"].astype(bool)]
    for name, row in helping.sort_values("gain", ascending=False, na_position="first").iterrows():
        gain = "without it the training fails" if row["failed"] else points(row["gain"])
        groups["helps"].append(f"{name} ({gain})")
    for name in study.techniques():
        if name in helping.index:
            continue
        stage = study.last_stage(model, name)
        candidates = study.table(f"plots/{model}/{stage}/candidates.csv")
        if name in worth.index and pd.notna(worth.loc[name, "gain"]):
            groups["not shown"].append(f"{name} ({_gain_found(worth.loc[name])})")
        elif name not in worth.index and chain.loc[stage, "verdict"] == "adopted":
            won = chain.loc[stage]
            groups["chosen later"].append(f"{name} `{won['winner']}` ({points(won['gain'])})")
        elif len(candidates) > 1:
            groups["kept"].append(f"{name} ({found_of(tables.others_of(candidates))})")
        else:
            groups["not tried"].append(name)
    return groups


def found_of(settings: pd.DataFrame) -> str:
    """What a stage found of some settings: of a single one its gain, of several how many each.

    Args:
        settings: one row or more of candidates.csv.
    """
    broken = settings[["diverged", "collapsed"]].astype(bool).any(axis=1)
    words = settings["finding"].where(~broken, "failed").fillna("unknown")
    if len(settings) == 1:
        only = settings.iloc[0]
        gain = "" if broken.iloc[0] else f", {points(only['gain'])}"
        return f"`{only['setting']}`: {words.iloc[0]}{gain}"
    counts = Counter(words)
    if len(counts) == 1:
        return f"{'both' if len(settings) == 2 else 'all'} {words.iloc[0]}"
    return listed([f"{counts[word]} {word}" for word in FOUND if word in counts])


def listed(words: Sequence[str]) -> str:
    """["a", "b", "c"] -> a, b and c"""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _gain_found(row: pd.Series) -> str:
    hurts = ", shown to harm" if row["high"] < 0 else ""
    return f"{points(row['gain'])}{hurts}"


def _what_it_holds_for(study: Study) -> str:
    """Which luck the intervals of recipes hold."""
    fits = fits_of_each(study)
    if fits == 1:
        return (
            "Each recipe was fitted once, so that the intervals allow for the luck of the test "
            f"{study.things}, but not for that of the seed."
        )
    return (
        f"Each recipe was fitted with {counted(fits, 'seed')}; the intervals allow for the luck of "
        f"the seeds and for that of the test {study.things}."
    )


def fits_of_each(study: Study) -> int:
    """How many fits, each with its seed, the recipes of the test have."""
    seeds = study.table(f"plots/{study.models[0]}/test/seeds.csv")
    return int(seeds["seed"].max())


def _ahead(study: Study, ranked: Sequence[str]) -> str:
    """How far the best family is ahead of each other one; empty where there is no other."""
    pairs = study.table("plots/comparison/pairs.csv").set_index(["first", "second"])
    columns = ["gain", "low", "high"]
    best, *others = ranked
    gaps = []
    for other in others:
        if (other, best) in pairs.index:
            gap = pairs.loc[(other, best), columns].astype(float)
        else:
            turned = -pairs.loc[(best, other), columns].astype(float)
            gap = turned.rename({"low": "high", "high": "low"})
        gaps.append(f"{gain_with_interval(gap)} over that of the {family_title(other)}")
    return f"the final recipe of the {family_title(best)} gains {listed(gaps)}" if gaps else ""


def _for_each(said: Mapping[str, str]) -> str:
    """What is said of each family, once where it is the same."""
    models: dict[str, list[str]] = {}
    for model, words in said.items():
        models.setdefault(words, []).append(f"the {family_title(model)}")
    return "; ".join(f"{words} in {listed(families)}" for words, families in models.items())


def computed_on(study: Study) -> dict[str, list[str]]:
    """What computed the study, `AMD EPYC, bf16` for one, each with the stages that it computed."""
    places: dict[str, list[str]] = {}
    stages = [*study.stages(), "leave_one_out", "fit"]
    for stage in stages:
        for model in study.models:
            times = study.table(f"data/times/{model}/{stage}.csv")
            for place in (times["computer"] + ", " + times["precision"]).unique():
                places.setdefault(place, []).append(f"{stage} of the {family_title(model)}")
    return places


def computed_alike(study: Study) -> str:
    """Whether one machine and one precision computed all numbers, and what it means if not."""
    places = computed_on(study)
    if len(places) == 1:
        return f"All of it was computed on {next(iter(places))}."
    most = max(places, key=lambda place: len(places[place]))
    others = [f"{listed(stages)} on {place}" for place, stages in places.items() if place != most]
    return (
        f"Not all of it was computed alike: {listed(others)}, and the rest on {most}. The same "
        "training gives slightly other numbers on another machine or in another precision. "
        "So compare settings within a stage, and not accuracies between stages computed apart."
    )
