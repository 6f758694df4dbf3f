import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from ablation.cli import main
from ablation.cli import predict as predict_here
from ablation.fitted import Fitted

REPOSITORY = Path(__file__).parents[1]


def draw(path: Path, ink: int, ground: int) -> Path:
    image = Image.new("L", (300, 200), ground)
    font = ImageFont.load_default(size=120)
    ImageDraw.Draw(image).text((100, 20), "7", fill=ink, font=font)
    image.save(path)
    return path


def predict(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    code = "from ablation.cli import main; main()"
    command = [sys.executable, "-c", code, "predict", *map(str, arguments)]
    environment = {"PYTHONPATH": str(REPOSITORY / "src")}
    return subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_the_committed_models_read_a_seven(tmp_path: Path, model: str) -> None:
    said = predict(
        draw(tmp_path / "seven.png", ink=0, ground=255),
        "--model",
        REPOSITORY / f"data/models/{model}.safetensors",
    )
    assert said.returncode == 0, said.stderr
    first_guess = said.stdout.splitlines()[-1].split()[1]
    assert first_guess == "7"


def test_a_missing_model_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    said = predict(draw(tmp_path / "seven.png", 0, 255), "--model", tmp_path / "none.safetensors")
    assert said.returncode == 1
    assert said.stderr.startswith("error: ")
    assert "Traceback" not in said.stderr


def said_by(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str | int | None:
    """The status with which `ablation` ends: 0, 2, or the line that it prints before 1."""
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(sys, "argv", ["ablation", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


def test_a_name_in_brackets_is_no_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    picture = draw(tmp_path / "[b]seven[x].png", ink=0, ground=255)
    predict_here([picture], Fitted.load(Path("data/models/mlp.safetensors")))
    assert "[b]seven[x].png" in capsys.readouterr().out


def test_files_that_are_not_there_or_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = draw(tmp_path / "seven.png", ink=0, ground=255)
    for arguments, said in {
        ("none.png",): "none.png: No such file or directory; name a picture",
        (str(tmp_path),): f"{tmp_path}: Is a directory; name a picture",
        (str(there), "--model", "none"): "none: no such file; `dvc repro fit` makes it",
        (
            str(there),
            "--model",
            str(tmp_path),
        ): f"{tmp_path}: a folder; name a file that `dvc repro fit` made",
        (str(there), "--model", str(there)): f"{there}: not a model that `dvc repro fit` wrote, "
        "which makes it anew (Error while deserializing header: header too large)",
    }.items():
        assert said_by(monkeypatch, "predict", *arguments) == f"error: {said}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "ablation: error: the following arguments are required: COMMAND"),
        (("paint",), "ablation: error: argument COMMAND: invalid choice: 'paint' (choose from "),
        (("predict",), "ablation predict: error: the following arguments are required: images"),
        (("predict", "a.png", "--modell"), "ablation: error: unrecognized arguments: --modell"),
        (("predict", "a.png", "--model"), "ablation predict: error: argument --model: expected"),
    ],
)
def test_a_command_that_cannot_be_understood(
    arguments: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said_by(monkeypatch, *arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)
