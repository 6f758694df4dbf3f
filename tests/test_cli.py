"""The command `ablation predict`, as people type it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.test_picture import seven

REPOSITORY = Path(__file__).parents[1]


def predict(*arguments: str | Path, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ablation", "predict", *map(str, arguments)]
    environment = {"PYTHONPATH": str(REPOSITORY / "src"), "LANG": "C.UTF-8"}
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    path = tmp_path / "seven.png"
    seven().save(path)
    return path


def test_both_models_answer_from_any_folder(drawn: Path) -> None:
    said = predict(drawn.name, folder=drawn.parent)
    assert said.returncode == 0, said.stderr
    assert said.stderr == ""
    _, mlp, cnn = said.stdout.splitlines()
    assert mlp.split()[:3] == ["seven.png", "mlp", "7"]
    assert cnn.split()[:2] == ["cnn", "7"]
    assert mlp.count("%") == cnn.count("%") == 3


@pytest.mark.parametrize("model", ["mlp", "cnn", str(REPOSITORY / "data/models/cnn.safetensors")])
def test_one_model_can_be_asked(model: str, drawn: Path) -> None:
    said = predict(drawn, "--model", model, "--json")
    (answer,) = json.loads(said.stdout)
    name = "mlp" if model == "mlp" else "cnn"
    assert list(answer) == ["image", "warning", name]
    assert answer["image"] == str(drawn)
    assert answer[name][0]["character"] == "7"
    assert 0 < answer[name][0]["probability"] <= 1


def test_one_bad_image_gets_its_own_line_and_the_status_is_one(drawn: Path) -> None:
    said = predict(drawn.parent / "gone.png", drawn)
    assert said.returncode == 1
    assert said.stderr == f"error: {drawn.parent / 'gone.png'}: no such file\n"
    assert "cnn" in said.stdout


def test_a_bad_image_is_an_object_of_the_array(drawn: Path) -> None:
    said = predict(drawn.parent, drawn, "--json")
    assert said.returncode == 1
    bad, good = json.loads(said.stdout)
    assert bad == {
        "image": str(drawn.parent),
        "error": "a folder, not an image; name the images in it",
    }
    assert good["warning"] is None


def test_names_with_brackets_and_colons_are_printed_as_they_are(drawn: Path) -> None:
    name = "[bold]a[b] :smile: [red].png"
    drawn.rename(drawn.with_name(name))
    said = predict(name, folder=drawn.parent)
    assert name in said.stdout, said.stderr


def test_show_writes_what_the_network_saw(drawn: Path) -> None:
    sheet = drawn.parent / "new/seen.png"
    assert predict(drawn, "--show", sheet).returncode == 0
    assert Image.open(sheet).convert("L").getextrema() == (0, 255)
    said = predict(drawn, "--show", drawn.parent / "seen.xyz")
    assert said.returncode == 1
    assert said.stderr.startswith(f"error: {drawn.parent / 'seen.xyz'}: cannot be written")


@pytest.mark.parametrize("model", ["none.safetensors", "."])
def test_a_missing_model_and_a_folder_are_one_line_without_a_traceback(
    model: str, drawn: Path
) -> None:
    said = predict(drawn, "--model", drawn.parent / model)
    assert said.returncode == 1
    assert said.stderr.startswith("error: ")
    assert len(said.stderr.splitlines()) == 1
