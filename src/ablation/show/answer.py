"""The answer of a study in a few sentences, generated from its tables.

For each family, every technique of the chain is in exactly one group.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd

from ablation.base.formatting import counted, percent, points
from ablation.show import tables
from ablation.show.study import Study
from ablation.show.style import family_title
from ablation.show.tables import bounds, gain_with_interval

Group = Literal["helps", "not shown", "kept", "not tried"]

# The sentence for each group; {} is replaced by the techniques of each family.
SENTENCES: dict[Group, str] = {
    "helps": "Shown to help, on fresh repeats, largest gain first: {}.",
    "not shown": "Adopted, but not shown to help in the final recipe: {}.",
    "kept": "Tried, but the baseline's setting stayed: {}.",
    "not tried": "Not tried: {}.",
}
# What differs between training and validation, by technique.
IN_TRAINING = ("dropout", "augmentation")


def result(study: Study) -> str:
    """The result of a study in one sentence: accuracies, gains, and what helps most."""
    ranked = _ranked(study)
    accuracies = [
        f"the {family_title(model)} **{percent(row['accuracy'])}** "
        f"({bounds(row['low'], row['high'], percent)})"
        for model, row in ranked.iterrows()
    ]
    accuracies[0] = accuracies[0].replace(" **", " reaches **", 1)
    gains = [gain_with_interval(tables.over_baseline(study, model)) for model in ranked.index]
    groups = {model: group_techniques(study, model)["helps"] for model in ranked.index}
    helps = {model: found[0] for model, found in groups.items() if found}
    without = [f"the {family_title(model)}" for model in groups if model not in helps]
    most = [f"what helps most is {join(_by_family(helps))}"] if helps else []
    most += [f"no technique is shown to help in {join(without)}"] if without else []
    return (
        f"On the test {study.things}, with 95 % intervals, {join(accuracies)}; over the baseline, "
        f"{'their recipes gain' if len(ranked) > 1 else 'its recipe gains'} "
        f"{'; '.join([f'{join(gains)} points', *most])}."
    )


def answer(study: Study) -> list[str]:
    """Sentences on the best family, and on each group of techniques.

    Empty groups are omitted, except for `helps`.
    """
    models = [*_ranked(study).index]
    sentences = []
    if lead := _lead(study, models):
        sentences.append(f"On the test {study.things}, {lead}.")
    groups = {model: group_techniques(study, model) for model in models}
    for group, sentence in SENTENCES.items():
        members = {model: join(each[group]) for model, each in groups.items() if each[group]}
        if group == "helps":
            members = {model: members.get(model, "no technique") for model in groups}
        if members:
            sentences.append(sentence.format("; ".join(_by_family(members))))
    return sentences


def summary(study: Study) -> list[str]:
    """The result and what helps, for a terminal, so without Markdown."""
    helps = SENTENCES["helps"].partition("{}")[0]
    sentences = [result(study), *(each for each in answer(study) if each.startswith(helps))]
    return [each.replace("**", "").replace("`", "") for each in sentences]


def group_techniques(study: Study, model: str) -> dict[Group, list[str]]:
    """The techniques of one family by group, those that changed with their gain.

    Returns:
        group to techniques:
        `helps`: changed, and its interval on fresh repeats is above zero, or the training fails
        without it; largest gain first.
        `not shown`: changed, but its interval is not above zero.
        `kept`: not changed, although other settings were tried.
        `not tried`: no other setting was tried.
    """
    worth = tables.worth_of(study, model).drop("all")
    groups: dict[Group, list[str]] = {group: [] for group in SENTENCES}
    helping = worth[(worth["low"] > 0) | worth["failed"].astype(bool)]
    for name, row in helping.sort_values("gain", ascending=False, na_position="first").iterrows():
        gain = "without it the training fails" if row["failed"] else points(row["gain"])
        groups["helps"].append(f"{name} ({gain})")
    for name in study.techniques():
        row = worth.loc[name]
        if name in helping.index:
            continue
        if pd.notna(row["gain"]):
            harm = ", shown to harm" if row["high"] < 0 else ""
            groups["not shown"].append(f"{name} ({points(row['gain'])}{harm})")
        else:
            tried = study.tried(model, study.last_stage(model, name))
            groups["kept" if tried else "not tried"].append(name)
    return groups


def budget(study: Study) -> str:
    """How long the baseline and the final recipe train."""
    baseline = study.tables("baseline/curves.csv")
    final = {model: study.winner_curves(model) for model in study.models}
    return f"The baseline trains for {_epochs(baseline)}, the final recipe for {_epochs(final)}."


def _epochs(curves: Mapping[str, pd.DataFrame]) -> str:
    counts = {model: counted(table["epoch"].max(), "epoch") for model, table in curves.items()}
    return join([f"{count} ({family_title(model)})" for model, count in counts.items()])


def in_training(study: Study) -> list[str]:
    """How far each family's training accuracy ends from its validation accuracy."""
    return [_in_training(study, model) for model in study.models]


def _in_training(study: Study, model: str) -> str:
    last = study.winner_curves(model).iloc[-1]
    gap = last["train_accuracy"] - last["validation_accuracy"]
    settings = tables.worth_of(study, model)["final_setting"].reindex(IN_TRAINING)
    on = [f"{name} `{value}`" for name, value in settings.dropna().items() if value != "none"]
    side = "below" if gap < 0 else "above"
    return (
        f"the {family_title(model)}'s ends {abs(100 * gap):.2f} points {side} its validation "
        f"accuracy{f', with {join(on)}' if on else ''}"
    )


def join(words: Sequence[str]) -> str:
    """["a", "b", "c"] -> a, b and c"""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def count_seeds(study: Study) -> int:
    """Number of seeds that each recipe was fitted with."""
    seeds = study.table(f"plots/{study.models[0]}/test/seeds.csv")
    return int(seeds["seed"].max())


def _ranked(study: Study) -> pd.DataFrame:
    """The rows of models.csv, indexed by family, the best recipe first."""
    models = study.table("plots/comparison/models.csv").set_index("model")
    return models.sort_values("seeds_mean", ascending=False, kind="stable")


def _lead(study: Study, ranked: Sequence[str]) -> str:
    """The lead of the best family over each of the others; empty if there is only one."""
    pairs = study.table("plots/comparison/pairs.csv").set_index(["first", "second"])
    columns = ["gain", "low", "high"]
    best, *others = ranked
    ahead: list[str] = []
    unclear: list[str] = []
    for other in others:
        if (other, best) in pairs.index:
            gap = pairs.loc[(other, best), columns].astype(float)
        else:
            negated = -pairs.loc[(best, other), columns].astype(float)
            gap = negated.rename({"low": "high", "high": "low"})
        said = f"that of the {family_title(other)}, {gain_with_interval(gap)}"
        (ahead if gap["low"] > 0 else unclear).append(said)
    parts = [f"is better than {join(ahead)}"] if ahead else []
    parts += [f"is not shown to differ from {join(unclear)}"] if unclear else []
    return f"the final recipe of the {family_title(best)} {join(parts)}" if parts else ""


def _by_family(members: Mapping[str, str]) -> list[str]:
    """The techniques of each family, `words in the MLP`; families with the same ones are merged."""
    models: dict[str, list[str]] = {}
    for model, words in members.items():
        models.setdefault(words, []).append(f"the {family_title(model)}")
    return [f"{words} in {join(families)}" for words, families in models.items()]


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
