"""One stage of the study: its contenders, their trials, and the tables they fill."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ablation.base.checked import ParamsError
from ablation.base.console import console, progress
from ablation.base.errors import UserError
from ablation.base.files import read_csv
from ablation.data.characters import Characters
from ablation.data.splits import Repeat, make_repeats, val_to_train
from ablation.judge.racing import raced_out
from ablation.judge.selection import Contender, has_collapsed
from ablation.labels import label
from ablation.params import Params
from ablation.run.cluster import SCHEDULER_VARIABLE, one_kind
from ablation.run.hardware import Hardware
from ablation.run.precision import hardware_for
from ablation.run.runner import Laboratory
from ablation.trial.recipe import CHAIN, Recipe, load_recipe, plain
from ablation.trial.trials import Result, Trial

Results = dict[str, list[Result]]

TRAINING_CHARACTERS = Path("data/prepared/train.npz")
CHAIN_COLUMNS = ["technique", "winner", "verdict", "accuracy", "gain", "low", "high"]


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


def read_recipe(path: Path, params: Params, model: str) -> Recipe:
    """A recipe that a stage of this family has written.

    Raises:
        ParamsError: naming the file and what is wrong with it, or that it is another family's.
    """
    recipe = load_recipe(path)
    try:
        params.spec(model, recipe)
    except ParamsError as error:
        raise ParamsError(f"{path}: {error}") from None
    return recipe


def read_chain(path: Path, technique: str | None = None) -> pd.DataFrame:
    """What the stages before have concluded, a row each; read before hours of training.

    technique: whose stage asks, and which so cannot be among them.

    Raises:
        UserError: the file is not there, or not of that form.
    """
    chain = read_csv(path, CHAIN_COLUMNS)
    named = list(chain["technique"])
    if named[0] != CHAIN[0] or len({*named}) < len(named) or not {*named} <= {*CHAIN}:
        raise UserError(
            f"{path}: techniques {', '.join(map(str, named))}: should be the baseline and then "
            "others, each once; `dvc repro` makes it again"
        )
    if technique in named:
        raise UserError(f"{path}: has {technique} already; name the file of the stage before it")
    return chain


def list_entries(params: Params, model: str, technique: str, incumbent: Recipe) -> list[Entry]:
    """The incumbent, then every grid point of the technique's candidates, each setting once.

    An incumbent that is also in the list takes its place in that candidate's grid.
    """
    if technique == "architecture":
        incumbent = params.full(model, incumbent)
    listed: dict[str, Entry] = {}
    for candidate in params.candidates(technique, model):
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


def make_trial(params: Params, model: str, recipe: Recipe, repeat: Repeat) -> Trial:
    """A recipe on a repeat; recipes that train the same network alike share their trials.

    Raises:
        ParamsError: the recipe is of another family.
    """
    return Trial(model, params.spec(model, recipe), plain(recipe), repeat)


def laboratory(params: Params) -> Laboratory:
    """Where the trials run: the characters that training may see, and this machine or a cluster.

    Says so where this machine would have chosen another precision than the study's.

    Raises:
        UserError: the characters cannot be read, a batch is of more than a trial trains on, or a
            cluster cannot be used.
    """
    training = params.training
    params.refuse_large_batches(len(Characters.load(TRAINING_CHARACTERS)))
    hardware, remark = hardware_for(training.precision, training.device, training.workers)
    if remark:
        console.print(remark, style="italic")
    address = os.environ.get(SCHEDULER_VARIABLE, "")
    if address and training.machines == "mixed":
        hardware = one_kind(address, hardware)
        console.print(f"this stage is computed on {hardware.computer}", style="italic")
    return Laboratory(TRAINING_CHARACTERS, training.batch_size, hardware, address)


def run_entries(
    lab: Laboratory,
    params: Params,
    model: str,
    entries: Sequence[Entry],
    repeats: Sequence[Repeat],
    racing: bool,
) -> Results:
    """Run every entry on every repeat.

    Racing stops the entries that cannot win any more: it looks after every repeat that all have
    finished who were still in the race. The first entry, which the others are measured against,
    always runs to the end. No core waits for the end of a repeat: the next one's trials start
    early, and are remembered even where they come to count for nothing.

    Returns:
        For each entry's setting its results in the order of the repeats, fewer if it was stopped.
        They depend neither on the number of workers nor on the order in which trials end.

    Raises:
        SplitError: the splits that params.yaml asks for cannot be made from these characters.
    """
    started = time.monotonic()
    finished: dict[Trial, Result] = {}
    remembered: set[Trial] = set()
    results: Results = {entry.setting: [] for entry in entries}
    running = list(entries)
    # Made once: of many entries, each that ends asks for all the others'.
    trials = {
        (entry.setting, repeat): make_trial(params, model, entry.recipe, repeat)
        for entry in entries
        for repeat in repeats
    }

    def count_what_is_complete() -> None:
        """Take over the repeats that all have finished who run, and stop who is out after each."""
        for repeat in repeats[len(results[entries[0].setting]) :]:
            row = {e.setting: finished.get(trials[e.setting, repeat]) for e in running}
            complete = {setting: result for setting, result in row.items() if result}
            if len(complete) < len(row):
                return
            for setting, result in complete.items():
                results[setting].append(result)
            if racing and len(entries) > 1:
                first, *others = weigh(
                    entries, results, len(repeats), len(lab.classes), lab.largest
                )
                out = raced_out(first, others, val_to_train(repeat), params.selection.risk)
                running[1:] = [e for e, o in zip(entries[1:], out, strict=True) if not o]

    def ahead() -> Iterator[Trial]:
        given = set()  # entries of equal recipes share a trial
        for repeat in repeats:
            for entry in entries:
                count_what_is_complete()
                if entry not in running or (each := trials[entry.setting, repeat]) in given:
                    continue
                given.add(each)
                if known := lab.recall(each):
                    finished[each] = known
                    remembered.add(each)
                else:
                    yield each

    for done, result in progress(lab.run(ahead()), len({*trials.values()}), model):
        finished[done] = result
    count_what_is_complete()
    counted = sum(map(len, results.values()))
    console.print(
        f"{model}: {len(finished) - len(remembered)} trials trained in "
        f"{time.monotonic() - started:,.0f} s, {len(remembered)} remembered, "
        f"{len(entries) * len(repeats) - counted} spared by racing"
    )
    return results


def weigh(
    entries: Sequence[Entry], results: Results, repeats: int, classes: int, largest: float = 0.0
) -> list[Contender]:
    """The entries as the judge sees them: scores over `repeats` repeats, nan where stopped.

    classes, largest: as `has_collapsed` asks for them.
    """
    contenders = []
    for entry in entries:
        scores = np.full(repeats, np.nan)
        outcomes = results[entry.setting]
        scores[: len(outcomes)] = [outcome.score for outcome in outcomes]
        diverged = any(outcome.diverged for outcome in outcomes)
        trained = [outcome.score for outcome in outcomes if not outcome.diverged]
        contenders.append(
            Contender(
                entry.candidate,
                entry.setting,
                scores,
                diverged,
                entry.learning_rate,
                collapsed=has_collapsed(trained, classes, largest),
            )
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
