"""Reads the brightness of a picture from a file of any common format."""

import io
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT

from ablation.base.errors import LFS_POINTER, NOT_FETCHED, UserError, one_line
from ablation.pictures.bare import strip_metadata

MAX_PIXELS = 100_000_000  # decoded at once; takes about a gigabyte
MAX_FRAMES = 50
MAX_SIDE = 2000  # pixels; larger pictures are reduced
WIDE = ("I", "F")  # prefixes of Pillow's modes with more than 8 bits
FLOAT_WHITES = {1: 0, 255: 16, 65535: 4096}  # usual values of white, and the least maximum for each
OVER = 1.05  # factor by which resampling may exceed white
LEAST_BITS = 8
WHITE_IS_ZERO = 0  # a TIFF photometric interpretation
UNSIGNED = (None, 1)  # TIFF sample formats; the default is unsigned
HEADER_BYTES = 1024  # of a file, to recognise its format
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"heif", b"hevc", b"mif1", b"msf1")
POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
# EXIF orientation to the transformation that turns the picture upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
CONVERT = {
    "HEIC": "magick photo.heic photo.png, or send it as JPEG",
    "SVG": "rsvg-convert drawing.svg --output drawing.png",
    "PDF": "pdftoppm -png -r 150 page.pdf page",
    "PostScript": "gs -sDEVICE=png16m -r150 -o page.png page.ps",
}

# The values of black and white in pictures of more than 8 bits.
Levels = tuple[float, float]

# Pillow's own limit is replaced by `MAX_PIXELS`, and its warnings about metadata are silenced.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module="PIL")


class PictureError(UserError):
    """A file that cannot be read as a picture; the message says what to do."""


def brightness_of(source: Path | BinaryIO, levels: Levels | None = None) -> Iterator[np.ndarray]:
    """Iterate over a picture's frames; most pictures have one.

    Transparent areas become white, or black if the visible content is light.

    Args:
        source: a path or an open file.
        levels: of its data set, for pictures of more than 8 bits; by default, white is the
            largest value of the smallest number of bits that holds the picture's values.

    Yields:
        (height, width) float32 in 0..1, oriented as EXIF says.

    Raises:
        PictureError: not a picture that can be read.
    """
    with _picture_errors(), _opened(source) as file:
        for image in _frames(file):
            yield _brightness(image, levels)


def levels_of(source: Path | BinaryIO) -> Levels | None:
    """The range of stored values of a picture's first frame; None for up to 8 bits.

    The lower end is 0 if no value is negative. Values are not inverted if zero means white.

    Raises:
        PictureError: not a picture that can be read.
    """
    with _picture_errors(), _opened(source) as file:
        with suppress(Exception), Image.open(file) as unread:
            if not unread.mode.startswith(WIDE):
                return None  # the pixels need not be decoded
        image = next(_frames(file))
        values = _values(image)
        return min(0.0, float(values.min())), float(values.max())


@contextmanager
def _picture_errors() -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise PictureError("no such file") from None
    except IsADirectoryError:
        raise PictureError("a folder, not an image; name the images in it") from None
    except UnidentifiedImageError:
        raise PictureError("not an image that can be read; save it as PNG or JPEG") from None
    except MemoryError:
        raise PictureError("not enough memory; save a smaller version") from None
    except Exception as error:  # decoders raise any type of error for a corrupt file
        if isinstance(error, OSError) and error.errno is not None:  # the system's own
            raise PictureError(f"{error.strerror}; name a picture") from None
        said = textwrap.shorten(one_line(error), 200)
        raise PictureError(f"not an image that can be read ({said})") from None


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    opened = source.open("rb") if isinstance(source, Path) else nullcontext(source)
    with opened as file:
        file.seek(0)
        _check_format(file.read(HEADER_BYTES))
        file.seek(0)
        yield file


def _frames(file: BinaryIO) -> Iterator[Image.Image]:
    """Decode frames lazily; large JPEGs at a reduced size. Invalid metadata is ignored."""
    begun = False
    try:
        for image in _frames_of(file):
            begun = True
            yield image
    except UserError:
        raise
    except Exception:
        file.seek(0)
        pixels = None if begun else strip_metadata(file.read())
        if pixels is None:
            raise
        yield from _frames_of(io.BytesIO(pixels))


def _frames_of(file: BinaryIO) -> Iterator[Image.Image]:
    file.seek(0)
    with Image.open(file) as image:
        for number in range(min(getattr(image, "n_frames", 1), MAX_FRAMES)):
            image.seek(number)
            sides = [max(1, MAX_SIDE * side // max(image.size)) for side in image.size]
            image.draft("L", (sides[0], sides[1]))
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise PictureError(
                    f"{width * height / 1e6:.0f} megapixels, more than {MAX_PIXELS / 1e6:.0f}; "
                    "save a smaller version, a few megapixels are plenty"
                )
            image.load()
            yield image


def _check_format(start: bytes) -> None:
    if start.startswith(LFS_POINTER):
        raise PictureError(NOT_FETCHED)
    if name := _unsupported_format(start):
        raise PictureError(f"{name} is not supported; convert it: {CONVERT[name]}")


def _unsupported_format(start: bytes) -> str | None:
    if start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS and b"avif" not in start[:64]:
        return "HEIC"
    if start.startswith(POSTSCRIPT):  # Pillow would run another program
        return "PostScript"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<") and b"<svg" in text:
        return "SVG"
    return "PDF" if text.startswith(b"%PDF") else None


def _brightness(image: Image.Image, levels: Levels | None) -> np.ndarray:
    step = max(1, max(image.size) // MAX_SIDE)
    if image.mode.startswith(WIDE):
        brightness = _from_wide(image, levels)[::step, ::step]
    else:
        plain = image.convert("RGBA" if image.has_transparency_data else "L")
        small = plain.reduce(step) if step > 1 else plain
        brightness = _composite(small) if small.mode == "RGBA" else _grey(small)
    turn = UPRIGHT.get(_orientation(image))
    return np.asarray(Image.fromarray(brightness).transpose(turn)) if turn else brightness


def _orientation(image: Image.Image) -> Any:
    """EXIF's orientation, unvalidated; None if it cannot be read."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow raises any type of error for corrupt metadata
        return None


def _from_wide(image: Image.Image, levels: Levels | None) -> np.ndarray:
    """Brightness of a picture of more than 8 bits: (height, width) float32 in 0..1."""
    values = _values(image)
    black, white = levels or _likely_levels(values, image.mode == "F")
    brightness = np.clip((values - black) / (white - black or 1), 0, 1)
    is_inverted = _tag(image, PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO
    return np.asarray(1 - brightness if is_inverted else brightness, dtype=np.float32)


def _values(image: Image.Image) -> np.ndarray:
    """(height, width) float64, the stored values; nan and infinities become 0."""
    values = np.asarray(image)
    if image.format == "TIFF" and image.mode == "I" and _tag(image, SAMPLEFORMAT) in UNSIGNED:
        values = values.view(np.uint32)  # Pillow has no unsigned 32-bit mode
    return np.nan_to_num(values.astype(np.float64), nan=0, posinf=0, neginf=0)


def _tag(image: Image.Image, number: int) -> object:
    """The value of a TIFF tag; None if it is absent or the file is not a TIFF."""
    found = getattr(image, "tag_v2", {}).get(number)
    return found[0] if isinstance(found, tuple) and found else found


def _likely_levels(values: np.ndarray, floats: bool) -> Levels:
    """Guess the levels of a single picture from its bit depth, or for floats from usual whites."""
    black = min(0.0, float(values.min()))
    reach = float(values.max()) - black
    if floats:
        usual = (end for end, least in FLOAT_WHITES.items() if least <= reach <= OVER * end)
        return black, black + next(usual, reach)
    return black, black + 2.0 ** max(LEAST_BITS, int(reach).bit_length()) - 1


def _grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def _composite(colours: Image.Image) -> np.ndarray:
    """Composite over white, or over black if the visible content is light."""
    alpha, grey = _grey(colours.getchannel("A")), _grey(colours.convert("L"))
    visible = grey[alpha > 0.5]
    light = alpha.mean() < 0.9 and visible.size and np.percentile(visible, 10) > 0.5
    return np.asarray(grey * alpha + (0 if light else 1) * (1 - alpha))
