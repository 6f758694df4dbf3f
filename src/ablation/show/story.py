"""Renders the report of a study as Markdown for code hosts, and as a page for browsers.

`report.md.jinja` is the text. Its numbers, tables, charts and pictures all come from the files of
the study. The page uses the styles, the scripts and the library of .dvc/plots/page.html, and works
offline.
"""

import csv
import html
import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt

from ablation.base.files import write_bytes
from ablation.base.formatting import counted, percent, points
from ablation.labels import ChainStage
from ablation.show import tables
from ablation.show.answer import (
    answer,
    budget,
    computed_alike,
    count_seeds,
    in_training,
    join,
)
from ablation.show.study import Study
from ablation.show.style import family_title
from ablation.show.tables import gain_with_interval

REPORT = Path("plots/report")
PAGE = Path(".dvc/plots/page.html")
TEMPLATES = Path(".dvc/plots")
TEMPLATE_OF = {
    "leave_one_out": "gains",
    "shares": "gains",
}  # others are named after their file or folder
OF_IMAGES = ("data/class_samples", "models/first_predictions", "models/worst")
LEAST_VISIBLE = 0.00005  # smallest difference that two digits of percentage points show
LIBRARY = '<script id="vega">'
STORY = Path(__file__).with_name("report.md.jinja")
STYLE = Path(__file__).with_name("report.css")
TABLES = (
    tables.scores, tables.answer, tables.chain, tables.shares, tables.test, tables.pairs,
    tables.agreement, tables.calibration, tables.confused, tables.names_in_pictures, tables.times,
)  # fmt: skip
LOOK_ALIKE_TABLES = (tables.look_alikes, tables.kinds)


def write_report(study: Study) -> list[Path]:
    """Write `plots/report.md` and `plots/report.html` under the study's root.

    Requires the output of `write_pictures` and `write_charts`.

    Args:
        study: the files to report on.

    Returns:
        Both paths.

    Raises:
        UserError: a file of the study is missing; names it and the stage that writes it.
    """
    facts = _facts(study)
    page = _in_page(study, markup(_render(facts, _Browser(study))))
    rendered = {".md": _render(facts), ".html": page}
    for suffix, text in rendered.items():
        write_bytes(text.encode(), study.root / REPORT.with_suffix(suffix))
    return [study.root / REPORT.with_suffix(suffix) for suffix in rendered]


def _facts(study: Study) -> dict[str, Any]:
    counts = study.table("plots/data/class_counts.csv")
    names = study.chart_names()
    models = study.table("plots/comparison/models.csv")
    shown = TABLES + (LOOK_ALIKE_TABLES if study.dataset.look_alikes else ())
    return {
        "note": study.note,
        "dataset": study.title,
        "about": study.dataset.about,
        "things": study.things,
        "thing": study.things.removesuffix("s"),
        "train": counts["train"].sum(),
        "test": counts["test"].sum(),
        "classes": len(counts),
        "techniques": study.techniques(),
        "models": study.models,
        "families": tables.titles(study),
        "answer": answer(study),
        "tables": {make.__name__: make(study) for make in shown},
        "stages": [_stage(study, stage, names[stage]) for stage in study.stages()[1:]],
        "budget": budget(study),
        "alike": [*study.dataset.look_alikes],
        "seeds": count_seeds(study),
        "in_training": join(in_training(study)),
        "computed": computed_alike(study),
        "calibrated": "; ".join(_calibrated(row) for _, row in models.iterrows()),
        "title": family_title,
        "names": join,
    }


def _stage(study: Study, technique: str, name: str) -> dict[str, Any]:
    """The template variables of one stage's section."""
    candidates = study.tables(f"{technique}/candidates.csv")
    return {
        "title": _capital(technique).replace("_", " ").replace("/", ": "),
        "sentences": [
            _concluded(
                model,
                table,
                tables.chain_of(study, model).loc[technique],
                again=ChainStage.named(technique).contest != "first",
            )
            for model, table in candidates.items()
        ],
        "gains": f"gains/{name}",
        "curves": f"curves/{name}",
        "every": {
            family_title(model): tables.every_setting(study, technique, model)
            for model in study.models
        },
    }


def _concluded(model: str, candidates: pd.DataFrame, row: pd.Series, *, again: bool) -> str:
    """The conclusion of a stage; `again`: it compared all settings on equal terms."""
    said = f"The {family_title(model)} {row['verdict']} `{row['winner']}`"
    if row["verdict"] == "adopted":
        before = candidates.loc[0, "setting"]
        return (
            f"{said} in place of `{before}`: {gain_with_interval(row)} points, for an "
            f"accuracy of {percent(row['accuracy'])}.{_why_not_the_best(candidates, again)}"
        )
    others = candidates[1:]
    if others.empty:
        return f"{said}: nothing else was tried."
    if tables.failed(others).all():
        return f"{said}: {'the only other setting' if len(others) == 1 else 'all others'} failed."
    if again:
        return f"{said}: the simplest setting that is within the stage's tolerance of the best."
    if (others["finding"] == "better").any():
        return (
            f"{said}: no other setting that ran to the end gained more than the best of as many "
            "equal settings would by chance."
        )
    return f"{said}: no other setting was better beyond the noise."


def _why_not_the_best(candidates: pd.DataFrame, again: bool) -> str:
    """Why a setting with a larger gain did not win; empty if there is none."""
    winner = candidates[candidates["role"] == "winner"].iloc[0]
    finished = candidates["repeats"] == candidates["repeats"].max()
    able = candidates[finished & candidates["won_grid"].astype(bool) & ~tables.failed(candidates)]
    able = able.assign(gain=able["gain"].fillna(0.0))  # the incumbent's
    ahead = able[able["gain"] - winner["gain"] > LEAST_VISIBLE]
    if ahead.empty:
        return ""
    best = ahead.loc[ahead["gain"].idxmax()]
    more = f"{100 * (best['gain'] - winner['gain']):.2f} points more are within the noise"
    if best["role"] == "incumbent":
        return f" The {more}, so the simplest wins."
    said = f" `{best['setting']}` gained {points(best['gain'])}"
    if best["finding"] == "unsteady":
        return f"{said}, but its scores vary too much to be sure of it."
    first = "" if again else ": the one that `params.yaml` lists first"
    return f"{said}, but {more}, so the simplest wins{first}."


def _calibrated(row: pd.Series) -> str:
    """The effect of a model's temperature on its calibration error, as displayed."""
    effect = "more confident" if row["temperature"] < 1 else "less confident"
    before, after = (percent(row[f"calibration_error{which}"]) for which in ("_before", ""))
    verb = "falls" if row["calibration_error"] < row["calibration_error_before"] else "rises"
    moved = f"stays at {after}" if before == after else f"{verb} from {before} to {after}"
    return (
        f"a temperature of {row['temperature']:.2f} makes the {family_title(row['model'])} "
        f"{effect}, and its error {moved}"
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class _Browser:
    """Interactive charts and embedded pictures, as HTML inside the Markdown."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.drawn = 0

    def describe(self, template: str) -> str:
        """The description of a template's charts."""
        description: str = self._spec(template)["description"]
        return description

    def picture(self, name: str, said: str) -> str:
        # Photographs are not inverted on a dark page.
        whole = self.study.dataset.of_whole_pictures and name.startswith(OF_IMAGES)
        kind = "photographs" if whole else ""
        return embedded(self.study.root / f"plots/pictures/{name}.png", said, kind)

    def chart(self, name: str, of_each: str = "") -> str:
        """A chart of plots/charts in its template, filled in as DVC does.

        Args:
            name: of its table.
            of_each: name of a table of curves; the chart then shows only its settings, ranked, and
                no family with a single one.
        """
        rows = self._rows(name)
        if of_each:
            shown = {(row["model"], row["name"]) for row in self._rows(of_each)}
            families = {model for model, _ in shown}  # those of a single epoch have no curves
            rows = [
                row
                for row in rows
                if row["model"] not in families or (row["model"], row["name"]) in shown
            ]
            settings = Counter(row["model"] for row in rows)
            compared = [row for row in rows if settings[row["model"]] > 1]
            rows = _ranked(compared or rows)
        template = TEMPLATE_OF.get(name, name.split("/")[0])
        spec = self._spec(template)
        spec["data"]["values"] = [row | {"rev": "workspace"} for row in rows]
        if template in ("gains", "curves"):
            del spec["description"]  # said once for all stages
        self.drawn += 1
        place = f"chart-{self.drawn}"
        content = json.dumps(spec).replace("</", "<\\/")
        script = f'<script>vegaEmbed("#{place}", {content});</script>'
        return f'<div class="chart" id="{place}" data-name="{name}">{script}</div>'

    def _spec(self, template: str) -> dict[str, Any]:
        text = (self.study.root / TEMPLATES / f"{template}.json").read_text()
        spec: dict[str, Any] = json.loads(text)
        return spec

    def _rows(self, name: str) -> list[dict[str, str]]:
        with (self.study.root / f"plots/charts/{name}.csv").open(newline="") as file:
            return list(csv.DictReader(file))


def embedded(picture: Path, said: str, kind: str = "") -> str:
    """A picture as HTML that needs no other file.

    said: what it shows; kind: a class of the style sheet.
    """
    source = f"data:image/png;base64,{b64encode(picture.read_bytes()).decode()}"
    attribute = f' class="{kind}"' if kind else ""
    return f'<p><img{attribute} alt="{html.escape(said)}" src="{source}"></p>'


def _ranked(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rows of a chart of gains, numbered by descending gain."""
    ranked = sorted(rows, key=lambda row: -float(row["at"]))
    return [row | {"row": str(place)} for place, row in enumerate(ranked)]


def _host_picture(name: str, said: str) -> str:
    return f"![{said}](pictures/{name}.png)"


def _render(facts: dict[str, Any], browser: _Browser | None = None) -> str:
    """The report as Markdown: for a browser, or for a code host, which runs no scripts."""
    functions: dict[str, Any] = {"html": False, "picture": _host_picture, "counted": counted}
    if browser:
        functions |= {name: getattr(browser, name) for name in ("picture", "chart", "describe")}
        functions["html"] = True
    return render(STORY, facts | functions | {"folded": _folded})


def render(template: Path, facts: dict[str, Any]) -> str:
    """A template of this folder, filled in, without more than one empty line in a row."""
    environment = Environment(
        loader=FileSystemLoader(template.parent), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    text = environment.get_template(template.name).render(facts)
    return re.sub(r"\n{3,}", "\n\n", text)


def _folded(summary: str, caller: Callable[[], str]) -> str:
    """A section that is collapsed at first; code hosts support it, too."""
    inside = caller().strip()
    return f"<details>\n<summary>{html.escape(summary)}</summary>\n\n{inside}\n\n</details>\n"


def markup(text: str) -> str:
    """The report as HTML."""
    body = MarkdownIt("commonmark").enable("table").render(text)
    body = re.sub(r'(?<=\d) %(?=[^<>"]*<(?!/td))', "\u00a0%", body)  # outside tables and charts
    body = re.sub(r"<td>(\w+)_(\w+)</td>", r"<td>\1_<wbr>\2</td>", body)  # stages, on a phone
    return re.sub(r"<table>.*?</table>", r'<div class="table">\g<0></div>', body, flags=re.DOTALL)


def _in_page(study: Study, body: str) -> str:
    """The page of `dvc plots show` with the report as its body."""
    page = (study.root / PAGE).read_text()
    head = page[: page.index("<body>")].replace("{refresh_tag}\n", "\n")
    library = page[page.index(LIBRARY) :]
    return f"{_styled(head)}<body>\n<main>\n{body}</main>\n{library}"


def without_charts(page: str, title: str, body: str) -> str:
    """The page of `dvc plots show` without its scripts, with another title and this body."""
    head = page[: page.index("<script>")].replace("{refresh_tag}\n", "\n")
    head = re.sub("<title>.*</title>", f"<title>{html.escape(title)}</title>", head)
    return f"{_styled(f'{head}</head>')}\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"


def _styled(head: str) -> str:
    return head.replace("</head>", f"<style>\n{STYLE.read_text()}</style>\n</head>")
