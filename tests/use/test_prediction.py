"""Predictions of the committed models, also with unreadable pictures among others."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ablation.data.characters import CLASSES
from ablation.fitted.model import Fitted
from ablation.pictures.conversion import CONVERSIONS
from ablation.pictures.preprocessing import preprocess
from ablation.raw.folder import load_folder
from ablation.raw.glyphs import write
from ablation.use.prediction import predict_pictures
from ablation.use.sheet import class_name, save_contact_sheet
from tests.pictures.test_picture import seven

ROOT = Path(__file__).parents[2]
SEVENS = "2 characters instead of one, read as 7 7: write one, or crop the picture to one"


@pytest.fixture(scope="module")
def models() -> dict[str, Fitted]:
    return {name: Fitted.load(ROOT / f"data/models/{name}.safetensors") for name in ("mlp", "cnn")}


def saved(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


def two_sevens(folder: Path) -> Path:
    both = Image.new("L", (520, 200), 240)
    both.paste(seven(), (0, 0))
    both.paste(seven(), (220, 0))
    return saved(both, folder / "both.png")


def test_both_models_give_three_characters_the_most_probable_first(
    models: dict[str, Fitted], tmp_path: Path
) -> None:
    (said,) = predict_pictures([saved(seven(), tmp_path / "seven.png")], models)
    assert said.guesses is not None
    assert (said.error, said.warning, list(said.guesses)) == (None, None, ["mlp", "cnn"])
    for guesses in said.guesses.values():
        chances = [guess.probability for guess in guesses]
        assert guesses[0].character == "7"
        assert len(chances) == 3
        assert chances == sorted(chances, reverse=True)


def test_an_open_file_is_accepted(models: dict[str, Fitted]) -> None:
    content = io.BytesIO()
    seven().save(content, "PNG")
    (said,) = predict_pictures([content], models)
    assert said.guesses is not None and said.guesses["cnn"][0].character == "7"


def test_an_unreadable_picture_does_not_affect_the_others(
    models: dict[str, Fitted], tmp_path: Path
) -> None:
    good = saved(seven(), tmp_path / "seven.png")
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    first, second, third = predict_pictures([bad, good, bad], models)
    assert first.error and third.error and second.guesses
    assert set(first.to_dict()) == {"image", "error"}
    assert set(second.to_dict()) == {"image", "warning", "mlp", "cnn"}


def test_unreadable_pictures_alone_are_reported(models: dict[str, Fitted], tmp_path: Path) -> None:
    (said,) = predict_pictures([tmp_path / "gone.png"], models)
    assert said.error == "no such file"


def test_emnists_own_format_is_not_converted(models: dict[str, Fitted], tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    images = np.stack([write(CLASSES[n], generator) for n in range(0, 47, 3)])
    paths = [saved(Image.fromarray(image), tmp_path / f"{n}.png") for n, image in enumerate(images)]
    said = predict_pictures(paths, models, guesses=1)
    for name, fitted in models.items():
        chances = fitted.probabilities(images).max(axis=1)
        found = [each.guesses[name][0].probability for each in said if each.guesses]
        assert np.allclose(found, chances, atol=1e-6)


def as_if(fitted: Fitted, conversion: str) -> Fitted:
    """The model as if its training images had been converted differently."""
    return replace(fitted, metadata=replace(fitted.metadata, conversion=conversion))


@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_a_picture_is_converted_as_in_the_models_training(
    conversion: str, models: dict[str, Fitted], tmp_path: Path
) -> None:
    for name, turned in (("a", 10), ("b", -10)):
        for number in range(2):
            path = tmp_path / name / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            seven().rotate(turned + number, fillcolor=240).save(path)
    trained = {
        each.tobytes()
        for part in load_folder("folder", tmp_path, conversion, 0.5, 0)
        for each in part.images
    }
    said = predict_pictures(
        sorted(tmp_path.rglob("*.png")), {"cnn": as_if(models["cnn"], conversion)}
    )
    assert {each.seen[conversion].tobytes() for each in said if each.seen} == trained
    assert len(trained) == len(said) == 4


def test_models_of_two_conversions_each_get_their_own_input(
    models: dict[str, Fitted], tmp_path: Path
) -> None:
    """Several characters are reported for the model whose conversion finds writing."""
    whole = as_if(models["mlp"], "as-is")
    path = two_sevens(tmp_path)
    (said,) = predict_pictures([path], {"mlp": whole, "cnn": models["cnn"]})
    assert said.seen is not None and said.guesses is not None
    (image,) = preprocess(path, "as-is").images
    assert np.array_equal(said.seen["as-is"], image)
    assert np.array_equal(said.seen["emnist"], preprocess(path, "emnist").images[0])
    assert said.guesses["mlp"][0].probability == pytest.approx(
        whole.probabilities(image[None]).max()
    )
    assert said.warning == SEVENS
    save_contact_sheet([said], tmp_path / "sheet.png")
    one_tile = 28 * 8 + 12
    assert Image.open(tmp_path / "sheet.png").width == 12 + 2 * one_tile


def test_a_model_that_finds_no_writing_does_not_affect_the_other(
    models: dict[str, Fitted], tmp_path: Path
) -> None:
    paths = [saved(Image.new("L", (64, 64), 128), tmp_path / "empty.png")]
    paths.append(saved(seven(), tmp_path / "seven.png"))
    pair = {"mlp": as_if(models["mlp"], "as-is"), "cnn": models["cnn"]}
    empty, full = predict_pictures(paths, pair)
    assert empty.guesses is not None and [*empty.guesses] == ["mlp"]
    assert empty.error is None
    assert empty.warning == f"cnn: {predict_pictures(paths[:1], models)[0].error}"
    assert full.guesses is not None and [*full.guesses] == ["mlp", "cnn"]
    assert (full.error, full.warning) == (None, None)


def test_any_class_name_can_be_drawn_on_the_contact_sheet(
    models: dict[str, Fitted], tmp_path: Path
) -> None:
    names = ("あ", "x" * 64, "\n", "名前", *(f"class {number}" for number in range(43)))
    metadata = replace(models["cnn"].metadata, classes=names)
    said = predict_pictures(
        [saved(seven(), tmp_path / "seven.png")], {"cnn": replace(models["cnn"], metadata=metadata)}
    )
    save_contact_sheet(said, tmp_path / "sheet.png")
    assert [class_name(name) for name in names[:4]] == ["U+3042", "xxxx…xxx", "U+000A", "U+54…24D"]


def test_each_of_several_characters_is_predicted(models: dict[str, Fitted], tmp_path: Path) -> None:
    (said,) = predict_pictures([two_sevens(tmp_path)], models)
    assert said.warning == SEVENS
    assert said.several == {"mlp": 2, "cnn": 2}


def test_what_the_models_read_differently_is_said_for_each(
    models: dict[str, Fitted], tmp_path: Path
) -> None:
    path = two_sevens(tmp_path)
    named = replace(models["mlp"].metadata, classes=tuple(f"<{name}>" for name in CLASSES))
    (said,) = predict_pictures(
        [path], {"mlp": replace(models["mlp"], metadata=named), "cnn": models["cnn"]}
    )
    assert said.warning == SEVENS.replace("7 7", "<7> <7> (mlp) or 7 7 (cnn)")


def test_many_characters_are_counted_and_not_read(
    models: dict[str, Fitted], tmp_path: Path
) -> None:
    line = Image.new("L", (520, 90), 240)
    ImageDraw.Draw(line).text((10, 10), "7 " * 13, font=ImageFont.load_default(size=40), fill=20)
    (said,) = predict_pictures([saved(line, tmp_path / "line.png")], models)
    assert said.warning == "13 characters instead of one: write one, or crop the picture to one"


def test_the_first_frame_with_writing_is_used(models: dict[str, Fitted], tmp_path: Path) -> None:
    empty = Image.new("L", (300, 200), 240)
    empty.save(tmp_path / "film.gif", save_all=True, append_images=[seven()])
    (said,) = predict_pictures([tmp_path / "film.gif"], models)
    assert said.guesses is not None and said.guesses["cnn"][0].character == "7"


def test_an_empty_page_is_reported_as_empty(models: dict[str, Fitted], tmp_path: Path) -> None:
    (said,) = predict_pictures(
        [saved(Image.new("L", (90, 60), 255), tmp_path / "empty.png")], models
    )
    assert said.error is not None and said.error.startswith("no writing found")


def test_a_picture_of_more_than_8_bits_uses_the_levels_of_each_model(
    models: dict[str, Fitted], tmp_path: Path
) -> None:
    values = np.full((28, 28), 1000, np.uint16)
    path = saved(Image.fromarray(values), tmp_path / "wide.png")
    for levels, grey in (((0.0, 4000.0), 64), ((0.0, 1000.0), 255), (None, 249)):
        metadata = replace(models["cnn"].metadata, conversion="as-is", levels=levels)
        (said,) = predict_pictures([path], {"cnn": replace(models["cnn"], metadata=metadata)})
        assert said.preprocessed is not None
        assert set(said.preprocessed["as-is"].images[0].ravel()) == {grey}


def test_warnings_are_shown_with_the_guesses_and_in_json(
    models: dict[str, Fitted], tmp_path: Path
) -> None:
    ringed = seven()
    ImageDraw.Draw(ringed).rectangle((60, 10, 240, 190), outline=20, width=8)
    (said,) = predict_pictures([saved(ringed, tmp_path / "ringed.png")], models)
    assert said.guesses is not None and said.guesses["cnn"][0].character == "7"
    assert said.to_dict()["warning"] == "ignored the frame around the writing"


def test_the_contact_sheet_frames_the_writing(models: dict[str, Fitted], tmp_path: Path) -> None:
    said = predict_pictures([saved(seven(), tmp_path / "seven.png")], models)
    save_contact_sheet(said, tmp_path / "sheet.png")
    red, green, _ = np.moveaxis(np.asarray(Image.open(tmp_path / "sheet.png")).astype(int), 2, 0)
    rows, columns = np.nonzero(red - green > 100)
    photo = 224 / 300  # the tile's width over the picture's
    dark = np.asarray(seven()) < 128
    inked = [np.flatnonzero(dark.any(axis=axis)) * photo + 12 for axis in (1, 0)]
    for found, ink in zip((rows, columns), inked, strict=True):
        assert ink[0] - 5 < found.min() < ink[0]
        assert ink[-1] < found.max() < ink[-1] + 5


def test_the_contact_sheet_shows_each_of_several_characters(
    models: dict[str, Fitted], tmp_path: Path
) -> None:
    both = Image.open(two_sevens(tmp_path))
    shown = []
    for name, image in (("one", seven()), ("two", both)):
        save_contact_sheet(
            predict_pictures([saved(image, tmp_path / "a.png")], models), tmp_path / f"{name}.png"
        )
        shown.append(np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")))
    below = slice(12 + 152 + 224 - 60, 12 + 152 + 224 - 4)
    one, two = (image[below, 12 : 12 + 74] for image in shown)
    assert (two > 128).sum() > 300 > (one > 128).sum()
