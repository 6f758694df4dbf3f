"""What a verdict is worth: simulated stages, in which the truth is known. Writes verdicts.md.

    python benchmarks/verdicts.py

A contender's scores have equal variance and, over the repeats, the correlation that Nadeau and
Bengio assume, since repeats share training data: rho = n_val / (n_val + n_train). Gains are in true
standard errors, the standard deviation of a mean paired difference over simulated stages. What is
asked of the simulated scores is answered by `ablation.judge.selection`, as in a real stage.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats

from ablation.judge.selection import (
    CONFIDENCE,
    Contender,
    Floats,
    corrected_interval,
    judge_stage,
    raced_out,
    simplest_within_noise,
)

VALIDATION = 0.15  # share of the training set, as in params.yaml
VAL_TO_TRAIN = VALIDATION / (1 - VALIDATION)

# Only between 0.956 and 0.966 does a stage both leave an incumbent for its equal in at most 22 %
# (at three repeats) and adopt a gain of two standard errors in at least 85 % (at five): with a
# whole standard error that is 84.2 % (`exact_adoption`).
STANDARD_ERRORS = 0.96

CANDIDATES = (1, 3, 6)
REPEATS = (3, 5, 10)
GRID = 3  # settings of a candidate that is a grid, like the learning rates of an optimizer

BATCH = 10_000  # stages that fit a processor's cache


def simulate(
    stages: int, gains: list[float], repeats: int, random: np.random.Generator
) -> tuple[Floats, float]:
    """Scores of many stages.

    Args:
        stages: number of stages.
        gains: true gain over the incumbent of each candidate, in true standard errors.
        repeats: number of repeats of a stage.
        random: where the noise comes from.

    Returns:
        scores (stages, 1 + candidates, repeats), incumbent first, and the size of a standard error
        in their unit. Each score is one part that all repeats of a contender share, of variance
        rho, and one of its own, of variance 1 - rho.
    """
    shape = (stages, 1 + len(gains), repeats)
    shared = math.sqrt(VALIDATION) * random.standard_normal((*shape[:2], 1))
    own = math.sqrt(1 - VALIDATION) * random.standard_normal(shape)
    error = math.sqrt(2 * (VALIDATION + (1 - VALIDATION) / repeats))
    levels = error * np.array([0.0, *gains])
    return levels[:, None] + shared + own, error


def adoption(
    gains: list[float],
    repeats: int,
    standard_errors: float,
    stages: int,
    seed: int,
    grid: int = 1,
) -> Floats:
    """How often each contender wins a stage.

    Args:
        stages: number of stages, a multiple of `BATCH`.
        grid: settings of each candidate, all of the same gain; the best one stands for it.

    Returns:
        (1 + candidates,) shares of the stages, incumbent first.
    """
    random = np.random.default_rng(seed)
    wins = np.zeros(1 + len(gains))
    for _ in range(stages // BATCH):
        everything, _ = simulate(BATCH, list(np.repeat(gains, grid)), repeats, random)
        grids = everything[:, 1:].reshape(BATCH, len(gains), grid, repeats)
        best = grids.mean(axis=-1).argmax(axis=-1)[:, :, None, None]
        champions = np.take_along_axis(grids, best, axis=2)[:, :, 0]
        scores = np.concatenate([everything[:, :1], champions], axis=1)
        winners = simplest_within_noise(scores, VAL_TO_TRAIN, standard_errors)
        wins += np.bincount(winners, minlength=len(wins))
    return wins / stages


def coverage(gain: float, repeats: int, stages: int, seed: int) -> float:
    """How often the 95 % interval of a candidate named in advance holds its true gain."""
    scores, error = simulate(stages, [gain], repeats, np.random.default_rng(seed))
    intervals = np.array(
        [
            corrected_interval(paired, VAL_TO_TRAIN, CONFIDENCE)
            for paired in scores[:, 1] - scores[:, 0]
        ]
    )
    truth = gain * error
    return float(((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])).mean())


def exact_adoption(gain: float, repeats: int, standard_errors: float) -> float:
    """How often a single candidate wins, by theory: its t is noncentral t around its gain."""
    return float(scipy.stats.nct.sf(standard_errors, repeats - 1, gain))


def race(spread: float, repeats: int, stages: int, seed: int) -> tuple[float, float]:
    """What racing does to stages of six candidates of `GRID` settings each.

    Args:
        spread: standard deviation of the settings' true gains, in standard errors.

    Returns:
        share of the settings' trials that racing saves, share of the stages whose winner is
        another one than without racing.
    """
    random = np.random.default_rng(seed)
    settings = max(CANDIDATES) * GRID
    saved = changed = 0
    for _ in range(stages):
        gains = (spread * random.standard_normal(settings)).tolist()
        scores = simulate(1, gains, repeats, random)[0][0]
        raced = _race(scores)
        saved += int(np.isnan(raced).sum())
        changed += _winner(raced) != _winner(scores)
    return saved / (stages * settings * repeats), changed / stages


def _race(scores: Floats) -> Floats:
    """The same scores with nan for every trial that racing spares."""
    raced = np.full_like(scores, math.nan)
    running = np.full(len(scores), True)
    for repeat in range(scores.shape[1]):
        raced[running, repeat] = scores[running, repeat]
        incumbent, *contenders = _contenders(raced)
        running[1:] = ~np.array(raced_out(incumbent, contenders, VAL_TO_TRAIN))
    return raced


def _contenders(scores: Floats) -> list[Contender]:
    incumbent, *others = scores
    return [
        Contender("incumbent", "incumbent", incumbent),
        *(Contender(f"{n // GRID}", f"{n}", row) for n, row in enumerate(others)),
    ]


def _winner(scores: Floats) -> str:
    incumbent, *contenders = _contenders(scores)
    return judge_stage(incumbent, contenders, VAL_TO_TRAIN, STANDARD_ERRORS).winner.setting


def verdict_table(standard_errors: float, stages: int) -> pd.DataFrame:
    """Shares of stages at 3, 5 and 10 repeats; a row for each thing that a stage can do."""
    rows: dict[str, list[float]] = {}
    for count in CANDIDATES:
        equal = "1 equal candidate" if count == 1 else f"one of {count} equal candidates"
        rows[f"leaves the incumbent for {equal}"] = [
            1 - adoption([0.0] * count, repeats, standard_errors, stages, seed=count)[0]
            for repeats in REPEATS
        ]
    rows[f"leaves the incumbent for one of 6 equal candidates, each the best of {GRID} rates"] = [
        1 - adoption([0.0] * 6, repeats, standard_errors, stages, seed=7, grid=GRID)[0]
        for repeats in REPEATS
    ]
    for gain in (1.0, 2.0, 3.0):
        rows[f"adopts the only candidate, better by {gain:.0f} SE"] = [
            adoption([gain], repeats, standard_errors, stages, seed=11)[1] for repeats in REPEATS
        ]
    for gain in (2.0, 3.0):
        rows[f"adopts it as the last of 6, the other 5 equal, better by {gain:.0f} SE"] = [
            adoption([0.0] * 5 + [gain], repeats, standard_errors, stages, seed=12)[6]
            for repeats in REPEATS
        ]
    return pd.DataFrame(rows, index=[f"{repeats} repeats" for repeats in REPEATS]).T


def _markdown(table: pd.DataFrame, corner: str) -> str:
    lines = [
        f"| {corner} | " + " | ".join(table.columns) + " |",
        "|---" * (len(table.columns) + 1) + "|",
    ]
    for name, values in table.iterrows():
        lines.append(f"| {name} | " + " | ".join(f"{value:.1%}" for value in values) + " |")
    return "\n".join(lines).replace("%", " %")


def main() -> None:
    """Measure everything and write it beside this file."""
    stages = 1_000_000
    columns = [f"{repeats} repeats" for repeats in REPEATS]
    covered = [coverage(2.0, repeats, stages=20_000, seed=21) for repeats in REPEATS]
    raced = {
        f"spread by {spread} SE": race(spread, repeats=5, stages=1_000, seed=31)
        for spread in (0, 2, 5)
    }
    text = f"""# What a verdict is worth

Written by `python benchmarks/verdicts.py` from {stages:,} simulated stages a number, in which the
truth is known. SE is the true standard error of the mean paired difference;
n_val / n_train is {VAL_TO_TRAIN:.3f}.

## With `standard_errors: {STANDARD_ERRORS}`

{_markdown(verdict_table(STANDARD_ERRORS, stages), "a stage ...")}

## With `standard_errors: 1.0`

{_markdown(verdict_table(1.0, stages), "a stage ...")}

## The 95 % interval

{_markdown(pd.DataFrame([covered], ["holds the true gain"], columns), "")}

## Racing, six candidates of {GRID} settings each, five repeats

{_markdown(pd.DataFrame(raced, ["trials saved", "another winner"]).T, "true gains")}
"""
    Path(__file__).with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
