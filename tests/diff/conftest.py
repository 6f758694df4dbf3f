"""The committed study in a repository of its own, to change and compare with its last commit."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablation.base.checked import read_yaml, to_yaml
from ablation.base.files import read_csv, read_json, write_csv, write_json

ROOT = Path(__file__).parents[2]
PARTS = (
    *("params.yaml", "dvc.yaml", "requirements.lock", "metrics", "data/times", "data/recipes"),
    *("plots/mlp", "plots/cnn", "plots/data", "src/ablation/trial", "src/ablation/data"),
)
SEEDS = 3


@dataclass(frozen=True)
class Repository:
    """A study whose results are committed; tests change its working tree."""

    path: Path

    def git(self, *command: str) -> None:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *identity, *command], cwd=self.path, check=True, capture_output=True)

    def table(self, name: str, change: Callable[[pd.DataFrame], Any]) -> None:
        """Change a table in place."""
        table = read_csv(self.path / name)
        change(table)
        write_csv(table, self.path / name)

    def params(self, section: str, **values: Any) -> None:
        content = read_yaml(self.path / "params.yaml")
        content[section] |= values
        (self.path / "params.yaml").write_text(to_yaml(content))

    def add_winner(self, gains: list[float], stage: str = "dropout") -> None:
        """Give a stage of the MLP a new winner, better than the previous one by these gains."""
        folder = f"plots/mlp/{stage}"
        trials = read_csv(self.path / folder / "trials.csv")
        candidates = read_csv(self.path / folder / "candidates.csv")
        metrics = read_json(self.path / f"metrics/mlp/{stage}.json")
        rows = trials[trials["setting"] == metrics["winner"]].copy()
        rows[["candidate", "setting"]] = "0.6"
        rows["score"] += gains
        write_csv(pd.concat([trials, rows]), self.path / folder / "trials.csv")
        row = candidates[candidates["role"] == "winner"].assign(
            candidate="0.6", setting="0.6", gain=np.mean(gains), low=0.001, high=0.02,
            finding="better",
        )  # fmt: skip
        candidates["role"] = candidates["role"].replace("winner", "incumbent")
        write_csv(pd.concat([candidates, row]), self.path / folder / "candidates.csv")
        accuracy = float(rows["score"].mean())
        changed = {"winner": "0.6", "accuracy": accuracy, "verdict": "adopted"}
        write_json(metrics | changed, self.path / f"metrics/mlp/{stage}.json")
        recipe = self.path / f"data/recipes/mlp/{stage}.yaml"
        recipe.write_text(recipe.read_text().replace("dropout: 0.2", "dropout: 0.6"))


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = tmp_path_factory.mktemp("committed") / "study"
    for part in PARTS:
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = (
            partial(shutil.copytree, ROOT / part)
            if (ROOT / part).is_dir()
            else partial(shutil.copy, ROOT / part)
        )
        copy(target)
    generator = np.random.default_rng(0)
    for model in ("mlp", "cnn"):
        test = read_csv(folder / f"plots/{model}/test/predictions.csv")
        right = (test["actual"] == test["predicted"]).to_numpy()
        flips = {
            f"{recipe} {seed}": (right ^ (generator.random(len(right)) < 0.01)).astype(int)
            for recipe in ("final", "baseline")
            for seed in range(1, SEEDS + 1)
        }
        write_csv(pd.DataFrame(flips), folder / f"plots/{model}/test/correct.csv")
    study = Repository(folder)
    study.git("init", "--quiet", "--initial-branch", "main")
    study.git("add", "--all")
    study.git("commit", "--quiet", "--message", "The study")
    return study


@pytest.fixture
def study(committed: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A copy to change, as the working folder."""
    shutil.copytree(committed.path, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return Repository(tmp_path / "study")
