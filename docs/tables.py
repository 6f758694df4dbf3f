"""Every table of results in README.md and docs/, made from the files that the study wrote.

    python docs/tables.py

A table stands between two marks, `<!-- table: NAME -->` and `<!-- end -->`. What is between them is
written anew from params.yaml, metrics/, plots/, data/times/ and benchmarks/; everything else stays
as it is.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pandas as pd

from ablation.base.console import percent, points
from ablation.base.files import read_csv, read_json
from ablation.judge.evaluation import look_alike_errors
from ablation.params import PARAMS, load_params

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
METRICS = ("accuracy", "gain", "low", "high", "precision", "recall", "f1", "verdict", "winner")
MINUTE = 60


def main() -> None:
    for page in pages():
        text = page.read_text()
        renewed = renew(text, ROOT)
        if renewed != text:
            page.write_text(renewed)
            print(f"wrote {page.relative_to(ROOT)}")


def pages() -> list[Path]:
    """The pages that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def renew(text: str, study: Path) -> str:
    """A page with every table made anew from the files of a study.

    Args:
        text: the page.
        study: the folder that holds params.yaml, metrics/, plots/, data/times/ and benchmarks/.

    Raises:
        KeyError: the page asks for a table that is not in `TABLES`.
    """
    return BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]](study)}\n{block[3]}", text)


def answer(study: Path) -> str:
    """What each technique is worth in the end, for every family.

    A technique that the chain changed: what leave-one-out found. One that stayed as it was in the
    baseline: the best of the other settings, as its stage found it.
    """
    worth = {model: worth_of(study, model) for model in families(study)}
    techniques = next(iter(worth.values())).index
    rows = [
        ["all of them" if name == "all" else name]
        + [worth_cell(study, model, table.loc[name]) for model, table in worth.items()]
        for name in techniques
    ]
    return markdown(["technique", *titles(study)], rows)


def worth_of(study: Path, model: str) -> pd.DataFrame:
    """A row a technique, and a last row `all`: the final recipe's gain over one without it."""
    gains = read_csv(study / "plots" / model / "leave_one_out/gains.csv")
    return gains.set_index("technique")


def worth_cell(study: Path, model: str, row: pd.Series) -> str:
    if row.name == "all":
        return gain_with_interval(row) if pd.notna(row["gain"]) else "nothing changed"
    before, after = row["baseline_setting"], row["final_setting"]
    if before == after:
        return f"`{after}` stays; {best_of_the_others(study, model, str(row.name), after)}"
    found = "without it the training fails" if pd.isna(row["gain"]) else gain_with_interval(row)
    return f"`{before}` → `{after}`: {found}"


def best_of_the_others(study: Path, model: str, technique: str, setting: str) -> str:
    """The setting that came nearest to the one that stayed, as the stage found it."""
    table = read_csv(study / "plots" / model / technique / "candidates.csv")
    others = table[(table["setting"] != setting) & ~failed(table)]
    if others.empty:
        return "nothing else was tried" if len(table) == 1 else "all others failed"
    finished = others[others["repeats"] == table["repeats"].max()]
    best = others.loc[(others if finished.empty else finished)["gain"].idxmax()]
    return f"`{best['setting']}`: {gain_with_interval(best)}"


def failed(candidates: pd.DataFrame) -> pd.Series:
    """Which settings diverged or collapsed."""
    marks = candidates.reindex(columns=["diverged", "collapsed"], fill_value=False)
    return marks.astype(bool).any(axis=1)


def shares(study: Path) -> str:
    """The share of each changed technique in the whole gain, and what pairs do beyond their own."""
    columns = {}
    for model, title in zip(families(study), titles(study), strict=True):
        folder = study / "plots" / model / "leave_one_out"
        parts = read_csv(folder / "shapley.csv").set_index("technique")
        pairs = read_csv(folder / "interactions.csv")
        pairs.index = pd.Index(pairs["first"] + " x " + pairs["second"])
        whole = worth_of(study, model).loc[["all"]].rename({"all": "the whole"})
        rows = pd.concat([parts, whole, pairs])[["gain", "low", "high"]]
        columns[title] = {name: gain_with_interval(row) for name, row in rows.iterrows()}
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [[name, *(column.get(name, "") for column in columns.values())] for name in names]
    return markdown(["technique", *columns], rows)


def chain(study: Path) -> str:
    """What every stage concluded, for every family."""
    concluded = {model: last_chain(study, model) for model in families(study)}
    techniques = next(iter(concluded.values())).index
    rows = [
        [name, *(cell for table in concluded.values() for cell in chain_cells(table.loc[name]))]
        for name in techniques
    ]
    heads = [head for title in titles(study) for head in (title, f"{title}: verdict")]
    return markdown(["stage", *heads], rows)


def last_chain(study: Path, model: str) -> pd.DataFrame:
    together = read_csv(study / "plots/comparison/chain.csv")
    return together[together["model"] == model].set_index("technique")


def chain_cells(row: pd.Series) -> tuple[str, str]:
    first = row.name == "baseline"
    verdict = "start" if first else row["verdict"]
    gain = "" if pd.isna(row["gain"]) else f", {gain_with_interval(row)}"
    return f"`{row['winner']}`: {percent(row['accuracy'])}", f"{verdict}{gain}"


def test(study: Path) -> str:
    """What each released model did on the test set, and what it costs."""
    models = read_csv(study / "plots/comparison/models.csv").set_index("model")
    times = pd.DataFrame(
        {model: read_csv(study / f"data/times/{model}/test.csv").iloc[0] for model in models.index}
    ).T
    lines = {
        "accuracy (95 % interval)": [
            f"**{percent(row.accuracy)}** ({bounds(row.low, row.high, percent)})"
            for row in models.itertuples()
        ],
        "more than the baseline recipe": [
            gain_with_interval(pd.Series(read_json(study / f"metrics/{m}/test_over_baseline.json")))
            for m in models.index
        ],
        "over all seeds: mean, spread": [
            percent(row.seeds_mean) + ("" if pd.isna(row.seeds_spread) else spread(row))
            for row in models.itertuples()
        ],
        "the baseline over all seeds": [
            percent(row.baseline_mean)
            + ("" if pd.isna(row.baseline_spread) else f", {100 * row.baseline_spread:.2f}")
            for row in models.itertuples()
        ],
        "right within two guesses": map(percent, models["top2"]),
        "macro precision": map(percent, models["precision"]),
        "macro recall": map(percent, models["recall"]),
        "macro F1": map(percent, models["f1"]),
        "expected calibration error": map(percent, models["calibration_error"]),
        "parameters": (f"{count:,}" for count in models["parameters"]),
        "training, one core or GPU": (f"{seconds:.0f} s" for seconds in times["train_seconds"]),
        "prediction, one core": (f"{rate:,.0f} images/s" for rate in times["images_per_second"]),
    }
    rows = [[head, *cells] for head, cells in lines.items()]
    return markdown(["on the test characters", *titles(study)], rows)


def spread(row: Any) -> str:
    return f", {100 * row.seeds_spread:.2f}"


def ours(study: Path) -> str:
    """The released models as a table of published results would list them."""
    dataset = load_params(study / PARAMS).data.dataset
    counts = read_csv(study / "plots/data/class_counts.csv")
    rows = [
        [
            f"{title}, this project",
            f"{dataset}: {counts['train'].sum():,}",
            f"{counts['test'].sum():,}",
            percent(row.accuracy),
            f"{row.parameters:,}",
        ]
        for title, row in zip(
            titles(study), tuples(read_csv(study / "plots/comparison/models.csv")), strict=True
        )
    ]
    heads = ["model", "training characters", "test characters", "test accuracy", "parameters"]
    return markdown(heads, rows)


def pairs(study: Path) -> str:
    """Every two families on the same test characters."""
    table = read_csv(study / "plots/comparison/pairs.csv")
    rows = [
        [
            f"{row['second'].upper()} minus {row['first'].upper()}",
            gain_with_interval(row),
            f"{row['mcnemar_p']:.0e}",
        ]
        for _, row in table.iterrows()
    ]
    return markdown(["pair", "points more of the test characters", "McNemar's p"], rows)


def agreement(study: Path) -> str:
    """On how many test characters all models are right, some of them, or none."""
    table = read_csv(study / "plots/comparison/agreement.csv")
    rows = [[row.outcome, f"{row.count:,}", percent(row.share)] for row in tuples(table)]
    return markdown(["outcome", "characters", "share"], rows)


def look_alikes(study: Path) -> str:
    """How many of each model's errors are between characters of one shape."""
    table = read_csv(study / "plots/comparison/ambiguous.csv")
    models = families(study)
    shares = table.pivot(index="group", columns="model", values="share_of_errors")
    groups = [*dict.fromkeys(table["group"])]
    rows = [
        ["all of these" if group == "all" else group]
        + [f"{100 * shares.loc[group, model]:.1f} %" for model in models]
        for group in groups
    ]
    return markdown(["look-alikes", *(f"of the {title}'s errors" for title in titles(study))], rows)


def kinds(study: Path) -> str:
    """How many errors are between look-alikes, between the cases of a letter, and all else."""
    look_alikes = load_params(study / PARAMS).dataset.look_alikes
    columns = [
        kinds_of_errors(read_csv(study / "plots" / model / "test/predictions.csv"), look_alikes)
        for model in families(study)
    ]
    rows = [
        [
            kind,
            *(
                f"{column[kind]:,} ({100 * column[kind] / column['all']:.1f} %)"
                for column in columns
            ),
        ]
        for kind in columns[0]
    ]
    return markdown(["errors", *(f"the {title}'s" for title in titles(study))], rows)


def kinds_of_errors(predictions: pd.DataFrame, look_alikes: Mapping[str, str]) -> dict[str, int]:
    """The errors of one model by what makes them hard; a look-alike is not counted as a case.

    Args:
        predictions: columns actual and predicted, one row a test character.
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
        "all else: a person could tell": errors - alike - case,
        "all": errors,
    }


def confused(study: Path) -> str:
    """The pairs of characters that each model takes for each other most often."""
    columns = [
        [f"{row.first} / {row.second}: {row.errors}" for row in tuples(table)]
        for table in (
            read_csv(study / "plots" / model / "test/confused.csv") for model in families(study)
        )
    ]
    return markdown(titles(study), zip_longest(*columns, fillvalue=""))


def metrics(study: Path) -> str:
    """What `dvc metrics show` prints: a line for every file of metrics/, absent numbers empty."""
    files = sorted((study / "metrics").rglob("*.json"))
    rows = [[f"`{file.relative_to(study)}`", *metrics_cells(read_json(file))] for file in files]
    return markdown(["file", *METRICS], rows)


def metrics_cells(numbers: dict[str, Any]) -> Iterable[str]:
    cells = (numbers.get(name, "") for name in METRICS)
    return (f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells)


def times(study: Path) -> str:
    """How many trainings every stage made, their time on one core or GPU, and what computed them.

    A training that an earlier stage has made, the incumbent's, is counted there alone.
    """
    models = families(study)
    stages = [*last_chain(study, models[0]).index, "leave_one_out", "fit"]
    made = {stage: [new_times(study, model, stage) for model in models] for stage in stages}
    made["all of them"] = [pd.concat(tables) for tables in zip(*made.values(), strict=True)]
    rows = [
        [stage, *(cell for table in tables for cell in time_cells(table)), computed_on(tables)]
        for stage, tables in made.items()
    ]
    heads = [head for title in titles(study) for head in (f"{title}: trainings", "minutes")]
    return markdown(["stage", *heads, "computed on"], rows)


def new_times(study: Path, model: str, stage: str) -> pd.DataFrame:
    table = read_csv(study / f"data/times/{model}/{stage}.csv")
    if stage in ("baseline", "leave_one_out", "fit"):
        return table
    return table[table["setting"] != table["setting"].iloc[0]]


def time_cells(table: pd.DataFrame) -> tuple[str, str]:
    return str(len(table)), f"{table['train_seconds'].sum() / MINUTE:.1f}"


def computed_on(tables: Sequence[pd.DataFrame]) -> str:
    """`AMD EPYC (Zen 5), bf16`; several where a stage was not computed in one place."""
    together = pd.concat(tables)
    return "; ".join((together["computer"] + ", " + together["precision"]).unique())


def throughput(study: Path) -> str:
    """Images a second: the plain loop, the engine, and the engine's own ceiling."""
    rows = [
        [f"{row['model'].upper()} {row['sizes']}"]
        + [f"{row[name]:,}" for name in ("plain", "engine", "ceiling")]
        + [f"{row['engine_over_plain']:.1f} x", f"{100 * row['engine_over_ceiling']:.0f} %"]
        for row in benchmark(study, "throughput-cpu")["rows"]
    ]
    heads = ["model", "plain loop", "engine", "ceiling", "engine / plain", "engine / ceiling"]
    return markdown(heads, rows)


def study_time(study: Path) -> str:
    """How long `dvc repro` of the demo's study takes."""
    rows = [
        [row["way"], duration(row["seconds"]), str(row["trainings"])]
        for row in benchmark(study, "study-time")["rows"]
    ]
    return markdown(["`dvc repro` of the demo's study", "time", "trainings"], rows)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), MINUTE)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def precision(study: Path) -> str:
    """What bf16 costs in validation accuracy."""
    rows = [
        [
            row["model"].upper(),
            percent(row["bf16"]),
            percent(row["float32"]),
            f"{points(row['difference'])} ({precision_bounds(row)})",
            str(row["repeats"]),
        ]
        for row in benchmark(study, "precision")["rows"]
    ]
    heads = ["model", "bf16", "float32", "bf16 minus float32 (95 % interval)", "repeats"]
    return markdown(heads, rows)


def precision_bounds(row: dict[str, float]) -> str:
    return bounds(row["difference_low"], row["difference_high"], points)


def racing(study: Path) -> str:
    """What racing saved, and in how many stages it changed the winner."""
    table = pd.DataFrame(benchmark(study, "racing")["rows"])
    changed = table["winner_with"] != table["winner_without"]
    stages = table.assign(changed=changed).groupby("model", sort=False)
    rows = [
        [
            model.upper(),
            *(f"{group[f'trials_{way}'].sum():,}" for way in ("without", "with")),
            f"{group['changed'].sum()} of {len(group)}",
        ]
        for model, group in stages
    ]
    return markdown(["model", "trials without racing", "with racing", "other winners"], rows)


def verdicts(study: Path) -> str:
    """The first table of benchmarks/verdicts.md: how often a stage's verdict is right."""
    lines = (study / "benchmarks/verdicts.md").read_text().splitlines()
    tables = "\n".join(line if line.startswith("|") else "" for line in lines)
    return tables.strip().split("\n\n", maxsplit=1)[0]


def coverage(study: Path) -> str:
    """How often the intervals hold the truth in worlds of real characters."""
    content = benchmark(study, "coverage")
    rows = [
        [
            f"`{row['contender']}` minus `relu`",
            row["interval"],
            points(row["truth"]),
            f"{row['held']} of {content['worlds']}",
            f"{100 * row['share']:.0f} % ({100 * row['low']:.0f} to {100 * row['high']:.0f} %)",
            *(f"{100 * row[name]:.2f}" for name in ("width", "claimed", "real")),
        ]
        for row in content["rows"]
    ]
    heads = ["gain", "interval", "truth", "held", "share (95 % interval)", "mean width"]
    return markdown([*heads, "error claimed", "real error"], rows)


TABLES: dict[str, Callable[[Path], str]] = {
    "answer": answer,
    "shares": shares,
    "chain": chain,
    "test": test,
    "ours": ours,
    "pairs": pairs,
    "agreement": agreement,
    "look_alikes": look_alikes,
    "kinds": kinds,
    "confused": confused,
    "metrics": metrics,
    "times": times,
    "throughput": throughput,
    "study_time": study_time,
    "precision": precision,
    "racing": racing,
    "verdicts": verdicts,
    "coverage": coverage,
}


def families(study: Path) -> list[str]:
    """The families of a study, in the order of its files."""
    return [*read_csv(study / "plots/comparison/models.csv")["model"]]


def titles(study: Path) -> list[str]:
    """What a table calls the families."""
    return [model.upper() for model in families(study)]


def benchmark(study: Path, section: str) -> dict[str, Any]:
    """A section of benchmarks/results.json."""
    content: dict[str, Any] = json.loads((study / "benchmarks/results.json").read_text())[section]
    return content


def gain_with_interval(row: pd.Series) -> str:
    """`+0.31 (+0.10 to +0.52)` in percentage points; bold where all of it is above zero."""
    if pd.isna(row["low"]):
        return points(row["gain"])
    said = f"{points(row['gain'])} ({bounds(row['low'], row['high'], points)})"
    return f"**{said}**" if row["low"] > 0 else said


def bounds(low: float, high: float, say: Callable[[float], str]) -> str:
    """`84.49 to 86.14 %`, `-0.10 to +0.20`: the unit is said once."""
    return f"{say(low).removesuffix(' %')} to {say(high)}"


def tuples(table: pd.DataFrame) -> Iterable[Any]:
    rows: Iterable[Any] = table.itertuples(index=False)
    return rows


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as GitHub reads it; a bar inside a cell would end it."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines
    )


if __name__ == "__main__":
    main()
