"""The tables of a stage's trials: scores, times and learning curves."""

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from ablation.judge.selection import Contender
from ablation.run.hardware import Hardware
from ablation.study.race import Results


def trials_table(contenders: Sequence[Contender], results: Results) -> pd.DataFrame:
    """One row per trial, by contender and repeat, without times (`times_table`).

    The temperature is nan if the trial diverged.
    """
    return pd.DataFrame(
        {
            "candidate": contender.candidate,
            "setting": contender.setting,
            "repeat": repeat,
            "score": result.score,
            "temperature": result.temperature,
            "diverged": result.diverged,
            "raced_out": contender.raced_out,
        }
        for contender in contenders
        for repeat, result in enumerate(results[contender.setting])
    )


def times_table(results: Results, hardware: Hardware) -> pd.DataFrame:
    """Training time, precision and processor (or GPU) of each trial, in the order of `results`.

    Seconds are processor time on a CPU, wall-clock time on a GPU.
    """
    table = pd.DataFrame(
        {"setting": setting, "repeat": repeat, "train_seconds": result.train_seconds}
        for setting, outcomes in results.items()
        for repeat, result in enumerate(outcomes)
    )
    return table.assign(precision=hardware.precision, computer=hardware.computer.name)


def curves_table(results: Results) -> pd.DataFrame:
    """Losses and accuracies per setting and epoch: means over the repeats that ran the epoch."""
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
