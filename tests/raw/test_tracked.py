"""Entries of the folder of raw files that DVC cannot track."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ablation.base.checked import read_yaml, to_yaml
from ablation.data.characters import DataError
from ablation.params import load_params
from ablation.raw.loading import expected_size
from ablation.raw.tracked import check_tracked

ROOT = Path(__file__).parents[2]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "raw/leaf").mkdir(parents=True)
    (tmp_path / "raw/leaf/0.png").touch()
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "raw"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.symlink_to("nowhere.png"), "a broken link; repair or delete it"),
        (os.mkfifo, "not a regular file; delete it"),
        (
            lambda path: path.symlink_to("../../elsewhere"),
            "a link to a folder, which DVC does not track; move the folder here, or set ",
        ),
        (lambda path: path.symlink_to(".."), "a link to a folder, which DVC does not track"),
    ],
)
def test_entries_that_dvc_cannot_track_are_refused(
    make: Callable[[Path], None], said: str, raw: Path
) -> None:
    make(raw / "leaf/odd\x07.png")
    with pytest.raises(DataError, match=rf"^{raw}/leaf/odd\?\.png: {said}"):
        check_tracked(raw)


def test_links_to_files_and_to_the_whole_folder_are_accepted(raw: Path) -> None:
    (raw / "leaf/1.png").symlink_to("0.png")
    (raw.parent / "link").symlink_to(raw)
    (raw / ".venv").mkdir()
    (raw / ".venv/lib64").symlink_to("../leaf")
    check_tracked(raw)
    check_tracked(raw.parent / "link")
    check_tracked(raw.parent / "gone")


@pytest.mark.parametrize("dataset", ["folder", "emnist-mini", "glyphs"])
def test_untracked_entries_are_checked_for_every_data_set(
    dataset: str, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `check`, which looks up the size of the study."""
    params = read_yaml(ROOT / "params.yaml")
    params["data"] = {"dataset": dataset, "raw": "raw"}
    monkeypatch.chdir(raw.parent)
    Path("params.yaml").write_text(to_yaml(params))
    expected_size(load_params())
    (raw / "oak").symlink_to("../elsewhere")
    with pytest.raises(DataError, match="raw/oak: a link to a folder"):
        expected_size(load_params())
