"""A person's picture, from its file to what a network sees of it."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ablation.base.errors import UserError
from ablation.data.conversion import PAGE_SIDE, as_is, mnist
from ablation.data.pictures import page_of, read_picture, seen


def draw(path: Path, ink: int, ground: int) -> Path:
    image = Image.new("L", (300, 200), ground)
    font = ImageFont.load_default(size=120)
    ImageDraw.Draw(image).text((100, 20), "7", fill=ink, font=font)
    image.save(path)
    return path


def test_dark_ink_on_paper_and_light_ink_on_slate_are_read_alike(tmp_path: Path) -> None:
    paper = page_of(read_picture(draw(tmp_path / "paper.png", ink=20, ground=240)))
    slate = page_of(read_picture(draw(tmp_path / "slate.png", ink=240, ground=20)))
    assert paper.shape == (PAGE_SIDE, PAGE_SIDE)
    assert paper.max() == pytest.approx(1, abs=0.01)
    assert np.abs(paper - slate).max() < 0.01


def test_an_empty_page_is_an_error_that_says_so(tmp_path: Path) -> None:
    Image.new("L", (50, 50), 255).save(tmp_path / "empty.png")
    with pytest.raises(UserError, match=r"empty\.png: an empty page"):
        seen(tmp_path / "empty.png", "emnist")


def test_what_is_no_image_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(UserError, match=r"text\.png: not an image"):
        seen(tmp_path / "text.png", "as-is")


def png(width: int, height: int) -> bytes:
    """A picture of hardly any bytes that says it is so large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        length, check = len(content), zlib.crc32(kind + content)
        return length.to_bytes(4) + kind + content + check.to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


MOST = "make it smaller, 64 million pixels are the most"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (png(60_000, 60_000), f"a picture of far too many pixels; {MOST}"),
        (png(9000, 8000), f"a picture of 9000 x 8000 pixels; {MOST}"),
        (
            png(30, 30),
            "not an image that can be read (image file is truncated (0 bytes not processed))",
        ),
        (png(30, 30)[:40], "not an image that can be read; a PNG or JPEG can"),
        (b"", "not an image that can be read; a PNG or JPEG can"),
    ],
    ids=["far too large", "too large", "cut off", "cut off early", "empty"],
)
def test_a_picture_that_cannot_be_used(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(content)
    with pytest.raises(UserError) as error:
        seen(tmp_path / "seven.png", "as-is")
    assert str(error.value) == f"{tmp_path}/seven.png: {said}"


def grey(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


def test_a_picture_of_28_x_28_is_seen_as_it_is(tmp_path: Path) -> None:
    values = np.arange(784, dtype=np.uint32).reshape(28, 28).astype(np.uint8)
    assert np.array_equal(seen(grey(tmp_path / "a.png", values), "as-is"), values)


@pytest.mark.parametrize("shape", [(9, 9), (56, 56), (300, 40)])
def test_a_picture_of_any_size_is_resized_and_not_cut(shape: tuple[int, int]) -> None:
    picture = np.zeros(shape, np.float32)
    picture[: shape[0] // 2] = 1
    image = as_is(picture)
    assert image.shape == (28, 28)
    assert (image[:10] > 245).all()
    assert (image[18:] < 10).all()


def test_sixteen_bits_are_as_bright_as_eight(tmp_path: Path) -> None:
    eight = np.arange(784, dtype=np.uint32).reshape(28, 28).astype(np.uint8)
    wide = grey(tmp_path / "wide.png", eight.astype(np.uint16) * 257)
    assert np.array_equal(seen(wide, "as-is"), eight)


def test_a_clear_ground_is_white_and_colours_are_grey(tmp_path: Path) -> None:
    colours = np.zeros((28, 28, 4), np.uint8)
    colours[:14] = (255, 0, 0, 255)
    Image.fromarray(colours).save(tmp_path / "a.png")
    image = seen(tmp_path / "a.png", "as-is")
    assert set(image[:14].ravel()) == {76}
    assert set(image[14:].ravel()) == {255}


def test_a_picture_that_runs_a_program_is_not_opened(tmp_path: Path) -> None:
    """Pillow reads EPS with Ghostscript."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n")
    with pytest.raises(UserError, match=r"a\.png: not an image that can be read"):
        seen(tmp_path / "a.png", "as-is")


def test_mnists_way_fits_a_box_and_puts_the_mass_in_the_middle() -> None:
    page = np.zeros((PAGE_SIDE, PAGE_SIDE), np.float32)
    page[10:90, 30:50] = 1  # a stem
    page[80:90, 30:70] = 1  # and a foot
    image = mnist(page)
    rows, columns = (np.flatnonzero(image.max(axis=axis)) for axis in (1, 0))
    assert (len(rows), len(columns)) == (20, 10)
    weights = image / image.sum()
    assert abs((weights.sum(axis=1) * np.arange(28)).sum() - 13.5) <= 0.5
    assert abs((weights.sum(axis=0) * np.arange(28)).sum() - 13.5) <= 0.5
