"""`make demo` can copy the project from anywhere."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ablation.base.checked import read_yaml

ROOT = Path(__file__).parents[1]


def unpack(folder: Path) -> Path:
    """The project as in an unpacked ZIP download: the files of git, without a repository."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(listed, cwd=ROOT, text=True).split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.mark.parametrize("inside", ["no repository", "a repository", "one that ignores it"])
def test_an_unpacked_download_can_be_copied(inside: str, tmp_path: Path) -> None:
    if inside != "no repository":
        subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    if inside == "one that ignores it":
        (tmp_path / ".gitignore").write_text("*\n")
    project = unpack(tmp_path / "project")
    (project / ".venv").mkdir()
    (project / ".venv/large").touch()
    command = [sys.executable, "demo/scratch.py", ".cache/demo"]
    subprocess.run(command, cwd=project, check=True)
    copy = project / ".cache/demo"
    assert read_yaml(copy / "params.yaml")["data"]["dataset"] == "glyphs"
    assert (copy / "dvc.yaml").exists() and (copy / "stages/check.py").exists()
    assert (copy / ".git").is_dir()
    assert not (copy / ".venv").exists()
