"""Pictures are read in whatever form people have them, and what is none is said in one line."""

import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ablation.pictures.picture import PictureError, brightness_of


def seven(ink: int = 20, ground: int = 240) -> Image.Image:
    image = Image.new("L", (300, 200), ground)
    font = ImageFont.load_default(size=120)
    ImageDraw.Draw(image).text((100, 20), "7", fill=ink, font=font)
    return image


def read(path: Path) -> np.ndarray:
    return next(brightness_of(path))


def plain() -> np.ndarray:
    return np.asarray(seven(), dtype=np.float32) / 255


def sixteen_bits(path: Path) -> None:
    Image.fromarray(np.asarray(seven()).astype(np.uint16) * 257).save(path.with_suffix(".png"))


def floats(path: Path) -> None:
    Image.fromarray(plain()).save(path.with_suffix(".tiff"))


def large_floats(path: Path) -> None:
    Image.fromarray(plain() * 255).save(path.with_suffix(".tiff"))


def palette(path: Path) -> None:
    seven().convert("P").save(path.with_suffix(".png"))


def four_inks(path: Path) -> None:
    seven().convert("RGB").convert("CMYK").save(path.with_suffix(".tiff"))


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    on_its_side = seven().transpose(Image.Transpose.ROTATE_90)
    on_its_side.save(path.with_suffix(".png"), exif=exif)


@pytest.mark.parametrize("save", [sixteen_bits, floats, large_floats, palette, four_inks, turned])
def test_every_form_is_read_alike(save: Callable[[Path], None], tmp_path: Path) -> None:
    save(tmp_path / "seven")
    found = read(next(tmp_path.iterdir()))
    assert found.shape == plain().shape
    assert np.abs(found - plain()).max() < 0.03


@pytest.mark.parametrize("ink", [0, 255])
def test_ink_on_a_transparent_ground_stands_out(ink: int, tmp_path: Path) -> None:
    drawing = Image.new("RGBA", (300, 200), (ink, ink, ink, 0))
    drawing.putalpha(seven(ink=255, ground=0))
    drawing.save(tmp_path / "drawing.png")
    found = read(tmp_path / "drawing.png")
    assert found.max() - found.min() == 1
    assert np.median(found) == (1 if ink == 0 else 0)


def test_a_white_page_with_transparent_corners_stays_white(tmp_path: Path) -> None:
    page = seven().convert("RGBA")
    ImageDraw.Draw(page).rectangle((0, 0, 10, 10), fill=(0, 0, 0, 0))
    page.save(tmp_path / "page.png")
    assert read(tmp_path / "page.png")[0, 0] == 1


def test_every_frame_of_an_animation_is_seen(tmp_path: Path) -> None:
    empty = Image.new("L", (300, 200), 240)
    empty.save(tmp_path / "film.gif", save_all=True, append_images=[seven()])
    first, second = brightness_of(tmp_path / "film.gif")
    assert first.min() == first.max()
    assert np.abs(second - plain()).max() < 0.05


def test_two_hundred_megapixels_are_one_line_and_no_alarm(tmp_path: Path) -> None:
    Image.new("1", (20_000, 10_000), 1).save(tmp_path / "wall.png")
    with warnings.catch_warnings(), pytest.raises(PictureError, match="200 megapixels, more than"):
        warnings.simplefilter("error")
        read(tmp_path / "wall.png")


def test_a_hundred_megapixels_are_read(tmp_path: Path) -> None:
    Image.new("L", (10_000, 10_000), 200).save(tmp_path / "wall.png", compress_level=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert max(read(tmp_path / "wall.png").shape) <= 4000


@pytest.mark.parametrize(
    ("name", "start", "remedy"),
    [
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC is not read; convert it: magick"),
        ("drawing.svg", b"<?xml version='1.0'?><svg xmlns=", "SVG is not read; convert it: rsvg"),
        ("page.pdf", b"%PDF-1.7\n", "PDF is not read; convert it: pdftoppm"),
        ("page.eps", b"%!PS-Adobe-3.0 EPSF", "PostScript is not read; convert it: gs"),
        ("text.png", b"not a picture", "not an image that can be read; save it as PNG"),
        ("empty.png", b"", "not an image that can be read; save it as PNG"),
    ],
)
def test_what_is_no_picture_says_how_to_make_one(
    name: str, start: bytes, remedy: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(start)
    with pytest.raises(PictureError, match=remedy):
        read(tmp_path / name)


def png(width: int, height: int) -> bytes:
    """A picture of hardly any bytes that says it is so large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        length, check = len(content), zlib.crc32(kind + content)
        return length.to_bytes(4) + kind + content + check.to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (png(60_000, 60_000), "3600 megapixels, more than 100; save it smaller, "),
        (png(30, 30), "not an image that can be read (image file is truncated"),
        (png(30, 30)[:40], "not an image that can be read; save it as PNG or JPEG"),
    ],
    ids=["far too large", "cut off", "cut off early"],
)
def test_a_damaged_picture_is_said(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(content)
    with pytest.raises(PictureError) as error:
        read(tmp_path / "seven.png")
    assert str(error.value).startswith(said)


def test_a_folder_a_missing_file_and_a_name_that_is_too_long_are_said(tmp_path: Path) -> None:
    for path, said in {
        tmp_path: "a folder, not an image; name the images in it",
        tmp_path / "gone.png": "no such file",
        tmp_path / ("7" * 300): "File name too long; name a picture",
    }.items():
        with pytest.raises(PictureError) as error:
            read(path)
        assert str(error.value) == said
