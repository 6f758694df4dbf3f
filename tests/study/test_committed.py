import subprocess
from pathlib import Path

import pytest

from ablation.run.hardware import Computer, Hardware
from ablation.study.committed import computed_elsewhere

TIMES = "setting,repeat,train_seconds,precision,computer\n0.2,0,1.5,bf16,AMD EPYC\n"


def git(*command: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *command], check=True, capture_output=True)


def on(computer: str, *, bf16: bool = True) -> Hardware:
    return Hardware("cpu", bf16=bf16, workers=1, remote=Computer(computer, ""))


@pytest.fixture
def times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Committed times of a stage below the root of a repository, deleted as DVC does."""
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path / "study")
    times = Path("data/times/mlp/dropout.csv")
    times.parent.mkdir(parents=True)
    times.write_text(TIMES)
    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "A stage")
    times.unlink()
    return times


@pytest.mark.usefixtures("times")
def test_another_computer_is_named() -> None:
    warning = computed_elsewhere("mlp", "dropout", on("Another CPU"))
    assert warning.startswith(
        "The committed results were computed on AMD EPYC in bf16; this run uses Another CPU in "
        "bf16. "
    )


@pytest.mark.usefixtures("times")
def test_another_precision_is_named() -> None:
    warning = computed_elsewhere("mlp", "dropout", on("AMD EPYC", bf16=False))
    assert "on AMD EPYC in bf16; this run uses AMD EPYC in float32. " in warning


@pytest.mark.usefixtures("times")
def test_the_same_hardware_gives_no_remark() -> None:
    assert computed_elsewhere("mlp", "dropout", on("AMD EPYC")) == ""


@pytest.mark.usefixtures("times")
def test_a_stage_without_committed_results_gives_no_remark() -> None:
    assert computed_elsewhere("mlp", "epochs", on("Another CPU")) == ""


def test_a_malformed_committed_file_gives_no_remark(times: Path) -> None:
    times.write_text("<<<<<<< ours\n")
    git("commit", "--quiet", "--all", "--message", "A merge")
    assert computed_elsewhere("mlp", "dropout", on("Another CPU")) == ""


def test_a_folder_outside_git_gives_no_remark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert computed_elsewhere("mlp", "dropout", on("Another CPU")) == ""
