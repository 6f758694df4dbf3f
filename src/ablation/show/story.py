"""The study as a story: one text with two readers, a code host's Markdown and a browser's page.

`report.md.jinja` is the text. Its numbers, tables, charts and pictures all come from the files of
the study. The page has the look, the scripts and the library of .dvc/plots/page.html, and needs no
network.
"""

import csv
import html
import json
import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt

from ablation.base.files import write_bytes
from ablation.base.formatting import percent, points
from ablation.show import tables
from ablation.show.charts import file_names
from ablation.show.study import Study
from ablation.show.style import family_title
from ablation.show.tables import bounds, gain_with_interval

REPORT = Path("plots/report")
PAGE = Path(".dvc/plots/page.html")
TEMPLATES = Path(".dvc/plots")
TEMPLATE_OF = {"leave_one_out": "gains"}  # the others have the name of their file or folder
LIBRARY = '<script id="vega">'
STORY = Path(__file__).with_name("report.md.jinja")
STYLE = Path(__file__).with_name("report.css")
TOLD = (
    tables.answer, tables.chain, tables.shares, tables.test, tables.pairs, tables.agreement,
    tables.confused, tables.names_in_pictures, tables.times,
)  # fmt: skip
TOLD_OF_LOOK_ALIKES = (tables.look_alikes, tables.kinds)


def write_report(study: Study) -> list[Path]:
    """Write `plots/report.md` and `plots/report.html` under the study's root.

    Needs what `write_pictures` and `write_charts` have written.

    Args:
        study: the files to tell of.

    Returns:
        Both paths.

    Raises:
        UserError: a file of the study is missing; names it and the stage that writes it.
    """
    facts = _facts(study)
    page = _in_page(study, _markup(_render(facts, _Browser(study))))
    told = {".md": _render(facts), ".html": page}
    for suffix, text in told.items():
        write_bytes(text.encode(), study.root / REPORT.with_suffix(suffix))
    return [study.root / REPORT.with_suffix(suffix) for suffix in told]


def answer(study: Study) -> list[str]:
    """The result in four sentences: accuracy, gain, which techniques help, which do not.

    What helps is what leave-one-out found, and what later stages found of themselves.
    """
    models = study.table("plots/comparison/models.csv").set_index("model")
    ranked = models.sort_values("accuracy", ascending=False, kind="stable")
    read = [
        f"the {family_title(model)} names {percent(row['accuracy'])} right "
        f"({bounds(row['low'], row['high'], percent)})"
        for model, row in ranked.iterrows()
    ]
    gained = [
        f"{gain_with_interval(tables.over_baseline(study, model))} for the {family_title(model)}"
        for model in ranked.index
    ]
    worth = {model: _worth_of_each(study, model) for model in ranked.index}
    helped = {model: _helped(table) for model, table in worth.items()}
    others = {model: _others(table) for model, table in worth.items()}
    return [
        f"Of the test {study.things}, with 95 % intervals, {listed(read)}.",
        f"In percentage points, this is {listed(gained)} more than with the baseline recipe"
        f"{_ahead(study, [*ranked.index])}.",
        "Shown to help the final recipe, on fresh repeats, the largest gain first: "
        f"{_for_each(helped)}.",
        f"Not shown to help it, even where a stage has adopted it: {_for_each(others)}.",
    ]


def listed(words: Sequence[str]) -> str:
    """["a", "b", "c"] -> a, b and c"""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _facts(study: Study) -> dict[str, Any]:
    counts = study.table("plots/data/class_counts.csv")
    stages = study.techniques()
    names = dict(zip(stages, file_names(stages), strict=True))
    models = study.table("plots/comparison/models.csv")
    curves = study.tables("baseline/curves.csv")
    told = TOLD + (TOLD_OF_LOOK_ALIKES if study.dataset.look_alikes else ())
    return {
        "note": study.note,
        "dataset": study.name,
        "about": study.dataset.about,
        "things": study.things,
        "thing": study.things.removesuffix("s"),
        "train": counts["train"].sum(),
        "test": counts["test"].sum(),
        "classes": len(counts),
        "techniques": stages[1:],
        "models": study.models,
        "families": tables.titles(study),
        "answer": answer(study),
        "tables": {make.__name__: make(study) for make in told},
        "stages": [_stage(study, technique, names[technique]) for technique in stages[1:]],
        "budgets": listed(
            [
                f"{table['epoch'].max()} epochs for the {family_title(model)}"
                for model, table in curves.items()
            ]
        ),
        "alike": [*study.dataset.look_alikes],
        "calibration": listed(
            [
                f"{percent(row.calibration_error)} for the {family_title(row.model)}"
                for row in models.itertuples()
            ]
        ),
        "title": family_title,
        "names": listed,
    }


def _stage(study: Study, technique: str, name: str) -> dict[str, Any]:
    """What one stage tried and concluded, for the story."""
    candidates = study.tables(f"{technique}/candidates.csv")
    best, every = (
        {family_title(model): ranking(study, technique, model) for model in study.models}
        for ranking in (tables.best_of_each, tables.every_setting)
    )
    return {
        "title": _capital(technique).replace("_", " "),
        "sentences": [
            _concluded(model, table, tables.chain_of(study, model).loc[technique])
            for model, table in candidates.items()
        ],
        "gains": f"gains/{name}",
        "curves": f"curves/{name}",
        "best": best,
        "every": every,
        "has_more": best != every,
        "counts": listed(
            [f"{len(table)} for the {family_title(model)}" for model, table in candidates.items()]
        ),
    }


def _concluded(model: str, candidates: pd.DataFrame, row: pd.Series) -> str:
    said = f"The {family_title(model)} {row['verdict']} `{row['winner']}`"
    if row["verdict"] == "adopted":
        before = candidates.loc[0, "setting"]
        return (
            f"{said} in place of `{before}`: {gain_with_interval(row)} points, which makes "
            f"{percent(row['accuracy'])}."
        )
    if len(candidates) == 1:
        return f"{said}: nothing else was tried."
    return f"{said}: no other setting was better beyond the noise."


def _worth_of_each(study: Study, model: str) -> pd.DataFrame:
    """The gain of every technique with its interval, and whether the training fails without it."""
    worth = tables.worth_of(study, model).drop("all")
    later = tables.chain_of(study, model).loc[tables.later_stages(study)].assign(failed=False)
    later.index = [f"then {name}" for name in later.index]
    columns = ["gain", "low", "high", "failed"]
    return pd.concat([worth[columns], later[columns]]) if len(later) else worth[columns]


def _ahead(study: Study, ranked: Sequence[str]) -> str:
    """How far the best family is ahead of each other one; empty where there is no other."""
    pairs = study.table("plots/comparison/pairs.csv").set_index(["first", "second"])
    best, *others = ranked
    gaps = []
    for other in others:
        if (other, best) in pairs.index:
            gap = pairs.loc[(other, best)]
        else:
            turned = -pairs.loc[(best, other)]
            gap = turned.rename({"low": "high", "high": "low"})
        gaps.append(f"{gain_with_interval(gap)} more than the {family_title(other)}")
    return f", and for the {family_title(best)} {listed(gaps)}" if gaps else ""


def _helps(worth: pd.DataFrame) -> pd.Series:
    """Whether a technique has shown that it helps: all of its interval does, or nothing works."""
    return (worth["low"] > 0) | worth["failed"].astype(bool)


def _helped(worth: pd.DataFrame) -> str:
    helping = worth[_helps(worth)].sort_values("gain", ascending=False, na_position="first")
    helping = helping.sort_index(key=lambda names: names.str.startswith("then "), kind="stable")
    said = [
        f"{technique} ("
        + ("without it the training fails" if row["failed"] else points(row["gain"]))
        + ")"
        for technique, row in helping.iterrows()
    ]
    return listed(said) if said else "no technique"


def _others(worth: pd.DataFrame) -> str:
    others = [*worth.index[~_helps(worth)]]
    return listed([name.removeprefix("then ") for name in others]) if others else "no technique"


def _for_each(said: dict[str, str]) -> str:
    """What is said of each family, once where it is the same."""
    models: dict[str, list[str]] = {}
    for model, words in said.items():
        models.setdefault(words, []).append(f"the {family_title(model)}")
    return "; ".join(f"{words} in {listed(families)}" for words, families in models.items())


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class _Browser:
    """HTML inside the Markdown: charts that can be pointed at, pictures that are in the page."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.described: set[str] = set()
        self.drawn = 0

    def picture(self, name: str, said: str) -> str:
        content = (self.study.root / f"plots/pictures/{name}.png").read_bytes()
        source = f"data:image/png;base64,{b64encode(content).decode()}"
        return f'<p><img alt="{html.escape(said)}" src="{source}"></p>'

    def chart(self, name: str, of_each: str = "") -> str:
        """A chart of plots/charts in its template, which DVC fills in the same way.

        Args:
            name: of its table.
            of_each: of another table; the chart then has the settings of this one alone, ranked.
        """
        rows = self._rows(name)
        if of_each:
            shown = {(row["model"], row["name"]) for row in self._rows(of_each)}
            rows = _ranked([row for row in rows if (row["model"], row["name"]) in shown])
        template = TEMPLATE_OF.get(name, name.split("/")[0])
        spec = json.loads((self.study.root / TEMPLATES / f"{template}.json").read_text())
        spec["data"]["values"] = [row | {"rev": "workspace"} for row in rows]
        if spec["description"] in self.described:
            del spec["description"]  # the page has explained such a chart
        else:
            self.described.add(spec["description"])
        self.drawn += 1
        place = f"chart-{self.drawn}"
        content = json.dumps(spec).replace("</", "<\\/")
        script = f'<script>vegaEmbed("#{place}", {content});</script>'
        return f'<div class="chart" id="{place}" data-name="{name}">{script}</div>'

    def _rows(self, name: str) -> list[dict[str, str]]:
        with (self.study.root / f"plots/charts/{name}.csv").open(newline="") as file:
            return list(csv.DictReader(file))


def _ranked(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rows of a chart of gains, numbered from the largest gain down."""
    ranked = sorted(rows, key=lambda row: -float(row["at"]))
    return [row | {"row": str(place)} for place, row in enumerate(ranked)]


def _host_picture(name: str, said: str) -> str:
    return f"![{said}](pictures/{name}.png)"


def _render(facts: dict[str, Any], browser: _Browser | None = None) -> str:
    """The story as Markdown: for a browser, or for a code host, which runs no scripts."""
    environment = Environment(
        loader=FileSystemLoader(STORY.parent), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    means: dict[str, Any] = {"html": False, "picture": _host_picture}
    if browser:
        means = {"html": True, "picture": browser.picture, "chart": browser.chart}
    text = environment.get_template(STORY.name).render(facts | means, folded=_folded)
    return re.sub(r"\n{3,}", "\n\n", text)


def _folded(summary: str, caller: Callable[[], str]) -> str:
    """What is shown on demand; code hosts know this, too."""
    inside = caller().strip()
    return f"<details>\n<summary>{html.escape(summary)}</summary>\n\n{inside}\n\n</details>\n"


def _markup(text: str) -> str:
    """The story as HTML; its headings have the names that code hosts give them."""
    body = MarkdownIt("commonmark").enable("table").render(text)
    body = re.sub(r"<table>.*?</table>", r'<div class="table">\g<0></div>', body, flags=re.DOTALL)
    return re.sub(r"<h2>(.+?)</h2>", lambda found: _heading(found[1]), body)


def _heading(title: str) -> str:
    return f'<h2 id="{title.lower().replace(" ", "-")}">{title}</h2>'


def _in_page(study: Study, body: str) -> str:
    """The page of `dvc plots show`, its look, scripts and library, with the story as its body."""
    page = (study.root / PAGE).read_text()
    head = page[: page.index("<body>")].replace("{refresh_tag}\n", "\n")
    library = page[page.index(LIBRARY) :]
    style = f"<style>\n{STYLE.read_text()}</style>\n"
    head = head.replace("</head>", f"{style}</head>")
    return f"{head}<body>\n<main>\n{body}</main>\n{library}"
