"""Pictures are read in all common formats, and errors are one line."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ablation.pictures.picture import Levels, PictureError, brightness_of, levels_of


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
def test_every_format_gives_the_same_brightness(
    save: Callable[[Path], None], tmp_path: Path
) -> None:
    save(tmp_path / "seven")
    found = read(next(tmp_path.iterdir()))
    assert found.shape == plain().shape
    assert np.abs(found - plain()).max() < 0.03


@pytest.mark.parametrize("ink", [0, 255])
def test_ink_on_a_transparent_background_is_visible(ink: int, tmp_path: Path) -> None:
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


def test_every_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    empty = Image.new("L", (300, 200), 240)
    empty.save(tmp_path / "film.gif", save_all=True, append_images=[seven()])
    first, second = brightness_of(tmp_path / "film.gif")
    assert first.min() == first.max()
    assert np.abs(second - plain()).max() < 0.05


def test_two_hundred_megapixels_are_a_one_line_error_without_a_warning(tmp_path: Path) -> None:
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
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC is not supported; convert it: magick"),
        (
            "drawing.svg",
            b"<?xml version='1.0'?><svg xmlns=",
            "SVG is not supported; convert it: rsvg",
        ),
        ("page.pdf", b"%PDF-1.7\n", "PDF is not supported; convert it: pdftoppm"),
        ("page.eps", b"%!PS-Adobe-3.0 EPSF", "PostScript is not supported; convert it: gs"),
        ("text.png", b"not a picture", "not an image that can be read; save it as PNG"),
        ("empty.png", b"", "not an image that can be read; save it as PNG"),
    ],
)
def test_an_unsupported_file_has_an_error_with_a_remedy(
    name: str, start: bytes, remedy: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(start)
    with pytest.raises(PictureError, match=remedy):
        read(tmp_path / name)


RAMP = np.tile(np.linspace(0, 1, 28), (28, 1))  # from black to white, so 28 greys
TYPES = {"text": 2, "short": 3, "long": 4, "rational": 5, "double": 12}


def tiff(values: np.ndarray, *tags: tuple[int, int, int, bytes], photometric: int = 1) -> bytes:
    """A TIFF of one grey plane, and more tags: number, type, count and value."""
    height, width = values.shape
    bits, content = 8 * values.dtype.itemsize, values.tobytes()
    own = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1, 278: height}
    own |= {279: len(content), 273: 8 + 2 + 12 * (9 + len(tags)) + 4}
    entries = [*((tag, 4, 1, struct.pack("<I", value)) for tag, value in own.items()), *tags]
    directory = b"".join(struct.pack("<HHI", *each[:3]) + each[3] for each in sorted(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4) + content


def exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    directory = b"".join(struct.pack("<HHI", *each[:3]) + each[3] for each in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4)


def jpeg_with(*entries: tuple[int, int, int, bytes]) -> bytes:
    file = io.BytesIO()
    seven().save(file, "JPEG", quality=95)
    segment = exif(*entries)
    start = b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment
    return file.getvalue()[:2] + start + file.getvalue()[2:]


def png_with(kind: bytes, content: bytes, wrong: int = 0) -> bytes:
    file = io.BytesIO()
    seven().save(file, "PNG")
    checksum = zlib.crc32(kind + content) + wrong
    chunk = len(content).to_bytes(4) + kind + content + checksum.to_bytes(4)
    return file.getvalue()[:33] + chunk + file.getvalue()[33:]


AT_8 = struct.pack("<I", 8)  # a value that lies elsewhere in the file
UPRIGHT = (0x112, TYPES["short"], 1, struct.pack("<HH", 1, 0))
ON_ITS_SIDE = (0x112, TYPES["short"], 1, struct.pack("<HH", 6, 0))
RESOLUTION_AS_TEXT = (0x11A, TYPES["text"], 3, b"72\0\0")
CENTIMETRES = (0x128, TYPES["short"], 1, struct.pack("<HH", 3, 0))


@pytest.mark.parametrize(
    "content",
    [
        jpeg_with(RESOLUTION_AS_TEXT, UPRIGHT),
        jpeg_with((0x112, TYPES["text"], 2, b"1\0\0\0")),
        jpeg_with((0x112, TYPES["double"], 1, AT_8)),
        jpeg_with((0x10F, TYPES["rational"], 1, AT_8), UPRIGHT),
        png_with(b"eXIf", b"\0\x08\0\x02\x01\x12\0\x03"),
        png_with(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"a" * 2_000_000)),
        png_with(b"iCCP", b"icc\0\0" + zlib.compress(bytes(range(256)) * 8000)),
        png_with(b"tEXt", b"a\0b", wrong=1),
        png_with(b"tRNS", b"\0\xf0", wrong=1),
        tiff(np.asarray(seven()), RESOLUTION_AS_TEXT, CENTIMETRES),
        tiff(np.asarray(seven()), (0x10F, 10, 1, AT_8)),
        tiff(np.asarray(seven()), (700, TYPES["text"], 4, b"xmp\0")),
    ],
    ids=[
        *("JPEG: resolution", "orientation as text", "orientation as double", "maker"),
        *("PNG: EXIF without header", "long XMP", "large ICC", "checksum of text", "of colour"),
        *("TIFF: resolution in cm", "TIFF: maker", "TIFF: XMP"),
    ],
)
def test_a_picture_with_invalid_metadata_is_read(content: bytes) -> None:
    found = next(brightness_of(io.BytesIO(content)))
    assert found.shape == plain().shape
    assert np.abs(found - plain()).max() < 0.06


@pytest.mark.parametrize(
    "content",
    [
        jpeg_with(RESOLUTION_AS_TEXT, ON_ITS_SIDE),
        png_with(b"eXIf", exif(RESOLUTION_AS_TEXT, ON_ITS_SIDE)[6:]),
        tiff(np.asarray(seven()), ON_ITS_SIDE, RESOLUTION_AS_TEXT, CENTIMETRES),
        tiff(np.asarray(seven()).astype(np.uint16) * 257, ON_ITS_SIDE),
    ],
    ids=["JPEG", "PNG", "TIFF", "16 bits"],
)
def test_the_orientation_is_used_despite_other_invalid_metadata(content: bytes) -> None:
    found = next(brightness_of(io.BytesIO(content)))
    assert found.shape == plain().T.shape
    assert np.abs(found - np.rot90(plain(), -1)).max() < 0.06


FLOATS = (339, TYPES["short"], 1, struct.pack("<HH", 3, 0))
SIGNED = (339, TYPES["short"], 1, struct.pack("<HH", 2, 0))


def bits(depth: int) -> np.ndarray:
    """The ramp in a number of bits, stored in 16 or 32."""
    return np.asarray(RAMP * (2**depth - 1), np.uint16 if depth <= 16 else np.uint32)


@pytest.mark.parametrize(
    "content",
    [
        *(tiff(bits(depth)) for depth in (10, 12, 14, 16, 32)),
        tiff(2**16 - 1 - bits(16), photometric=0),
        tiff(2**12 - 1 - bits(12), photometric=0),
        tiff(255 - (RAMP * 255).astype(np.uint8), photometric=0),
        *(tiff(RAMP.astype(np.float32) * top, FLOATS) for top in (1, 1.04, 2, 255, 65535)),
        tiff(RAMP.astype(np.float32) * 2 - 1, FLOATS),
        tiff((RAMP * 2000 - 1000).astype(np.int16), SIGNED),
    ],
    ids=[
        *("10 bits in 16", "12 bits in 16", "14 bits in 16", "16 bits", "unsigned 32 bits"),
        *("white is zero", "white is zero, 12 bits in 16", "white is zero, 8 bits"),
        *("floats to 1", "resampled floats to 1", "floats to 2", "floats to 255", "to 65535"),
        *("floats from -1 to 1", "signed 16 bits"),
    ],
)
def test_more_than_8_bits_use_the_full_range_of_greys(content: bytes) -> None:
    found = next(brightness_of(io.BytesIO(content)))
    assert np.abs(found - RAMP).max() < 0.05
    assert len(np.unique(np.rint(found * 255))) > 24


def test_a_picture_that_uses_few_of_its_bits_is_darker() -> None:
    dark = next(brightness_of(io.BytesIO(tiff((RAMP * 260).astype(np.uint16)))))
    assert 0.4 < dark.max() < 0.6


@pytest.mark.parametrize(
    ("values", "levels", "white"),
    [
        (bits(12), (0, 65535), 4095 / 65535),
        (bits(12), (0, 4095), 1),
        (bits(16), (0, 4095), 1),  # what is lighter than white is white
        ((RAMP * 200).astype(np.uint8), (0, 4095), 200 / 255),  # 8 bits have a scale of their own
    ],
)
def test_a_data_sets_levels_apply_to_all_its_pictures(
    values: np.ndarray, levels: Levels, white: float
) -> None:
    found = next(brightness_of(io.BytesIO(tiff(values)), levels))
    assert found.max() == pytest.approx(white)


@pytest.mark.parametrize(
    ("content", "levels"),
    [
        (tiff((RAMP * 200).astype(np.uint8)), None),
        (tiff(bits(12)), (0, 4095)),
        (tiff(bits(32)), (0, 2**32 - 1)),
        (tiff(2**12 - 1 - bits(12), photometric=0), (0, 4095)),
        (tiff(RAMP.astype(np.float32) * 2 - 1, FLOATS), (-1, 1)),
    ],
)
def test_a_picture_of_more_than_8_bits_has_levels(content: bytes, levels: Levels | None) -> None:
    assert levels_of(io.BytesIO(content)) == levels


def png(width: int, height: int) -> bytes:
    """A small file that claims to be a picture of this size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        length, check = len(content), zlib.crc32(kind + content)
        return length.to_bytes(4) + kind + content + check.to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (png(60_000, 60_000), "3600 megapixels, more than 100; save a smaller version, "),
        (png(30, 30), "not an image that can be read (image file is truncated"),
        (png(30, 30)[:40], "not an image that can be read; save it as PNG or JPEG"),
    ],
    ids=["far too large", "cut off", "cut off early"],
)
def test_a_corrupt_picture_is_reported(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(content)
    with pytest.raises(PictureError) as error:
        read(tmp_path / "seven.png")
    assert str(error.value).startswith(said)


def test_a_folder_a_missing_file_and_a_long_name_are_reported(tmp_path: Path) -> None:
    for path, said in {
        tmp_path: "a folder, not an image; name the images in it",
        tmp_path / "gone.png": "no such file",
        tmp_path / ("7" * 300): "File name too long; name a picture",
    }.items():
        with pytest.raises(PictureError) as error:
            read(path)
        assert str(error.value) == said
