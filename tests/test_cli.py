import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ablation.base.errors import UserError
from ablation.cli import read_page
from ablation.data.conversion import PAGE_SIDE

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


def test_dark_ink_on_paper_and_light_ink_on_slate_are_read_alike(tmp_path: Path) -> None:
    paper = read_page(draw(tmp_path / "paper.png", ink=20, ground=240))
    slate = read_page(draw(tmp_path / "slate.png", ink=240, ground=20))
    assert paper.shape == (PAGE_SIDE, PAGE_SIDE)
    assert paper.max() == pytest.approx(1, abs=0.01)
    assert np.abs(paper - slate).max() < 0.01


def test_an_empty_page_is_an_error_that_says_so(tmp_path: Path) -> None:
    Image.new("L", (50, 50), 255).save(tmp_path / "empty.png")
    with pytest.raises(UserError, match=r"empty\.png: an empty page"):
        read_page(tmp_path / "empty.png")


def test_what_is_no_image_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(UserError, match=r"text\.png: not an image"):
        read_page(tmp_path / "text.png")


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
