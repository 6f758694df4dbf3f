"""The temperature of a fit, from the trials of its recipe."""

from pathlib import Path

import fit
import pandas as pd
import pytest

from ablation.base.errors import UserError
from ablation.base.files import write_csv


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tables of a stage that kept its incumbent; the labels look like numbers."""
    settings = ["0.20", "0.2"]
    roles = pd.DataFrame({"setting": settings, "role": ["winner", "candidate"]})
    write_csv(roles, tmp_path / "candidates.csv")
    write_trials(tmp_path, [0.5, 2.0, 1.0, 8.0, 9.0, None])
    return tmp_path


def write_trials(folder: Path, temperatures: list[object]) -> None:
    settings = ["0.20", "0.20", "0.20", "0.20", "0.2", "0.2"]
    table = pd.DataFrame({"setting": settings, "temperature": temperatures})
    write_csv(table, folder / "trials.csv")


def test_the_temperature_is_the_geometric_mean_over_the_winners_trials(folder: Path) -> None:
    assert fit.read_temperature(folder) == pytest.approx(8 ** (1 / 4), abs=1e-6)


@pytest.mark.parametrize("bound", [0.1, 100.0])
def test_the_mean_of_a_bound_is_that_bound(bound: float, folder: Path) -> None:
    write_trials(folder, [bound] * 6)
    assert fit.read_temperature(folder) == bound


@pytest.mark.parametrize("found", [None, 0.0, -1.0, float("inf"), 101.0, "warm"])
def test_an_invalid_temperature_is_an_error(found: object, folder: Path) -> None:
    write_trials(folder, [0.5, 2.0, 1.0, found, 9.0, 9.0])
    said = r"trials\.csv: temperature: 0\.5, 2.*, .+ of the winner 0\.20; should be 0\.1 to 100 in "
    with pytest.raises(UserError, match=said):
        fit.read_temperature(folder)


def test_a_winner_without_trials_is_an_error(folder: Path) -> None:
    roles = pd.DataFrame({"setting": ["gone"], "role": ["winner"]})
    write_csv(roles, folder / "candidates.csv")
    with pytest.raises(UserError, match=r"temperature: none of the winner gone; .*`dvc repro`"):
        fit.read_temperature(folder)
