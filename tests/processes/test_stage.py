"""The messages of a stage that ends before it has written its results."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
STAGE = """
from ablation.processes.stage import stage_process
from ablation.base.errors import UserError
with stage_process():
    {what}
"""
CURE = (
    "git shows 2 files as deleted, because DVC removes a stage's outputs before it runs: `dvc "
    "repro` recreates them, and `git checkout -- $(git ls-files --deleted)` restores the committed "
    "versions"
)


def stage(what: str, folder: Path) -> list[str]:
    """The standard error of a stage that runs this code."""
    command = [sys.executable, "-c", STAGE.format(what=what)]
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.stderr.splitlines()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two committed results, deleted as by DVC before a stage runs."""
    results = [tmp_path / f"metrics/{name}.json" for name in ("a", "b")]
    (tmp_path / "metrics").mkdir()
    for path in results:
        path.write_text("{}")
    git = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([*git, "add", "."], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-qm", "Results"], cwd=tmp_path, check=True)
    for path in results:
        path.unlink()
    return tmp_path


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raise UserError('the learning rate')", "error: the learning rate"),
        (
            "raise KeyboardInterrupt",
            "interrupted; finished trials are kept, and `dvc repro` resumes",
        ),
    ],
)
def test_a_failed_stage_names_the_command_that_restores_deleted_results(
    what: str, said: str, repository: Path
) -> None:
    assert sorted(stage(what, repository)) == sorted([said, CURE])
    cure = CURE.split("`")[3]
    subprocess.run(["bash", "-c", cure], cwd=repository, check=True, capture_output=True)
    assert stage(what, repository) == [said]


def test_git_is_not_mentioned_after_a_successful_stage(repository: Path) -> None:
    assert stage("pass", repository) == []


def test_git_is_not_mentioned_outside_a_repository(tmp_path: Path) -> None:
    assert stage("raise UserError('odd')", tmp_path) == ["error: odd"]
