"""The input of a network for a picture file, for each conversion."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ablation.pictures.conversion import CONVERSIONS
from ablation.pictures.page import EmptyPageError
from ablation.pictures.picture import PictureError
from ablation.pictures.preprocessing import preprocess
from tests.pictures.test_picture import seven

OF_WHAT_IS_WRITTEN = ["emnist", "mnist"]


def saved(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


def grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values)


def ramp() -> np.ndarray:
    return np.arange(784, dtype=np.uint32).reshape(28, 28).astype(np.uint8)


@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_an_open_file_can_be_read_more_than_once(conversion: str, tmp_path: Path) -> None:
    path = saved(seven(), tmp_path / "seven.png")
    (expected,) = preprocess(path, conversion).images
    assert expected.shape == (28, 28)
    assert expected.dtype == np.uint8
    content = io.BytesIO(path.read_bytes())
    for _ in range(2):
        assert np.array_equal(preprocess(content, conversion).images, [expected])


def test_a_picture_of_28_x_28_is_unchanged(tmp_path: Path) -> None:
    (image,) = preprocess(saved(grey(ramp()), tmp_path / "a.png"), "as-is").images
    assert np.array_equal(image, ramp())


def test_whole_pictures_are_resized_and_not_inverted(tmp_path: Path) -> None:
    halves = np.full((90, 50), 240, np.uint8)
    halves[:45] = 30
    (image,) = preprocess(saved(grey(halves), tmp_path / "a.png"), "as-is").images
    assert set(image[:12].ravel()) == {30}
    assert set(image[16:].ravel()) == {240}


def test_sixteen_bits_have_the_same_brightness_as_eight(tmp_path: Path) -> None:
    wide = saved(grey(ramp().astype(np.uint16) * 257), tmp_path / "wide.png")
    assert np.array_equal(preprocess(wide, "as-is").images, [ramp()])


def test_transparency_becomes_white_and_colours_become_grey(tmp_path: Path) -> None:
    colours = np.zeros((28, 28, 4), np.uint8)
    colours[:14] = (255, 0, 0, 255)
    (image,) = preprocess(saved(Image.fromarray(colours), tmp_path / "a.png"), "as-is").images
    assert set(image[:14].ravel()) == {76}
    assert set(image[14:].ravel()) == {255}


@pytest.mark.parametrize("conversion", OF_WHAT_IS_WRITTEN)
def test_dark_ink_and_light_ink_give_the_same_input(conversion: str, tmp_path: Path) -> None:
    (paper,) = preprocess(saved(seven(), tmp_path / "paper.png"), conversion).images
    (slate,) = preprocess(
        saved(seven(ink=240, ground=20), tmp_path / "slate.png"), conversion
    ).images
    assert paper[0, 0] == 0
    assert np.abs(paper.astype(int) - slate).mean() < 3


@pytest.mark.parametrize("conversion", OF_WHAT_IS_WRITTEN)
def test_white_on_black_of_28_x_28_is_not_converted_again(conversion: str, tmp_path: Path) -> None:
    (image,) = preprocess(saved(seven(), tmp_path / "seven.png"), conversion).images
    assert np.array_equal(
        preprocess(saved(grey(image), tmp_path / "a.png"), conversion).images, [image]
    )


def test_several_characters_give_several_images_if_the_conversion_finds_writing(
    tmp_path: Path,
) -> None:
    both = Image.new("L", (520, 200), 240)
    both.paste(seven(), (0, 0))
    both.paste(seven(), (220, 0))
    path = saved(both, tmp_path / "both.png")
    assert {way: len(preprocess(path, way).images) for way in CONVERSIONS} == {
        "emnist": 3,
        "mnist": 3,
        "as-is": 1,
    }


def test_of_an_animation_the_first_frame_with_writing_or_the_first_frame_is_used(
    tmp_path: Path,
) -> None:
    film = tmp_path / "film.gif"
    Image.new("L", (300, 200), 240).save(film, save_all=True, append_images=[seven()])
    assert preprocess(film, "emnist").images[0].max() == 255
    assert set(preprocess(film, "as-is").images[0].ravel()) == {240}


def test_without_writing_there_is_an_error_or_a_uniform_image(tmp_path: Path) -> None:
    path = saved(Image.new("L", (50, 50), 255), tmp_path / "empty.png")
    for conversion in OF_WHAT_IS_WRITTEN:
        with pytest.raises(EmptyPageError, match=r"^no writing found; write one character"):
            preprocess(path, conversion)
    assert set(preprocess(path, "as-is").images[0].ravel()) == {255}


@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_a_file_that_is_not_a_picture_is_an_error(conversion: str, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(PictureError, match=r"^not an image"):
        preprocess(tmp_path / "text.png", conversion)


def test_the_box_and_the_warnings_of_the_reading_are_returned(tmp_path: Path) -> None:
    boxed = seven()
    ImageDraw.Draw(boxed).rectangle((60, 10, 240, 190), outline=20, width=8)
    found = preprocess(saved(boxed, tmp_path / "boxed.png"), "emnist")
    left, top, right, bottom = found.box
    assert 100 / 300 < left < right < 200 / 300
    assert 30 / 200 < top < bottom < 170 / 200
    assert found.picture.shape == (200, 300)
    assert found.warnings == ("ignored the frame around the writing",)
