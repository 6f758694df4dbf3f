"""Every table of results in README.md and docs/, made from the files that the study wrote.

    python docs/tables.py

A table stands between two marks, `<!-- table: NAME -->` and `<!-- end -->`. What is between them is
written anew from params.yaml, metrics/, plots/, data/times/ and benchmarks/; everything else stays
as it is.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from ablation.base.formatting import markdown, percent, points
from ablation.params import PARAMS, load_params
from ablation.show import answer, tables
from ablation.show.study import Study
from ablation.show.style import family_title
from ablation.show.tables import bounds

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
MINUTE = 60


def main() -> None:
    study = study_in(ROOT)
    for page in pages():
        text = page.read_text()
        renewed = renew(text, study)
        if renewed != text:
            page.write_text(renewed)
            print(f"wrote {page.relative_to(ROOT)}")


def pages() -> list[Path]:
    """The pages that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def study_in(root: Path) -> Study:
    """The study of a folder that holds params.yaml, metrics/, plots/ and data/."""
    params = load_params(root / PARAMS)
    return Study(root, params.families, params.data.dataset, params.dataset)


def renew(text: str, study: Study) -> str:
    """A page with every table made anew from the files of a study.

    Args:
        text: the page.
        study: its files, with benchmarks/ beside them.

    Raises:
        KeyError: the page asks for a table that is not in `TABLES`.
    """
    return BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]](study)}\n{block[3]}", text)


def ours(study: Study) -> str:
    """The released models as a table of published results would list them."""
    counts = study.table("plots/data/class_counts.csv")
    models = study.table("plots/comparison/models.csv")
    rows = [
        [
            f"{title}, this project",
            f"{study.name}: {counts['train'].sum():,}",
            f"{counts['test'].sum():,}",
            percent(row.accuracy),
            f"{row.parameters:,}",
        ]
        for title, row in zip(tables.titles(study), tables.tuples(models), strict=True)
    ]
    heads = ["model", "training characters", "test characters", "test accuracy", "parameters"]
    return markdown(heads, rows)


def throughput(study: Study) -> str:
    """Images a second: the plain loop, the engine, and the engine's own ceiling."""
    rows = [
        [f"{row['model'].upper()} {row['sizes']}"]
        + [f"{row[name]:,}" for name in ("plain", "engine", "ceiling")]
        + [f"{row['engine_over_plain']:.1f} x", f"{100 * row['engine_over_ceiling']:.0f} %"]
        for row in benchmark(study, "throughput-cpu")["rows"]
    ]
    heads = ["model", "plain loop", "engine", "ceiling", "engine / plain", "engine / ceiling"]
    return markdown(heads, rows)


def study_time(study: Study) -> str:
    """How long `dvc repro` of the demo's study takes."""
    rows = [
        [row["way"], duration(row["seconds"]), str(row["trainings"])]
        for row in benchmark(study, "study-time")["rows"]
    ]
    return markdown(["`dvc repro` of the demo's study", "time", "trainings"], rows)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), MINUTE)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def precision(study: Study) -> str:
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


def racing(study: Study) -> str:
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


def additions(study: Study) -> str:
    """What augmentation, smoothing and averaging add to the time of a training on the processor."""
    rows = [
        [family_title(row["model"]), f"`{row['with']}`", f"{row['over_baseline']:.2f} x"]
        for row in benchmark(study, "additions-cpu")["rows"]
    ]
    return markdown(["network", "with", "time over the baseline's"], rows)


def naps(study: Study) -> str:
    """Overhead per trial, measured with trials that sleep."""
    rows = [
        [row["place"], str(row["workers"]), f"{row['trials_a_minute']:,}", f"{row['own_ms']} ms"]
        for row in benchmark(study, "growth")["naps"]
    ]
    return markdown(["workers of", "workers", "trials per minute", "overhead per trial"], rows)


def real_trials(study: Study) -> str:
    """Real trials per minute of one and two workers."""
    rows = [
        [row["place"], str(row["workers"]), f"{row['trials_a_minute']:,}"]
        for row in benchmark(study, "growth")["real"]
    ]
    return markdown(["workers of", "workers", "trials per minute"], rows)


def simulated(study: Study) -> str:
    """Simulated duration of large stages."""
    rows = [
        [row["stage"]]
        + [f"{row[name]:,}" for name in ("workers", "trials", "counted")]
        + [f"{row['minutes']} min", f"{row['ideal_minutes']} min", f"{row['over_ideal']} x"]
        for row in benchmark(study, "growth")["simulated"]
    ]
    heads = ["stage", "workers", "trials", "of them count", "takes", "ideal", "takes / ideal"]
    return markdown(heads, rows)


def verdicts(study: Study) -> str:
    """The first table of benchmarks/verdicts.md: how often a stage's verdict is correct."""
    lines = (study.root / "benchmarks/verdicts.md").read_text().splitlines()
    found = "\n".join(line if line.startswith("|") else "" for line in lines)
    return found.strip().split("\n\n", maxsplit=1)[0]


def rounds(study: Study) -> str:
    """The last table of benchmarks/verdicts.md: what a second round does to the risk."""
    text = (study.root / "benchmarks/verdicts.md").read_text()
    return text.rstrip().rpartition("\n\n")[-1]


def coverage(study: Study) -> str:
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


def scenes(study: Study) -> str:
    """Accuracy by scene."""
    content = benchmark(study, "scenes")
    rows = [
        [scene, *(f"{100 * share:.0f}" for model in models.values() for share in model.values())]
        for scene, models in content["scenes"].items()
    ]
    models = next(iter(content["scenes"].values()))
    heads = [
        f"{family_title(model)}: {what}, %"
        for model, shares in models.items()
        for what in ("correct", "wrong and silent", "warned")[: len(shares)]
    ]
    return markdown(["scene", *heads], rows)


TABLES: dict[str, Callable[[Study], str]] = {
    "result": answer.result,
    "budget": answer.budget,
    "answer": tables.answer,
    "shares": tables.shares,
    "chain": tables.chain,
    "test": tables.test,
    "ours": ours,
    "pairs": tables.pairs,
    "agreement": tables.agreement,
    "look_alikes": tables.look_alikes,
    "kinds": tables.kinds,
    "confused": tables.confused,
    "times": tables.times,
    "throughput": throughput,
    "study_time": study_time,
    "precision": precision,
    "racing": racing,
    "additions": additions,
    "naps": naps,
    "real_trials": real_trials,
    "simulated": simulated,
    "verdicts": verdicts,
    "rounds": rounds,
    "coverage": coverage,
    "scenes": scenes,
}


def benchmark(study: Study, section: str) -> dict[str, Any]:
    """A section of benchmarks/results.json."""
    content: dict[str, Any] = json.loads((study.root / "benchmarks/results.json").read_text())[
        section
    ]
    return content


if __name__ == "__main__":
    main()
