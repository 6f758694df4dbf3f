"""The report: reads the numbers that the stages wrote, writes every picture and chart's table."""

import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from ablation.base.console import percent
from ablation.base.errors import UserError
from ablation.base.files import read_csv, whole_file, write_csv
from ablation.show import charts, figures, style

PICTURES = Path("plots/pictures")
CHARTS = Path("plots/charts")
DPI = 150  # a nine-inch figure is 1350 pixels: sharp at the 900 a README gives it


@dataclass(frozen=True)
class Study:
    """The files of one study, read when a picture needs them.

    Args:
        root: folder that holds metrics/, plots/ and data/.
        models: its families, in the order of params.yaml.
        note: what must stand beside every number made from stand-ins; empty for real characters.
    """

    root: Path
    models: tuple[str, ...]
    note: str

    def table(self, name: str) -> pd.DataFrame:
        """A CSV file under `root`, its characters and names of settings as text."""
        return read_csv(self._file(name))

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """A npz file under `root`."""
        with np.load(self._file(name)) as arrays:
            return dict(arrays)

    def tables(self, name: str) -> dict[str, pd.DataFrame]:
        """The same CSV file of every family: those of plots/<model>/."""
        return {model: self.table(f"plots/{model}/{name}") for model in self.models}

    def techniques(self) -> list[str]:
        """The stages of the chain, the baseline first."""
        return list(self.table("plots/comparison/chain.csv")["technique"].unique())

    def classes(self) -> list[str]:
        """Every character of the study, in label order."""
        return list(self.table("data/classes.csv")["character"])

    def _file(self, name: str) -> Path:
        path = self.root / name
        if not path.is_file():
            raise UserError(
                f"{name}: not found under {self.root.resolve()}; `dvc repro {self._writer(name)}` "
                "writes it, and `dvc repro` writes whatever is missing"
            )
        return path

    def _writer(self, name: str) -> str:
        """The stage of dvc.yaml that writes a file: <technique>@<model>, for example."""
        places = PurePosixPath(name).with_suffix("").parts
        if places[1] == "comparison":
            return "compare"
        if not set(places) & set(self.models):
            return "prepare"
        model = next(part for part in places if part in self.models)
        stage = places[places.index(model) + 1]
        return f"{'evaluate' if stage in ('test', 'first_six') else stage}@{model}"


def write_pictures(study: Study) -> list[Path]:
    """Draw every picture of the study into `plots/pictures` under its root.

    Every file is read before the first picture is written. The bytes depend on nothing but the
    study's files and the versions of the plotting libraries.

    Args:
        study: the files to draw from.

    Returns:
        The pictures' paths, in the order in which a reader wants them.

    Raises:
        UserError: a file of the study is missing; names it and the stage that writes it.
    """
    drawn = _drawings(study)
    folder = study.root / PICTURES
    for name, figure in drawn.items():
        noted = figures.add_note(figure, study.note)
        with whole_file(folder / f"{name}.png") as file:
            # matplotlib would write its version into the file: the same picture, other bytes.
            noted.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return [folder / f"{name}.png" for name in drawn]


def write_charts(study: Study) -> list[Path]:
    """Write the tables that `dvc plots show` draws into `plots/charts` under the study's root.

    The techniques' files are numbered, so that DVC shows them in the order of the chain. What an
    earlier chain has left there goes.

    Args:
        study: the files to draw from.

    Returns:
        The tables' paths.

    Raises:
        UserError: a file of the study is missing; names it and the stage that writes it.
    """
    drawn = _charts(study)
    shutil.rmtree(study.root / CHARTS, ignore_errors=True)
    for name, (title, table) in drawn.items():
        titled = table.assign(title=title, note=study.note)
        write_csv(titled, study.root / CHARTS / f"{name}.csv")
    return [study.root / CHARTS / f"{name}.csv" for name in drawn]


def summary(study: Study) -> Table:
    """The result in one small table: what each family reached on the test set, how they differ."""
    lines = [*figures.pair_texts(study.table("plots/comparison/pairs.csv")), study.note]
    caption = "\n".join(line for line in lines if line)
    table = Table(title="Test set", caption=caption, caption_justify="left")
    table.add_column("model")
    for column in ("accuracy", "95 % interval", "macro F1", "parameters"):
        table.add_column(column, justify="right")
    for row in study.table("plots/comparison/models.csv").itertuples():
        table.add_row(
            style.family_title(row.model),
            percent(row.accuracy),
            f"{percent(row.low)} to {percent(row.high)}",
            percent(row.f1),
            f"{row.parameters:,}",
        )
    return table


def _charts(study: Study) -> dict[str, tuple[str, pd.DataFrame]]:
    """Every chart's name, title and table."""
    stages = study.table("plots/comparison/chain.csv")
    worth = study.tables("leave_one_out/gains.csv")
    predictions = study.tables("test/predictions.csv")
    drawn = {
        "chain": ("Validation accuracy along the chain", charts.chain(stages)),
        "leave_one_out": (
            "What each technique is worth in the final recipe", charts.leave_one_out(worth)
        ),
        "confusion": ("Confusion matrix on the test set", charts.confusion(predictions)),
    }  # fmt: skip
    techniques = study.techniques()
    for technique, name in zip(techniques, charts.file_names(techniques), strict=True):
        candidates = study.tables(f"{technique}/candidates.csv")
        lines = charts.curves(candidates, study.tables(f"{technique}/curves.csv"))
        title = technique.capitalize().replace("_", " ")
        drawn[f"curves/{name}"] = (f"{title}: validation accuracy of each epoch", lines)
        if technique != techniques[0]:
            gains = charts.gains(candidates)
            drawn[f"gains/{name}"] = (f"{title}: gain over the incumbent", gains)
    return drawn


def _drawings(study: Study) -> dict[str, Figure]:
    """Every picture's name and figure."""
    colours = style.family_colours(study.models)
    samples = study.arrays("data/prepared/samples.npz")
    predictions = study.tables("test/predictions.csv")
    details = study.tables("test/details.csv")
    worth = study.tables("leave_one_out/gains.csv")
    return {
        "class_distribution": figures.class_distribution(
            study.table("plots/data/class_counts.csv")
        ),
        "class_samples": figures.class_samples(
            samples["images"], [str(samples["classes"][label]) for label in samples["labels"]]
        ),
        "accuracy_chain": figures.accuracy_chain(study.table("plots/comparison/chain.csv")),
        "leave_one_out": figures.leave_one_out(worth),
        "shares": figures.shares(
            worth,
            study.tables("leave_one_out/shapley.csv"),
            study.tables("leave_one_out/interactions.csv"),
        ),
        "training_curves": figures.training_curves(
            {model: _winner_curves(study, model) for model in study.models}
        ),
        "comparison": figures.comparison(
            study.table("plots/comparison/models.csv"),
            study.table("plots/comparison/classes.csv"),
            study.table("plots/comparison/pairs.csv"),
        ),
        **{
            f"confusion_{model}": figures.confusion_matrix(
                model, colours[model], predictions[model], study.classes()
            )
            for model in study.models
        },
        "first_predictions": _first_predictions(study),
        "reliability": figures.reliability(
            study.tables("test/reliability.csv"),
            {model: details[model]["calibration_error"].item() for model in study.models},
        ),
    }


def _winner_curves(study: Study, model: str) -> pd.DataFrame:
    last = study.techniques()[-1]
    candidates = study.table(f"plots/{model}/{last}/candidates.csv")
    winner = candidates.loc[candidates["role"] == "winner", "setting"].item()
    curves = study.table(f"plots/{model}/{last}/curves.csv")
    return curves[curves["setting"] == winner]


def _first_predictions(study: Study) -> Figure:
    firsts = {
        model: study.arrays(f"data/evaluated/{model}/first_six.npz") for model in study.models
    }
    shared = firsts[study.models[0]]
    return figures.first_predictions(
        shared["images"],
        [str(character) for character in shared["actual"]],
        {model: [str(answer) for answer in first["predicted"]] for model, first in firsts.items()},
    )
