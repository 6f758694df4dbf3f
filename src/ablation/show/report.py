"""The report: reads the numbers that the stages wrote, writes every picture of the study."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from ablation.base.console import STAND_IN, percent
from ablation.base.errors import UserError
from ablation.base.files import read_csv
from ablation.show import figures

PICTURES = Path("plots/pictures")
MODELS = tuple(figures.MODEL_NAMES)
DPI = 150  # a nine-inch figure is 1350 pixels: sharp at the 900 a README gives it


@dataclass(frozen=True)
class Study:
    """The files of one study, read when a picture needs them.

    Args:
        root: folder that holds metrics/, plots/ and data/.
        dataset: where its characters came from, as in params.yaml.
    """

    root: Path
    dataset: str

    def table(self, name: str) -> pd.DataFrame:
        """A CSV file under `root`, its characters and names of settings as text."""
        return read_csv(self._file(name))

    def numbers(self, name: str) -> dict[str, Any]:
        """A JSON file under `root`."""
        numbers: dict[str, Any] = json.loads(self._file(name).read_text())
        return numbers

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """A npz file under `root`."""
        with np.load(self._file(name)) as arrays:
            return dict(arrays)

    def classes(self) -> list[str]:
        """Every character of the study, in label order."""
        return list(self.table("data/classes.csv")["character"])

    def _file(self, name: str) -> Path:
        path = self.root / name
        if not path.is_file():
            raise UserError(
                f"{name}: not found under {self.root.resolve()}; `dvc repro {_writer(name)}` "
                "writes it, and `dvc repro` writes whatever is missing"
            )
        return path


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
    drawn = {name: draw(study) for name, draw in DRAWINGS.items()}
    folder = study.root / PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        marked = figures.mark_stand_in(figure, study.dataset)
        # matplotlib would write its version into the file: the same picture, other bytes.
        marked.savefig(folder / f"{name}.png", dpi=DPI, metadata={"Software": None})
    return [folder / f"{name}.png" for name in drawn]


def summary(study: Study) -> Table:
    """The result in one small table: what each model reached on the test set, and what it cost."""
    verdict = study.numbers("metrics/comparison.json")
    caption = figures.difference_text(verdict)
    if study.dataset == "glyphs":
        caption += f"\n{STAND_IN}"
    table = Table(title=f"Test set, {study.dataset}", caption=caption, caption_justify="left")
    table.add_column("model")
    for column in ("accuracy", "95 % interval", "macro F1", "parameters", "training"):
        table.add_column(column, justify="right")
    for model in MODELS:
        test = study.numbers(f"metrics/{model}/test.json")
        table.add_row(
            figures.MODEL_NAMES[model],
            percent(test["accuracy"]),
            f"{percent(test['accuracy_low'])} to {percent(test['accuracy_high'])}",
            percent(test["f1"]),
            f"{test['parameters']:,}",
            f"{test['train_seconds']:,.0f} s",
        )
    return table


def _class_distribution(study: Study) -> Figure:
    return figures.class_distribution(study.table("plots/data/class_counts.csv"))


def _class_samples(study: Study) -> Figure:
    samples = study.arrays("data/prepared/samples.npz")
    return figures.class_samples(
        samples["images"], [str(samples["classes"][label]) for label in samples["labels"]]
    )


def _training_curves(study: Study) -> Figure:
    return figures.training_curves({model: _winner_curves(study, model) for model in MODELS})


def _winner_curves(study: Study, model: str) -> pd.DataFrame:
    chain = study.table("plots/comparison/chain.csv")
    last = chain.loc[chain["model"] == model, "technique"].iloc[-1]
    candidates = study.table(f"plots/{model}/{last}/candidates.csv")
    winner = candidates.loc[candidates["role"] == "winner", "setting"].item()
    curves = study.table(f"plots/{model}/{last}/curves.csv")
    return curves[curves["candidate"] == winner]


def _confusion_matrix(model: str) -> Callable[[Study], Figure]:
    return lambda study: figures.confusion_matrix(
        model, study.table(f"plots/{model}/test/predictions.csv"), study.classes()
    )


def _first_predictions(study: Study) -> Figure:
    firsts = {model: study.arrays(f"data/evaluated/{model}/first_six.npz") for model in MODELS}
    shared = firsts[MODELS[0]]
    return figures.first_predictions(
        shared["images"],
        [str(character) for character in shared["actual"]],
        {model: [str(character) for character in firsts[model]["predicted"]] for model in MODELS},
    )


def _accuracy_chain(study: Study) -> Figure:
    return figures.accuracy_chain(study.table("plots/comparison/chain.csv"))


def _leave_one_out(study: Study) -> Figure:
    return figures.leave_one_out(
        {model: study.table(f"plots/{model}/leave_one_out/gains.csv") for model in MODELS}
    )


def _comparison(study: Study) -> Figure:
    return figures.comparison(
        study.table("plots/comparison/models.csv"),
        study.table("plots/comparison/classes.csv"),
        study.numbers("metrics/comparison.json"),
    )


def _reliability(study: Study) -> Figure:
    return figures.reliability(
        {model: study.table(f"plots/{model}/test/reliability.csv") for model in MODELS},
        {
            model: study.numbers(f"metrics/{model}/test.json")["calibration_error"]
            for model in MODELS
        },
    )


DRAWINGS: dict[str, Callable[[Study], Figure]] = {
    "class_distribution": _class_distribution,
    "class_samples": _class_samples,
    "accuracy_chain": _accuracy_chain,
    "leave_one_out": _leave_one_out,
    "training_curves": _training_curves,
    "comparison": _comparison,
    "confusion_mlp": _confusion_matrix("mlp"),
    "confusion_cnn": _confusion_matrix("cnn"),
    "first_predictions": _first_predictions,
    "reliability": _reliability,
}


def _writer(name: str) -> str:
    """The stage of dvc.yaml that writes a file: <technique>@<model> for its plots, for example."""
    places = PurePosixPath(name).with_suffix("").parts
    if places[1] == "comparison":
        return "compare"
    if places[0] == "data" and places[1] != "evaluated":
        return "prepare"
    if places[:2] in (("plots", "data"), ("metrics", "data")):
        return "prepare"
    model = next(part for part in places if part in MODELS)
    stage = places[places.index(model) + 1]
    return f"{'evaluate' if stage in ('test', 'first_six') else stage}@{model}"
