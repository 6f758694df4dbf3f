"""The files of one study, as read by the report."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from ablation.base.errors import UserError
from ablation.base.files import read_csv, read_json
from ablation.data.datasets import Dataset
from ablation.labels import ChainStage

# Columns of class names and labels, which are text even if they look like numbers.
TEXT = (
    *("character", "class", "actual", "predicted", "first", "second"),
    *("candidate", "setting", "winner", "baseline_setting", "final_setting"),
)
TITLES = {"folder": "a folder of pictures"}
TESTED = ("test", "test_over_baseline", "first_six", "worst")


@dataclass(frozen=True)
class Study:
    """The files of one study; each table is read once, on first access.

    Args:
        root: folder that holds metrics/, plots/ and data/.
        models: the model families, in the order of params.yaml.
        name: of its data set, as in params.yaml.
        dataset: its entry in `DATASETS`.
        pipeline: what DVC puts before the names of its stages; empty for those of dvc.yaml.
    """

    root: Path
    models: tuple[str, ...]
    name: str
    dataset: Dataset
    pipeline: str = ""

    @property
    def note(self) -> str:
        """A disclaimer to show with all results of synthetic data; otherwise empty."""
        return self.dataset.note

    @property
    def things(self) -> str:
        """Plural noun for the images: `characters` or `pictures`."""
        return self.dataset.things

    @property
    def title(self) -> str:
        """The name of the data set in the report."""
        return TITLES.get(self.name, self.name)

    def table(self, name: str) -> pd.DataFrame:
        """A CSV file under `root`, with names of classes and settings as text."""
        if name not in self._tables:
            self._tables[name] = read_csv(self._file(name), text=TEXT)
        return self._tables[name].copy()

    @cached_property
    def _tables(self) -> dict[str, pd.DataFrame]:
        """The tables that have been read; `dataclasses.replace` starts without any."""
        return {}

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

    def chain(self) -> pd.DataFrame:
        """The conclusion of every stage for every family, as in plots/comparison/chain.csv.

        Later rounds in which no family tried another setting are omitted.
        """
        every = self.table("plots/comparison/chain.csv")
        explored, idle = set(), set()
        for stage in every["stage"].unique():
            technique = ChainStage.named(stage).technique
            again = technique in explored
            if again and not any(self.tried(model, stage) for model in self.models):
                idle.add(stage)
            explored.add(technique)
        return every[~every["stage"].isin(idle)]

    def changes(self) -> pd.DataFrame:
        """The rows of `chain` of the baseline, and of stages that changed a recipe."""
        told = self.chain()
        left = told.loc[told["verdict"] == "adopted", "stage"]
        return told[told["stage"].isin({told["stage"].iloc[0], *left})]

    def chart_names(self) -> dict[str, str]:
        """Stage to the name of its charts, `01-scheduler`: its place in the chain, and its name.

        Omitted stages count, so that a chart has one name in all revisions of a study.
        """
        every = self.table("plots/comparison/chain.csv")["stage"].unique()
        digits = len(str(len(every) - 1))
        return {
            stage: f"{place:0{digits}}-{stage.replace('/', '-')}"
            for place, stage in enumerate(every)
        }

    def tried(self, model: str, stage: str) -> bool:
        """Whether a stage had other settings than its incumbent's."""
        return len(self.table(f"plots/{model}/{stage}/candidates.csv")) > 1

    def stages(self) -> list[str]:
        """The stages of the chain, the baseline first."""
        return list(self.chain()["stage"].unique())

    def techniques(self) -> list[str]:
        """The techniques of the chain, in the order of their first stages."""
        explored = (ChainStage.named(stage).technique for stage in self.stages()[1:])
        return [*dict.fromkeys(explored)]

    def last_stage(self, model: str, technique: str) -> str:
        """The last stage that tried several settings of a technique; its first one if none did."""
        stages = [s for s in self.stages() if ChainStage.named(s).technique == technique]
        tried = [stage for stage in stages if self.tried(model, stage)]
        return [stages[0], *tried][-1]

    def winner_curves(self, model: str) -> pd.DataFrame:
        """The learning curves of the chain's final recipe: means over the repeats."""
        stages = self.table("plots/comparison/chain.csv")["stage"]
        last = f"plots/{model}/{stages.iloc[-1]}"
        candidates = self.table(f"{last}/candidates.csv")
        winner = candidates.loc[candidates["role"] == "winner", "setting"].item()
        curves = self.table(f"{last}/curves.csv")
        return curves[curves["setting"] == winner]

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
        """The stage that writes a file: <technique>@<model>, for example."""
        places = PurePosixPath(name).with_suffix("").parts
        if places[1] == "comparison":
            return "compare"
        if not set(places) & set(self.models):
            return "prepare"
        model = next(part for part in places if part in self.models)
        stage = places[places.index(model) + 1]
        return f"{self.pipeline}{'evaluate' if stage in TESTED else stage}@{model}"
