"""The answer of a study in a few sentences, generated from its tables.

For each family, every technique of the chain is in exactly one group.
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

# The sentence for each group; {} is replaced by the techniques of each family.
SENTENCES: dict[Group, str] = {
    "helps": "Shown to help the final recipe, on fresh repeats, largest gain first: {}.",
    "not shown": "In the final recipe, but not shown to help it on fresh repeats: {}.",
    "chosen later": (
        "Adopted by a later stage and not tested on fresh repeats, so the gain is optimistic: {}."
    ),
    "kept": "Kept at the baseline's setting, with the findings on the other settings: {}.",
    "not tried": "Not tried: {}.",
}
# The findings in the order in which a summary of several settings lists them.
FINDINGS = (
    *("better", "practically equal", "within the noise", "unsteady", "unknown", "worse"),
    "failed",
)


def answer(study: Study) -> list[str]:
    """Sentences on test accuracies, gains over the baseline, and each group of techniques.

    Empty groups are omitted, except for `helps`.
    """
    models = study.table("plots/comparison/models.csv").set_index("model")
    ranked = models.sort_values("seeds_mean", ascending=False, kind="stable")
    accuracies = [
        f"{percent(row['accuracy'])} ({bounds(row['low'], row['high'], percent)}) for the "
        f"{family_title(model)}"
        for model, row in models.loc[ranked.index].iterrows()
    ]
    gains = [
        f"{gain_with_interval(tables.over_baseline(study, model))} in the {family_title(model)}"
        for model in ranked.index
    ]
    sentences = [
        f"Accuracy of the released models on the test {study.things}, with 95 % intervals: "
        f"{join(accuracies)}.",
        "Over the baseline recipe, the final recipe gains, in percentage points, "
        f"{join(gains)}. {_variation_covered(study)}",
    ]
    if lead := _lead(study, [*ranked.index]):
        sentences.append(f"By the same measure, {lead}.")
    groups = {model: group_techniques(study, model) for model in ranked.index}
    for group, sentence in SENTENCES.items():
        members = {model: join(each[group]) for model, each in groups.items() if each[group]}
        if group == "helps":
            members = {model: members.get(model, "no technique") for model in groups}
        if members:
            sentences.append(sentence.format(_by_family(members)))
    return sentences


def summary(study: Study) -> list[str]:
    """The sentences of `answer` on accuracies, gains over the baseline, and what helps.

    For a terminal, so without Markdown.
    """
    sentences = [each.replace("**", "").replace("`", "") for each in answer(study)]
    helps = SENTENCES["helps"].partition("{}")[0]
    return [*sentences[:2], *(each for each in sentences if each.startswith(helps))]


def group_techniques(study: Study, model: str) -> dict[Group, list[str]]:
    """The techniques of one family by group, each with its gain or findings.

    Returns:
        group to techniques:
        `helps`: changed, and its interval on fresh repeats is above zero, or the training fails
        without it; largest gain first.
        `not shown`: changed and tested on fresh repeats, but its interval is not above zero.
        `chosen later`: adopted by a stage after the recipe that leave-one-out tests.
        `kept`: not changed, although other settings were tried.
        `not tried`: no other setting was tried.
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
            groups["not shown"].append(f"{name} ({_gain_not_shown(worth.loc[name])})")
        elif name not in worth.index and chain.loc[stage, "verdict"] == "adopted":
            won = chain.loc[stage]
            groups["chosen later"].append(f"{name} `{won['winner']}` ({points(won['gain'])})")
        elif len(candidates) > 1:
            groups["kept"].append(f"{name} ({summarize(tables.others_of(candidates))})")
        else:
            groups["not tried"].append(name)
    return groups


def summarize(settings: pd.DataFrame) -> str:
    """The finding and gain of a single setting, or the number of settings with each finding.

    Args:
        settings: one or more rows of candidates.csv.
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
    return join([f"{counts[word]} {word}" for word in FINDINGS if word in counts])


def join(words: Sequence[str]) -> str:
    """["a", "b", "c"] -> a, b and c"""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _gain_not_shown(row: pd.Series) -> str:
    harm = ", shown to harm" if row["high"] < 0 else ""
    return f"{points(row['gain'])}{harm}"


def _variation_covered(study: Study) -> str:
    """The sources of variation that the intervals of recipes account for."""
    seeds = count_seeds(study)
    if seeds == 1:
        return (
            "Each recipe was fitted once, so the intervals account for the variation of test "
            f"{study.things}, but not for that of seeds."
        )
    return (
        f"Each recipe was fitted with {counted(seeds, 'seed')}; the intervals account for the "
        f"variation of seeds and of test {study.things}."
    )


def count_seeds(study: Study) -> int:
    """Number of seeds that each recipe was fitted with."""
    seeds = study.table(f"plots/{study.models[0]}/test/seeds.csv")
    return int(seeds["seed"].max())


def _lead(study: Study, ranked: Sequence[str]) -> str:
    """The lead of the best family over each of the others; empty if there is only one."""
    pairs = study.table("plots/comparison/pairs.csv").set_index(["first", "second"])
    columns = ["gain", "low", "high"]
    best, *others = ranked
    gaps = []
    for other in others:
        if (other, best) in pairs.index:
            gap = pairs.loc[(other, best), columns].astype(float)
        else:
            negated = -pairs.loc[(best, other), columns].astype(float)
            gap = negated.rename({"low": "high", "high": "low"})
        gaps.append(f"{gain_with_interval(gap)} over that of the {family_title(other)}")
    return f"the final recipe of the {family_title(best)} gains {join(gaps)}" if gaps else ""


def _by_family(members: Mapping[str, str]) -> str:
    """The techniques of each family; families with the same ones are merged."""
    models: dict[str, list[str]] = {}
    for model, words in members.items():
        models.setdefault(words, []).append(f"the {family_title(model)}")
    return "; ".join(f"{words} in {join(families)}" for words, families in models.items())


def computed_on(study: Study) -> dict[str, list[str]]:
    """The hardware and precision (`AMD EPYC, bf16`) of each stage: hardware to stages."""
    places: dict[str, list[str]] = {}
    stages = [*study.stages(), "leave_one_out", "fit"]
    for stage in stages:
        for model in study.models:
            times = study.table(f"data/times/{model}/{stage}.csv")
            for place in (times["computer"] + ", " + times["precision"]).unique():
                places.setdefault(place, []).append(f"{stage} of the {family_title(model)}")
    return places


def computed_alike(study: Study) -> str:
    """A sentence on the hardware and precision of the stages, with a warning if they differ."""
    places = computed_on(study)
    if len(places) == 1:
        return f"All stages were computed on {next(iter(places))}."
    most = max(places, key=lambda place: len(places[place]))
    others = [f"{join(stages)} on {place}" for place, stages in places.items() if place != most]
    return (
        f"The stages were computed on different hardware or in different precisions: {join(others)}"
        f", and the rest on {most}. This alone changes accuracies slightly, so compare settings "
        "within a stage, not accuracies across these stages."
    )
