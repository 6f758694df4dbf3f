"""One stage of the study: its contenders, their trials, and the tables they fill."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ablation.base.console import console, progress
from ablation.data.splits import Repeat, make_repeats, val_to_train
from ablation.judge.selection import RACING_REPEATS, Contender, raced_out
from ablation.params import Params
from ablation.recipe import Recipe, label
from ablation.run.hardware import Hardware
from ablation.run.laboratory import Laboratory
from ablation.run.precision import hardware_for
from ablation.trial.trials import Result, Trial

Results = dict[str, list[Result]]

TRAINING_CHARACTERS = Path("data/prepared/train.npz")


@dataclass(frozen=True)
class Entry:
    """A recipe that takes part in a stage.

    candidate: the entry of params.yaml's list that it comes from; setting: its own, unique label.
    learning_rate: its place in a grid of learning rates, None where there is no such grid.
    """

    candidate: str
    setting: str
    recipe: Recipe
    learning_rate: float | None = None


def list_entries(params: Params, technique: str, incumbent: Recipe) -> list[Entry]:
    """The incumbent, then every grid point of the technique's candidates, each setting once.

    An incumbent that is also in the list takes its place in that candidate's grid.
    """
    listed: dict[str, Entry] = {}
    for candidate in params.candidates(technique):
        for setting in candidate.settings:
            rate = setting.lr if "lr" in candidate.grid else None
            recipe = incumbent.having(technique, setting)
            entry = Entry(candidate.label, label(setting), recipe, rate)
            listed.setdefault(entry.setting, entry)
    name = label(incumbent.setting(technique))
    first = listed.pop(name, Entry(name, name, incumbent))
    return [first, *listed.values()]


def repeats_for(params: Params, purpose: str = "selection") -> list[Repeat]:
    """The repeats of params.yaml; another purpose gets fresh ones, that nothing was selected on."""
    validation = params.validation
    return make_repeats(
        params.seed, validation.scheme, validation.fraction, validation.repeats, purpose
    )


def fit_repeats(params: Params) -> list[Repeat]:
    """The seeds of the final fits, which use all characters: of the repeats only the dice count."""
    return make_repeats(params.seed, "shuffle", 0.5, params.fit.seeds, "fit")


def laboratory(params: Params) -> Laboratory:
    """Where the trials run: the characters that training may see, and this machine.

    Says so where this machine would have chosen another precision than the study's.
    """
    training = params.training
    hardware, remark = hardware_for(training.precision, training.device, training.workers)
    if remark:
        console.print(remark, style="italic")
    return Laboratory(TRAINING_CHARACTERS, training.batch_size, hardware)


def run_entries(
    lab: Laboratory,
    params: Params,
    model: str,
    entries: Sequence[Entry],
    repeats: Sequence[Repeat],
    racing: bool,
) -> Results:
    """Run every entry on every repeat.

    Racing stops the entries that cannot win any more, after the first repeats that can tell and
    after each one from then on; the first entry, which the others are measured against, always
    runs to the end.

    Returns:
        For each entry's setting its results in the order of the repeats, fewer if it was stopped.

    Raises:
        SplitError: the splits that params.yaml asks for cannot be made from these characters.
    """
    start = RACING_REPEATS if racing and len(entries) > 1 else len(repeats)
    rounds = [list(repeats[:start]), *([repeat] for repeat in repeats[start:])]
    results: Results = {entry.setting: [] for entry in entries}
    running = list(entries)
    for turn in rounds:
        if turn is not rounds[0]:
            first, *others = weigh(running, results, len(repeats))
            out = raced_out(first, others, val_to_train(repeats[0]))
            running = [running[0], *(e for e, o in zip(running[1:], out, strict=True) if not o)]
        # Entries of equal recipes share a trial, which is run once.
        trials = {
            (entry.setting, repeat): Trial(model, params.spec(model), entry.recipe, repeat)
            for repeat in turn
            for entry in running
        }
        unique = list(dict.fromkeys(trials.values()))
        what = f"{model}, repeats {turn[0].index + 1} to {turn[-1].index + 1}"
        finished = dict(progress(lab.run(unique), len(unique), what))
        for (setting, _), trial in trials.items():
            results[setting].append(finished[trial])
    return results


def weigh(entries: Sequence[Entry], results: Results, repeats: int) -> list[Contender]:
    """The entries as the judge sees them: scores over `repeats` repeats, nan where stopped."""
    contenders = []
    for entry in entries:
        scores = np.full(repeats, np.nan)
        outcomes = results[entry.setting]
        scores[: len(outcomes)] = [outcome.score for outcome in outcomes]
        diverged = any(outcome.diverged for outcome in outcomes)
        contenders.append(
            Contender(entry.candidate, entry.setting, scores, diverged, entry.learning_rate)
        )
    return contenders


def trials_table(contenders: Sequence[Contender], results: Results) -> pd.DataFrame:
    """One row a trial, in the order of the contenders and their repeats; times are apart."""
    return pd.DataFrame(
        {
            "candidate": contender.candidate,
            "setting": contender.setting,
            "repeat": repeat,
            "score": result.score,
            "diverged": result.diverged,
            "raced_out": contender.raced_out,
        }
        for contender in contenders
        for repeat, result in enumerate(results[contender.setting])
    )


def times_table(results: Results, hardware: Hardware) -> pd.DataFrame:
    """What each training took on one core or one GPU, and which; in the order of `trials_table`."""
    table = pd.DataFrame(
        {"setting": setting, "repeat": repeat, "train_seconds": result.train_seconds}
        for setting, outcomes in results.items()
        for repeat, result in enumerate(outcomes)
    )
    return table.assign(precision=hardware.precision, computer=hardware.computer)


def curves_table(results: Results) -> pd.DataFrame:
    """Losses and accuracies per setting and epoch, means over the repeats that got that far."""
    epochs = pd.concat(
        pd.DataFrame(
            {name: pd.Series(v, dtype=float) for name, v in asdict(result.curves).items()}
        ).assign(setting=setting, epoch=lambda table: table.index + 1)
        for setting, outcomes in results.items()
        for result in outcomes
    )
    means = epochs.groupby(["setting", "epoch"], sort=False).mean().reset_index()
    order = ["train_loss", "validation_loss", "train_accuracy", "validation_accuracy"]
    return means[["setting", "epoch", *order]]
