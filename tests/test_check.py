"""The stage `check`: mistakes that DVC would find hours later, or never."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = ("dvc.yaml", "params.yaml")


def check(folder: Path, edits: dict[str, tuple[str, str]]) -> subprocess.CompletedProcess[str]:
    """Run the stage on the project's files, some text of which is replaced.

    edits: file to (text, text instead of it).
    """
    for name in FILES:
        text = (ROOT / name).read_text().replace("precision: auto", "precision: float32")
        old, new = edits.get(name, ("", ""))
        assert old in text
        (folder / name).write_text(text.replace(old, new) if old else text)
    command = ["env", f"PYTHONPATH={ROOT / 'src'}", sys.executable, str(ROOT / "stages/check.py")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_projects_own_files_are_sound(tmp_path: Path) -> None:
    (tmp_path / "data/raw").mkdir(parents=True)
    result = check(tmp_path, {})
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "data/prepared/checked.txt").exists()


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        (
            {"params.yaml": ("  batchnorm:\n  - false\n  - true\n", "")},
            "params.yaml: techniques: batchnorm missing, for which dvc.yaml has a stage; write "
            "`batchnorm: []` to explore nothing",
        ),
        (
            {"params.yaml": ("  cnn: {channels: [16, 32, 64], dense: [128], epochs: 8}\n", "")},
            "dvc.yaml: stages.compare.deps: the files of cnn, mlp, but the models of params.yaml "
            "are mlp; list the files of these and of no other",
        ),
        (
            {"dvc.yaml": ("      - data/evaluated/cnn\n      - plots/cnn\n", "")},
            "dvc.yaml: stages.report.deps: the files of mlp, but the models of params.yaml are "
            "cnn, mlp; list the files of these and of no other",
        ),
    ],
)
def test_what_dvc_would_find_late_is_said_at_once(
    edits: dict[str, tuple[str, str]], said: str, tmp_path: Path
) -> None:
    result = check(tmp_path, edits)
    assert result.stderr == f"error: {said}\n"
    assert not (tmp_path / "data").exists()


def test_an_empty_list_is_a_technique_that_is_not_explored(tmp_path: Path) -> None:
    (tmp_path / "data/raw").mkdir(parents=True)
    edits = {"params.yaml": ("  batchnorm:\n  - false\n  - true\n", "  batchnorm: []\n")}
    assert check(tmp_path, edits).returncode == 0


def test_a_folder_of_raw_files_that_is_not_there_is_said(tmp_path: Path) -> None:
    edits = {"params.yaml": ("raw: data/raw", f"raw: {tmp_path}/nowhere")}
    said = (
        f"error: params.yaml: data.raw: {tmp_path}/nowhere: no such folder; make the folder, or "
        "name the one that holds the raw files\n"
    )
    assert check(tmp_path, edits).stderr == said
    (tmp_path / "nowhere").touch()
    assert "nowhere: a file, and no folder; make" in check(tmp_path, edits).stderr
