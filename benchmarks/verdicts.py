"""Error rates of verdicts, on simulated stages with known truth. Writes verdicts.md.

    python benchmarks/verdicts.py

A contender's scores are correlated over the repeats as Nadeau and Bengio assume, because repeats
share training data: rho = n_val / (n_val + n_train). `SPREADS` lists how standard deviations differ
between contenders. Gains are in standard errors: the standard deviation of a mean paired difference
of two contenders with average spread. The simulated scores are judged by `ablation.judge`, like
those of a real stage.

Scores of small validation parts are discrete, and are simulated character by character
(`simulate_counts`).
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.special
from numpy.typing import NDArray

from ablation.base.formatting import markdown
from ablation.judge.noise import (
    CONFIDENCE,
    SAME,
    Floats,
    against_first,
    estimate,
    measure_noise,
)
from ablation.judge.racing import out_of_reach
from ablation.judge.selection import decide

VALIDATION = 0.15  # share of the training set, as in params.yaml
VAL_TO_TRAIN = VALIDATION / (1 - VALIDATION)
RISK = 0.3

REPEATS = (3, 5, 10)
CANDIDATES = (1, 3, 6, 22)
GRID = 3  # settings in the grid of a candidate, such as learning rates

BATCH = 500  # stages per batch, to fit in a processor's cache
FEW = 50  # stages simulated character by character

# Sizes of small validation parts in characters, and numbers of repeats.
CHARACTERS = (40, 100, 400)
FEW_REPEATS = (2, 3, 5)

# Of a stage of the study in git, in percentage points: the median of its stages (`measure_noise`).
STUDY_NOISE, STUDY_REPEATS = 0.2, 4
# True gains of a technique in points: when it is first explored, and at the end of the chain.
ROUNDS = {
    "useless": (0.0, 0.0),
    "helps by 0.1": (0.1, 0.1),
    "helps by 0.25": (0.25, 0.25),
    "helps by 0.5": (0.5, 0.5),
    "helps by 1": (1.0, 1.0),
    "helped by 0.5, is useless in the end": (0.5, 0.0),
    "helped by 0.5, harms by 0.25 in the end": (0.5, -0.25),
    "was useless, helps by 0.5 in the end": (0.0, 0.5),
}

Rule = Callable[[Floats, NDArray[np.int_]], NDArray[np.intp]]
Spreads = Callable[[np.random.Generator, tuple[int, int]], Floats]


def _every_other_twice(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return np.broadcast_to(1.0 + np.arange(shape[1]) % 2, shape)


def _one_twice(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return np.broadcast_to(1.0 + (np.arange(shape[1]) == 1), shape)


# The interval is that of contender 1, the first after the incumbent.
SPREADS: dict[str, Spreads] = {
    "equal": lambda random, shape: np.ones(shape),
    "differing by 30 %": lambda random, shape: np.exp(0.3 * random.standard_normal(shape)),
    "1 and 2 in turn": _every_other_twice,
    "2 for the candidate alone": _one_twice,
}


def simulate(
    stages: int, gains: Floats, repeats: int, spreads: str, random: np.random.Generator
) -> Floats:
    """Scores of many stages.

    Args:
        stages: number of stages.
        gains: (candidates,) or (stages, candidates) true gains over the incumbent, in standard
            errors.
        repeats: number of repeats of a stage.
        spreads: one of `SPREADS`.
        random: the generator of the noise.

    Returns:
        (stages, 1 + candidates, repeats), incumbent first. Each score is the sum of a part
        common to all repeats of a contender, of variance rho, and one of variance 1 - rho.
    """
    shape = (stages, 1 + gains.shape[-1], repeats)
    shared = math.sqrt(VALIDATION) * random.standard_normal((*shape[:2], 1))
    own = math.sqrt(1 - VALIDATION) * random.standard_normal(shape)
    levels = np.zeros(shape[:2])
    levels[:, 1:] = gains * standard_error(repeats)
    spread = SPREADS[spreads](random, shape[:2])
    return levels[..., None] + spread[..., None] * (shared + own)


def simulate_counts(
    stages: int, gains: Floats, characters: int, repeats: int, random: np.random.Generator
) -> Floats:
    """Scores of many stages with small validation parts, simulated character by character.

    The probit of a correct prediction is a sum of normal effects: of the character (standard
    deviation 2), of character x contender (0.5) and of the training (0.1). Every repeat draws its
    validation part from the same characters.

    Args:
        stages: number of stages.
        gains: (candidates,) true gains over the incumbent, whose accuracy is 80 %, as fractions.
        characters: number in a repeat's validation part, n; the stage has n / `VALIDATION`.
        repeats: number of repeats of a stage.
        random: the generator of the noise.

    Returns:
        (stages, 1 + candidates, repeats), incumbent first.
    """
    accuracies = 0.8 + np.concatenate([[0.0], gains])
    spread = math.sqrt(1 + 2**2 + 0.5**2 + 0.1**2)
    levels = scipy.special.ndtri(accuracies) * spread
    everyone = round(characters / VALIDATION)
    hard = 2 * random.standard_normal((stages, 1, everyone))
    for_each = hard + 0.5 * random.standard_normal((stages, len(levels), everyone))
    scores = np.empty((stages, len(levels), repeats))
    for repeat in range(repeats):
        order = random.random((stages, 1, everyone)).argsort(-1)[..., :characters]
        went = levels[:, None] + 0.1 * random.standard_normal((stages, len(levels), 1))
        margin = went + np.take_along_axis(for_each, order, -1)
        read = margin + random.standard_normal(margin.shape) > 0
        scores[..., repeat] = read.mean(-1)
    return scores


def standard_error(repeats: int) -> float:
    """Standard deviation of a mean paired difference, in the unit of simulated scores."""
    return math.sqrt(2 * (VALIDATION + (1 - VALIDATION) / repeats))


def this_rule(
    scores: Floats, grids: NDArray[np.int_], simpler: int | None = None
) -> NDArray[np.intp]:
    """Winners of (stages, contenders, repeats) scores by the current rule.

    simpler: as in `decide`, for a later round.
    """
    failed = np.zeros(scores.shape[:2], bool)
    return decide(scores, failed, grids, VAL_TO_TRAIN, RISK, simpler=simpler)


def former_rule(scores: Floats, grids: NDArray[np.int_]) -> NDArray[np.intp]:
    """Winners by the former rule: the first contender within 0.96 standard errors of the best.

    Each difference has its own standard error; there are no grids.
    """
    best = scores.mean(-1).argmax(-1)[:, None, None]
    shortfalls = np.take_along_axis(scores, best, axis=1) - scores
    errors = shortfalls.std(-1, ddof=1) * math.sqrt(1 / scores.shape[-1] + VAL_TO_TRAIN)
    first: NDArray[np.intp] = (shortfalls.mean(-1) <= 0.96 * errors + SAME).argmax(-1)
    return first


def adoption(
    rule: Rule,
    gains: list[float],
    repeats: int,
    stages: int,
    spreads: str = "differing by 30 %",
    grid: int = 1,
    seed: int = 1,
) -> Floats:
    """How often each contender wins a stage.

    Args:
        rule: `this_rule` or `former_rule`.
        gains: true gain of each candidate.
        stages: number of stages, a multiple of `BATCH`.
        grid: settings of each candidate, all of the same gain.

    Returns:
        (1 + candidates x grid,) shares of the stages, incumbent first.
    """
    random = np.random.default_rng(seed)
    settings = np.repeat(gains, grid)
    grids = np.concatenate([[0], 1 + np.repeat(np.arange(len(gains)), grid)])
    wins = np.zeros(1 + len(settings))
    for _ in range(stages // BATCH):
        scores = simulate(BATCH, settings, repeats, spreads, random)
        wins += np.bincount(rule(scores, grids), minlength=len(wins))
    return wins / stages


def coverage(
    candidates: int, repeats: int, spreads: str, stages: int, seed: int = 2
) -> dict[str, tuple[float, float]]:
    """Three 95 % intervals for the gain of a candidate named in advance.

    Returns:
        for each interval its coverage, and its mean width in standard errors.
    """
    random = np.random.default_rng(seed)
    held: dict[str, list[Floats]] = {}
    for _ in range(stages // BATCH):
        scores = simulate(BATCH, np.zeros(candidates), repeats, spreads, random)
        noise = measure_noise(scores)
        alone = measure_noise(scores[:, :2])
        weights = against_first(1 + candidates)[1:2]
        pair = estimate(scores[:, :2], weights[:, :2], alone, VAL_TO_TRAIN)
        both = estimate(scores, weights, noise, VAL_TO_TRAIN)
        error = np.sqrt(2 * noise.variance * (1 / repeats + VAL_TO_TRAIN))
        reach = (scipy.special.stdtrit(noise.freedom, (1 + CONFIDENCE) / 2) * error)[:, None]
        intervals = {
            "the pair's own noise (before)": pair.interval(),
            "the noise of all, alike": (both.gain - reach, both.gain + reach),
            "both, as stages use them": both.interval(),
        }
        for name, (low, high) in intervals.items():
            held.setdefault(name, []).append(np.stack([(low <= 0) & (high >= 0), high - low]))
    return {
        name: (
            float(np.concatenate(found, 1)[0].mean()),
            float(np.concatenate(found, 1)[1].mean() / standard_error(repeats)),
        )
        for name, found in held.items()
    }


def coverage_of_counts(
    candidates: int, gain: float, characters: int, repeats: int, stages: int, seed: int = 5
) -> dict[str, float]:
    """The 95 % interval of a candidate's gain for scores of few characters.

    Args:
        candidates: number of candidates, all of the same gain; one of them was named in advance.
        gain: as a fraction.
        stages: number of stages, a multiple of `FEW`.

    Returns:
        before, now: coverage of the former and of the current interval, which accounts for steps
        and disagreements. none: how often the former interval has no width. replaced: how often the
        incumbent is replaced.
    """
    random = np.random.default_rng(seed)
    gains, weights = np.full(candidates, gain), against_first(1 + candidates)[1:2]
    totals = np.zeros(4)
    for _ in range(stages // FEW):
        scores = simulate_counts(FEW, gains, characters, repeats, random)
        failed = np.zeros(scores.shape[:2], bool)
        before, now = (
            estimate(scores, weights, measure_noise(scores, characters=count), VAL_TO_TRAIN)
            for count in (math.inf, characters)
        )
        held = [
            (low <= gain + SAME) & (gain - SAME <= high)
            for low, high in (each.interval() for each in (before, now))
        ]
        winner = decide(scores, failed, np.arange(1 + candidates), VAL_TO_TRAIN, RISK, characters)
        totals += [
            *(each.mean() for each in held),
            (before.error < SAME).mean(),
            (winner != 0).mean(),
        ]
    return dict(zip(("before", "now", "none", "replaced"), totals / (stages // FEW), strict=True))


def neighbours_width(spread: float, repeats: int, stages: int, seed: int = 3) -> float:
    """Increase in width of a candidate's interval if another of six has a larger spread."""
    random = np.random.default_rng(seed)
    widths: list[list[float]] = []
    for _ in range(stages // BATCH):
        scores = simulate(BATCH, np.zeros(6), repeats, "equal", random)
        noisy = scores.copy()
        noisy[:, 6] *= spread
        weights = against_first(7)[1:2]
        both = [estimate(s, weights, measure_noise(s), VAL_TO_TRAIN) for s in (scores, noisy)]
        widths.append([float(np.subtract(*e.interval()[::-1]).mean()) for e in both])
    usual, beside = np.mean(widths, axis=0)
    return float(beside / usual - 1)


def race(
    candidates: int,
    grid: int,
    spread: float,
    repeats: int,
    stages: int,
    seed: int = 4,
    simpler: int | None = None,
) -> dict[str, float]:
    """Effects of racing on stages whose true gains have this spread, in standard errors.

    simpler: as in `decide`, for a later round.

    Returns:
        saved: share of the candidates' trials. stopped: share of stages that stop the contender
        that wins without racing. other: share with another winner. loss: mean decrease of the
        winner's true gain, in standard errors. replaced: share that replace the incumbent.
    """
    random = np.random.default_rng(seed)
    grids = np.concatenate([[0], 1 + np.repeat(np.arange(candidates), grid)])
    totals = np.zeros(5)
    for _ in range(stages // BATCH):
        gains = spread * random.standard_normal((BATCH, candidates * grid))
        scores = simulate(BATCH, gains, repeats, "differing by 30 %", random)
        raced = run_race(scores, grids, simpler)
        winner, raced_winner = (this_rule(each, grids, simpler) for each in (scores, raced))
        stage = np.arange(BATCH)
        truth = np.concatenate([np.zeros((BATCH, 1)), gains], axis=1)
        totals += [
            np.isnan(raced[:, 1:]).mean(),
            np.isnan(raced[stage, winner]).any(-1).mean(),
            (raced_winner != winner).mean(),
            (truth[stage, winner] - truth[stage, raced_winner]).mean(),
            (raced_winner != 0).mean(),
        ]
    shares = totals / (stages // BATCH)
    names = ("saved", "stopped", "other", "loss", "replaced")
    return dict(zip(names, shares.tolist(), strict=True))


def run_race(scores: Floats, grids: NDArray[np.int_], simpler: int | None = None) -> Floats:
    """The scores, with nan for every trial that racing skips."""
    raced = np.full_like(scores, math.nan)
    failed = np.zeros(scores.shape[:2], bool)
    out = failed
    for repeat in range(scores.shape[-1]):
        raced[..., repeat] = np.where(out, math.nan, scores[..., repeat])
        out = out_of_reach(raced, failed, grids, VAL_TO_TRAIN, RISK, simpler=simpler)
    return raced


def later_rounds(
    first: float, last: float, candidates: int, stages: int, seed: int = 6
) -> tuple[float, float, float]:
    """How often a chain ends with a technique, whose candidates all have the same gain.

    Its first stage compares them with the baseline's setting. A later round has noise of its own,
    since the recipe around it has changed.

    Args:
        first, last: true gain over the baseline's setting, in percentage points, when the first
            stage explores it and in the later round.
        stages: number of chains, a multiple of `BATCH`.

    Returns:
        after the first stage, and after a later round that is `backward` or `again`.
    """
    random = np.random.default_rng(seed)
    one = STUDY_NOISE * math.sqrt(2 * (1 / STUDY_REPEATS + VAL_TO_TRAIN))  # SE of a gain
    before, after = (np.full(candidates, gain / one) for gain in (first, last))

    def draw(gains: Floats) -> Floats:
        return simulate(BATCH, gains, STUDY_REPEATS, "differing by 30 %", random)

    grids, counts = np.arange(1 + candidates), np.zeros(3)
    for _ in range(stages // BATCH):
        won = this_rule(draw(before), grids)
        backward = won.copy()
        # The incumbent comes first, and then the baseline's setting, which is the simpler one.
        backward[(won > 0) & (this_rule(draw(-after[:1]), grids[:2], simpler=1) == 1)] = 0
        scores, again = draw(after), won.copy()
        for place in np.unique(won):
            ours = won == place
            order = [place, *(each for each in range(1 + candidates) if each != place)]
            again[ours] = np.take(order, this_rule(scores[ours][:, order], grids, int(place)))
        counts += [(each > 0).sum() for each in (won, backward, again)]
    one_round, with_backward, with_again = (counts / stages).tolist()
    return one_round, with_backward, with_again


def verdict_table(rule: Rule, stages: int) -> pd.DataFrame:
    """Shares of stages at 3, 5 and 10 repeats, with one row per outcome."""
    rows: dict[str, list[float]] = {}
    for count in CANDIDATES:
        equal = "1 equal candidate" if count == 1 else f"one of {count} equal candidates"
        rows[f"replaces the incumbent by {equal}"] = [
            1 - adoption(rule, [0.0] * count, repeats, stages)[0] for repeats in REPEATS
        ]
    for gain in (2.0, 3.0):
        rows[f"adopts the only candidate, better by {gain:.0f} SE"] = [
            adoption(rule, [gain], repeats, stages)[1] for repeats in REPEATS
        ]
    for gain in (2.0, 3.0, 4.0):
        rows[f"adopts it as the last of 6, the other 5 equal, better by {gain:.0f} SE"] = [
            adoption(rule, [0.0] * 5 + [gain], repeats, stages)[6] for repeats in REPEATS
        ]
    return pd.DataFrame(rows, index=[f"{repeats} repeats" for repeats in REPEATS]).T


def coverage_table(candidates: int, stages: int) -> pd.DataFrame:
    """Coverage and relative width, with one row per kind of spread and interval."""
    rows: dict[str, list[str]] = {}
    for spreads in SPREADS:
        for repeats in REPEATS:
            found = coverage(candidates, repeats, spreads, stages)
            former = next(iter(found.values()))[1]
            for name, (held, width) in found.items():
                cell = f"{100 * held:.1f} %, {100 * (width / former - 1):+.0f} %"
                rows.setdefault(f"{spreads}: {name}", []).append(cell)
    return pd.DataFrame(rows, index=[f"{repeats} repeats" for repeats in REPEATS]).T


def small_table(stages: int) -> pd.DataFrame:
    """Intervals of small validation parts: one row per size and gain, one column per repeats."""
    rows: dict[str, list[str]] = {}
    for characters in CHARACTERS:
        for candidates, gain in ((1, 0.0), (1, 0.05), (1, -0.2), (4, 0.0)):
            name = f"{characters} characters, {candidates} of gain {100 * gain:+.0f} points"
            for repeats in FEW_REPEATS:
                found = coverage_of_counts(candidates, gain, characters, repeats, stages)
                rows.setdefault(name, []).append(
                    f"{100 * found['before']:.1f} / {100 * found['now']:.1f} %, "
                    f"{100 * found['none']:.1f} %, {100 * found['replaced']:.0f} %"
                )
    return pd.DataFrame(rows, index=[f"{repeats} repeats" for repeats in FEW_REPEATS]).T


def racing_table(stages: int) -> pd.DataFrame:
    """Effects of racing for stages of several sizes, with gains spread by 0, 1 and 3 SE."""
    rows: dict[str, list[str]] = {}
    for candidates, grid in ((1, 1), (4, 1), (6, GRID)):
        for spread in (0.0, 1.0, 3.0):
            size = f"{candidates} x {grid} settings, gains spread by {spread:.0f} SE"
            for repeats in (3, 5, 10):
                few = stages // 4 if grid > 1 else stages
                found = race(candidates, grid, spread, repeats, few)
                rows.setdefault(size, []).append(
                    f"{100 * found['saved']:.0f} %, {100 * found['stopped']:.1f} %, "
                    f"{100 * found['other']:.1f} %, {found['loss']:.3f}"
                )
    return pd.DataFrame(rows, index=[f"{repeats} repeats" for repeats in REPEATS]).T


def rounds_table(stages: int) -> pd.DataFrame:
    """How often a chain ends with a technique: a row for each history of its gain."""
    rows = {
        name: [share for count in (1, 4) for share in later_rounds(*gains, count, stages)]
        for name, gains in ROUNDS.items()
    }
    rounds = ("one round", "then backward", "then again")
    columns = [f"{said}: {each}" for said in ("1 candidate", "4") for each in rounds]
    return pd.DataFrame(rows, index=columns).T


def _markdown(table: pd.DataFrame, corner: str) -> str:
    rows = (
        [str(name), *(cell if isinstance(cell, str) else f"{100 * cell:.1f} %" for cell in cells)]
        for name, cells in table.iterrows()
    )
    return markdown([corner, *table.columns], rows)


def main() -> None:
    """Run all simulations, and write the results next to this file."""
    stages, intervals, races, few_stages, chains = 40_000, 20_000, 4_000, 4_000, 5_000
    former, this = verdict_table(former_rule, stages), verdict_table(this_rule, stages)
    both = former.map(lambda x: f"{100 * x:.1f}") + " / " + this.map(lambda x: f"{100 * x:.1f} %")
    grids = {
        f"{repeats} repeats": 1 - adoption(this_rule, [0.0] * 6, repeats, stages, grid=GRID)[0]
        for repeats in REPEATS
    }
    beside = {
        f"{repeats} repeats": [neighbours_width(s, repeats, 4_000) for s in (3.0, 10.0, 100.0)]
        for repeats in REPEATS
    }
    spreads = ["3 times the others'", "10 times", "100 times (a near-collapse)"]
    text = f"""# What a verdict is worth

Written by `python benchmarks/verdicts.py` from simulated stages, in which the truth is known:
{stages:,} a number for verdicts, {intervals:,} for intervals. SE is the true standard error of the
mean paired difference of two contenders; n_val / n_train is {VAL_TO_TRAIN:.3f}. Spreads of
contenders differ by 30 % (lognormal) unless a table says otherwise, and repeats are correlated as
Nadeau and Bengio assume.

## Verdicts at `risk: {RISK}`: the rule before / this rule

The rule before took the first contender within 0.96 of its own standard errors of the best.

{_markdown(both, "a stage ...")}

With 6 equal candidates that are each the best of {GRID} rates, this rule replaces the incumbent in
{", ".join(f"{100 * share:.1f} % ({name})" for name, share in grids.items())}: every rate counts as
a comparison.

## The 95 % interval of a candidate named in advance, six candidates

How often it holds the true gain, and its mean width against that of the interval before. Stages use
the last of the three. The last rows show what no
interval that learns from others can do: where one candidate alone is twice as noisy as all others,
and few repeats do not tell, its interval is too narrow.

{_markdown(coverage_table(6, intervals), "spreads: noise from")}

How much wider a candidate's interval is for sharing the stage with one very noisy contender:

{_markdown(pd.DataFrame(beside, spreads), "its spread")}

## Small validation parts

Accuracies of few characters come in steps. How often the 95 % interval of a candidate named in
advance holds the true gain, learnt from the scores alone / with what steps and disagreements allow;
how often the interval from the scores alone has no width at all; and how often the stage replaces
its incumbent. {few_stages:,} stages a number, simulated character by character.

{_markdown(small_table(few_stages), "stage")}

## Racing

Share of the candidates' trials saved; stages that stop the contender that wins without racing;
stages that end with another winner, most of them since fewer trials are there to tell the noise;
and how much less the winner truly gains on average, in SE.

{_markdown(racing_table(races), "stage")}

## A second round

How often a chain ends with a technique, by its true gain over the baseline's setting in percentage
points: after its first stage, and if a later round explores again the baseline's setting and the
present one (`backward`) or for all settings (`again`). The technique has one candidate, or four of
the same gain; {STUDY_REPEATS} repeats, and a noise of {STUDY_NOISE} points, the median of the
stages of the study in git. The noise of the later round is its own: the recipe around the technique
is another one by then. Where nothing has changed since, its trials are cached and its verdict
stays. {chains:,} chains a number.

{_markdown(rounds_table(chains), "the technique ...")}
"""
    Path(__file__).with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
