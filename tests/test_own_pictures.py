"""A study of own pictures, from their folder to the report, with real git and dvc."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from safetensors import safe_open

from ablation.base.files import read_csv
from ablation.data.characters import Characters
from ablation.fitted.model import Fitted
from ablation.pictures.preprocessing import preprocess
from ablation.trial.recipe import TECHNIQUES
from tests.clones import (
    TINY,
    Changes,
    Clone,
    MakeOnce,
    copy_project,
    make_tiny,
    stages_run,
    warm_python,
)

# The shape of each class and its number of pictures. One name consists of words, one of a character
# that the figures' font lacks, and one would be markup, a formula and the end of a table cell.
CLASSES = {"a bar": 130, "disk": 90, "あ": 60, "[b]$x|$y": 30}
PICTURES = "my pictures"
SMALL: Changes = {
    "data": {"dataset": "folder", "raw": PICTURES, "test_fraction": 0.2},
    "validation": {"fraction": 0.25, "repeats": 2},
    "worth": {"repeats": 2},
    "training": TINY["training"] | {"batch_size": 16, "workers": 1},
    "fit": {"seeds": 1},
    "baseline": {"optimizer": {"name": "adam", "lr": 0.01}, "dropout": 0.0},
    "techniques": {**{technique: [] for technique in TECHNIQUES}, "batchnorm": [False, True]},
}
# Statements that hold for EMNIST only.
NEVER = re.compile(r"emnist|handwrit|look.?alike|characters?\b|upper and lower case", re.IGNORECASE)

pytestmark = pytest.mark.deep


def draw(path: Path, shape: int, rng: np.random.Generator) -> None:
    """A bar, a disk, a ring or a cross, dark on light, with random variation."""
    side = int(rng.integers(30, 70))
    picture = Image.new("L", (side, side + int(rng.integers(0, 9))), int(rng.integers(180, 255)))
    near, far = side * rng.uniform(0.15, 0.25), side * rng.uniform(0.75, 0.85)
    ink, width = int(rng.integers(0, 60)), side // 6
    pen = ImageDraw.Draw(picture)
    if shape == 0:
        pen.rectangle((near, near, near + width, far), fill=ink)
    elif shape == 1:
        pen.ellipse((near, near, far, far), fill=ink)
    elif shape == 2:
        pen.ellipse((near, near, far, far), outline=ink, width=width)
    else:
        pen.line((near, near, far, far), fill=ink, width=width)
        pen.line((near, far, far, near), fill=ink, width=width)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


@pytest.fixture(scope="session")
def ran(make_once: MakeOnce) -> tuple[Clone, str]:
    """The study, of one family to save time, and its output."""

    def make(folder: Path) -> None:
        project = copy_project(folder / "study")
        rng = np.random.default_rng(0)
        for shape, (name, count) in enumerate(CLASSES.items()):
            for number in range(count):
                draw(project.path / PICTURES / name / f"{number}.png", shape, rng)
        make_tiny(project, SMALL)
        project.edit("models", value={"mlp": TINY["models"]["mlp"]})
        pipeline = project.path / "dvc.yaml"
        lines = pipeline.read_text().splitlines(keepends=True)
        pipeline.write_text("".join(line for line in lines if "/cnn" not in line))
        (folder / "printed.txt").write_text(project.run("dvc", "repro"))

    folder = make_once("own-pictures", make)
    return Clone(folder / "study", folder / "study-cache"), (folder / "printed.txt").read_text()


@pytest.fixture
def study(ran: tuple[Clone, str]) -> Clone:
    """Read-only; tests that run DVC or change something use a duplicate."""
    return ran[0]


@pytest.fixture
def pictures(study: Clone) -> Path:
    return study.path / PICTURES


def test_every_picture_is_in_one_of_the_sets(study: Clone, pictures: Path) -> None:
    train, test = (
        Characters.load(study.path / f"data/prepared/{name}.npz") for name in ("train", "test")
    )
    assert train.classes == test.classes == tuple(sorted(CLASSES))
    share = {name: round(0.2 * count) for name, count in CLASSES.items()}
    assert dict(zip(test.classes, test.counts(), strict=True)) == share
    images = {image.tobytes() for each in (train, test) for image in each.images}
    assert images == {
        preprocess(path, "as-is").images[0].tobytes() for path in pictures.rglob("*.png")
    }


def test_the_models_learn_the_pictures(study: Clone) -> None:
    test = study.metrics()["metrics/mlp/test.json"]
    assert test["low"] > max(CLASSES.values()) / sum(CLASSES.values())
    report = read_csv(study.path / "plots/mlp/test/report.csv", text=["class"])
    assert report["class"].tolist() == sorted(CLASSES)


def test_statements_about_emnist_are_not_shown(ran: tuple[Clone, str]) -> None:
    study, printed = ran
    told = (study.path / "plots/report.md").read_text()
    charts = [path.read_text() for path in (study.path / "plots/charts").rglob("*.csv")]
    notes = [re.sub("characters,share", "", chart) for chart in charts]  # a column's name
    for text in (printed, told, *notes):
        lines = [line for line in text.splitlines() if not line.startswith(("> ", "Running"))]
        assert [line for line in lines if NEVER.search(line)] == []
    assert not (study.path / "plots/comparison/ambiguous.csv").exists()
    assert "a study of your pictures in " in printed
    assert "248 training and 62 test pictures, 4 classes" in printed
    assert "248 training and\n62 test pictures of 4 classes" in told


def test_class_names_are_shown_in_tables_and_pictures(study: Clone) -> None:
    classes = read_csv(study.path / "data/classes.csv", text=["character"])
    assert classes["character"].tolist() == sorted(CLASSES)
    told = (study.path / "plots/report.md").read_text()
    assert "| U+3042 | あ |" in told
    drawn = {path.stem for path in (study.path / "plots/pictures").rglob("*.png")}
    assert {"class_samples", "confusion_mlp", "worst_mlp", "first_predictions"} <= drawn


def test_predict_converts_pictures_as_in_training(study: Clone, pictures: Path) -> None:
    path = study.path / "data/models/mlp.safetensors"
    with safe_open(path, framework="numpy") as file:
        assert json.loads(file.metadata()["ablation"])["conversion"] == "as-is"
    asked = sorted(pictures.rglob("7.png"))
    fitted = Fitted.load(path)
    probabilities = fitted.probabilities(
        np.stack([preprocess(each, "as-is").images[0] for each in asked])
    )
    source = ("env", f"PYTHONPATH={study.path / 'src'}", *warm_python("-m", "ablation"))
    said = study.run(*source, "predict", "--model", str(path), *map(str, asked))
    for row in probabilities:
        best = int(row.argmax())
        assert f"{fitted.metadata.classes[best]}  {100 * row[best]:.2f} %" in said


def test_predict_uses_only_the_models_of_the_study(
    study: Clone, pictures: Path, tmp_path: Path
) -> None:
    other = study.duplicate(tmp_path / "other")
    left = other.path / "data/models/cnn.safetensors"
    shutil.copy(Path(__file__).parents[1] / "data/models/cnn.safetensors", left)
    source = ("env", f"PYTHONPATH={other.path / 'src'}", *warm_python("-m", "ablation"))
    said = other.run(*source, "predict", "--json", str(pictures / "disk/7.png"))
    (answer,) = json.loads(said)
    assert "mlp" in answer and "cnn" not in answer


def test_another_conversion_makes_another_model_file(study: Clone, tmp_path: Path) -> None:
    other = study.duplicate(tmp_path / "other")
    assert "fit@mlp" not in json.loads(other.run("dvc", "status", "--json"))
    other.edit("data", "conversion", value="emnist")
    changed = json.loads(other.run("dvc", "status", "--json"))["fit@mlp"]
    assert {"params.yaml": {"data": "modified"}} in [each.get("changed deps") for each in changed]


def test_an_unreadable_picture_stops_the_study_before_training(
    study: Clone, tmp_path: Path
) -> None:
    other = study.duplicate(tmp_path / "other")
    wrong = [f"{PICTURES}/disk/broken.png", f"{PICTURES}/あ/notes.txt"]
    for name in wrong:
        (other.path / name).write_text("no picture")
    output = other.run("dvc", "repro", fails=True)
    for name in wrong:
        (other.path / name).unlink()
    assert stages_run(output) == {"prepare"}
    assert all(f"{name}: not an image that can be read" in output for name in wrong)
    assert "Traceback" not in output
    before = study.results()
    made = ("data/classes.csv", "plots/data/")  # by `prepare`, which DVC clears before it runs
    kept = {name: content for name, content in before.items() if not name.startswith(made)}
    assert other.results() == kept
    assert other.repro() <= {"prepare"}
    assert other.results() == before
