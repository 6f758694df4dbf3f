"""The files of one study, as read by the report."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from ablation.base.errors import UserError
from ablation.base.files import read_csv, read_json
from ablation.data.datasets import Dataset

# Columns of class names and labels, which are text even if they look like numbers.
TEXT = (
    *("character", "class", "actual", "predicted", "first", "second"),
    *("candidate", "setting", "winner", "baseline_setting", "final_setting"),
)
TITLES = {"folder": "a folder of pictures"}
TESTED = ("test", "test_over_baseline", "first_six", "worst")


@dataclass(frozen=True)
class Study:
    """The files of one study, read on access.

    Args:
        root: folder that holds metrics/, plots/ and data/.
        models: the model families, in the order of params.yaml.
        name: of its data set, as in params.yaml.
        dataset: its entry in `DATASETS`.
    """

    root: Path
    models: tuple[str, ...]
    name: str
    dataset: Dataset

    @property
    def note(self) -> str:
        """A disclaimer to show with all results of synthetic data; otherwise empty."""
        return self.dataset.note

    @property
    def things(self) -> str:
        """What the images are called: `characters` or `pictures`."""
        return self.dataset.things

    @property
    def title(self) -> str:
        """What the report calls the data set."""
        return TITLES.get(self.name, self.name)

    def table(self, name: str) -> pd.DataFrame:
        """A CSV file under `root`, with names of classes and settings as text."""
        return read_csv(self._file(name), text=TEXT)

    def numbers(self, name: str) -> dict[str, Any]:
        """A JSON file under `root`."""
        return read_json(self._file(name))

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """A npz file under `root`."""
        with np.load(self._file(name)) as arrays:
            return dict(arrays)

    def tables(self, name: str) -> dict[str, pd.DataFrame]:
        """Model family to its CSV file of this name in plots/<model>/."""
        return {model: self.table(f"plots/{model}/{name}") for model in self.models}

    def techniques(self) -> list[str]:
        """The stages of the chain, the baseline first."""
        return list(self.table("plots/comparison/chain.csv")["technique"].unique())

    def classes(self) -> list[str]:
        """The name of every class, in label order."""
        return list(self.table("data/classes.csv")["character"])

    def _file(self, name: str) -> Path:
        path = self.root / name
        if not path.is_file():
            raise UserError(
                f"{name}: not found under {self.root.resolve()}; `dvc repro {self._writer(name)}` "
                "creates it, and `dvc repro` creates everything that is missing"
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
        return f"{'evaluate' if stage in TESTED else stage}@{model}"
