"""Writes every picture, and the table of every chart, from the results of the stages."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablation.base.files import whole_file, write_csv
from ablation.show import charts, figures, style
from ablation.show.study import Study

PICTURES = Path("plots/pictures")
CHARTS = Path("plots/charts")
WORTH = "Gain of each technique in the final recipe"
SHARES = "Shares of the gain of all changes"
DPI = 150  # a nine-inch figure is 1350 pixels: sharp at the 900 a README gives it


def write_pictures(study: Study) -> list[Path]:
    """Draw every picture of the study into `plots/pictures` under its root.

    Those in its folders `data` and `models` have no chart in `dvc plots show`. Every file is read
    before the first picture is written, and pictures of an earlier study are deleted. The bytes
    depend only on the study's files and the versions of the plotting libraries.

    Args:
        study: the files to draw from.

    Returns:
        The pictures' paths, in reading order.

    Raises:
        UserError: a file of the study is missing; names it and the stage that writes it.
    """
    drawn = _drawings(study)
    folder = study.root / PICTURES
    shutil.rmtree(folder, ignore_errors=True)
    for name, figure in drawn.items():
        save_picture(figure, study.note, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in drawn]


def save_picture(figure: Figure, note: str, path: Path) -> None:
    """Write a picture, with a note if there is one."""
    noted = figures.add_note(figure, note)
    with whole_file(path) as file:
        # Without matplotlib's version, so that equal pictures have equal bytes.
        noted.savefig(file, format="png", dpi=DPI, metadata={"Software": None})


def write_charts(study: Study) -> list[Path]:
    """Write the tables that `dvc plots show` draws into `plots/charts` under the study's root.

    The stages' files are numbered, so that DVC shows them in the order of the chain. Tables of an
    earlier study are deleted.

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


def _charts(study: Study) -> dict[str, tuple[str, pd.DataFrame]]:
    """Name of each chart to its title and table."""
    worth = study.tables("leave_one_out/gains.csv")
    predictions = study.tables("test/predictions.csv")
    few = len(study.classes()) <= style.MOST_CLASSES
    hardest = "" if few else f", the {style.MOST_CLASSES} classes with the most errors"
    drawn = {
        "chain": ("Validation accuracy along the chain", charts.chain(study.changes())),
        "leave_one_out": (WORTH, charts.worth(charts.worth_rows(worth))),
        "shares": (SHARES, charts.worth(_share_rows(study))),
        "confusion": (f"Confusion matrix on the test set{hardest}", charts.confusion(predictions)),
    }
    names = study.chart_names()
    for stage in study.stages():
        candidates = study.tables(f"{stage}/candidates.csv")
        lines = charts.curves(candidates, study.tables(f"{stage}/curves.csv"))
        title = stage.capitalize().replace("_", " ")
        drawn[f"curves/{names[stage]}"] = (f"{title}: accuracy by epoch", lines)
        if stage != "baseline":
            gains = charts.gains(candidates)
            drawn[f"gains/{names[stage]}"] = (f"{title}: gain over the incumbent", gains)
    return drawn


def _share_rows(study: Study) -> dict[str, pd.DataFrame]:
    tables = ("gains", "shapley", "interactions")
    return charts.share_rows(*(study.tables(f"leave_one_out/{name}.csv") for name in tables))


def _drawings(study: Study) -> dict[str, Figure]:
    """Name of each picture to its figure; classes have names that the font can draw."""
    displayed = style.names_in_pictures(study.classes())
    names = {name: style.for_matplotlib(other) for name, other in displayed.items()}
    return {**_of_data(study, names), **_of_chain(study), **_of_tests(study, names)}


def _of_data(study: Study, names: dict[str, str]) -> dict[str, Figure]:
    counts = study.table("plots/data/class_counts.csv")
    samples = study.arrays("data/prepared/samples.npz")
    things = study.dataset.things
    return {
        "data/class_distribution": figures.class_distribution(
            counts.assign(character=counts["character"].map(names)), things
        ),
        "data/class_samples": figures.class_samples(
            _as_ink(study, samples["images"]), samples["labels"], [*names.values()], things
        ),
    }


def _of_chain(study: Study) -> dict[str, Figure]:
    worth = charts.worth_rows(study.tables("leave_one_out/gains.csv"))
    return {
        "accuracy_chain": figures.accuracy_chain(study.changes()),
        "leave_one_out": figures.worth(worth, WORTH),
        "shares": figures.worth(_share_rows(study), SHARES),
        "models/training_curves": figures.training_curves(
            {model: study.winner_curves(model) for model in study.models}
        ),
    }


def _of_tests(study: Study, names: dict[str, str]) -> dict[str, Figure]:
    recalls = study.table("plots/comparison/classes.csv")
    details = study.tables("test/details.csv")
    colours = style.family_colours(study.models)
    things = study.dataset.things
    confusions = {
        f"confusion_{model}": figures.confusion_matrix(
            model,
            colours[model],
            table.assign(**{side: table[side].map(names) for side in ("actual", "predicted")}),
            [*names.values()],
        )
        for model, table in study.tables("test/predictions.csv").items()
    }
    worst = {
        f"models/worst_{model}": figures.worst_mistakes(model, _shown(study, model, "worst", names))
        for model in study.models
    }
    return {
        "models/recalls": figures.recalls(
            recalls.assign(**{"class": recalls["class"].map(names)}), study.models
        ),
        **confusions,
        "models/first_predictions": figures.first_predictions(
            {model: _shown(study, model, "first_six", names) for model in study.models}, things
        ),
        **worst,
        "models/reliability": figures.reliability(
            study.tables("test/reliability.csv"),
            {model: details[model]["calibration_error"].item() for model in study.models},
            things,
        ),
    }


def _shown(study: Study, model: str, name: str, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Predictions with their images."""
    arrays = study.arrays(f"data/evaluated/{model}/{name}.npz")
    arrays["images"] = _as_ink(study, arrays["images"])
    for column in ("actual", "predicted"):
        arrays[column] = np.array([names[str(each)] for each in arrays[column]])
    return arrays


def _as_ink(study: Study, images: np.ndarray) -> np.ndarray:
    """Invert whole pictures, because the figures draw bright pixels dark."""
    return 255 - images if study.dataset.of_whole_pictures else images
